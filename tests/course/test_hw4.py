"""Assignment 4: the mean as in rounds.py, its experiment. The rest is in test_assignments.py and test_proof.py."""

import os
import subprocess
import sys

import numpy as np

from minifl.course import assignments, carve
from minifl.course.hw4 import averaging
from minifl.fl.rounds import Reply, collect

HW4 = assignments.load("hw4")


def test_the_mean_is_that_of_the_federated_loop_to_the_bit():
    rng = np.random.default_rng(0)
    sizes = [3.0, 11.0, 7.0, 1.0]
    sent = [{"update": rng.standard_normal(9), "square": rng.standard_normal()} for _ in sizes]
    replies = [Reply({name: np.asarray(value) for name, value in own.items()}, 0.0, {}) for own in sent]
    mean, *_ = collect(range(4), replies, np.array(sizes) / sum(sizes))
    found = averaging.mean_message(sent, sizes)
    for name in ("update", "square"):
        np.testing.assert_array_equal(found[name], mean[name])


def test_the_experiment_shows_the_collapse(tmp_path):
    carve.write_tree(HW4, tmp_path, reference=True)
    done = subprocess.run([sys.executable, "-B", "-m", "minifl.course.hw4.experiment"], cwd=tmp_path, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {(norm, int(round_)): [float(word.rstrip("%")) for word in rest] for norm, round_, *rest in
            (line.split() for line in done.stdout.splitlines()[1:])}
    for round_ in (1, 2):
        assert rows["none", round_][1:3] == [100, 0]                      # own class, all others
    assert rows["fn", 10][2] > rows["none", 10][2] + 10                   # at about the same accuracy of the server's
    assert abs(rows["fn", 10][0] - rows["none", 10][0]) < 5
    assert rows["none", 60][3] > 10 * rows["none", 1][3]                  # features grow
    assert {row[3] for (norm, _), row in rows.items() if norm == "fn"} == {4.9}     # sqrt(24)
    assert rows["fn", 60][4] > 2 * rows["none", 60][4]                    # and fill fewer directions
