"""Which record serves a cell, and what is read from it."""

from dataclasses import replace

import pytest

from handmade import TINY, cell_of, put

from minifl.data.registry import load
from minifl.errors import InputError
from minifl.paper import records
from minifl.paper.naming import run_name
from minifl.paper.study import cells
from minifl.runs import provenance, record
from minifl.runs.run import split, train


def cell(rounds=100, seeds=(0,), **choices):
    """The cell (plain, 1 class) of the tiny study, tested every 10 rounds."""
    study = TINY._replace(base={**TINY.base, "eval_every": 10, **choices})
    return cell_of(study, "plain", "1 class", rounds=rounds, seeds=seeds)


def settings_after(rounds, **choices):
    return cell(rounds, **choices).settings[0]


@pytest.mark.parametrize("norm", ["none", "fn"])
def test_the_first_rounds_of_a_longer_run_are_the_shorter_run_to_the_bit(tmp_path, monkeypatch, data_dir, norm):
    """So it may serve the shorter run's cell."""
    monkeypatch.setattr(provenance, "_commit", lambda: "a commit")
    data = load("cifar10", data_dir)
    found = {}
    for rounds in (2, 4):
        settings = settings_after(rounds, eval_every=1, norm=norm)
        for _ in train(settings, data, split(settings, data), tmp_path / str(rounds) / run_name(settings)):
            pass
        shorter = cell(2, eval_every=1, norm=norm)
        path = records.where(tmp_path / str(rounds), shorter.settings[0])
        found[rounds] = path.name, record.read_rounds(path), records.measured(shorter, tmp_path / str(rounds))
    assert ["-rounds2-" in found[2][0], "-rounds4-" in found[4][0]] == [True, True]
    assert found[2][1] == found[4][1][:2] and len(found[4][1]) == 4
    assert found[2][2] == found[4][2] and found[4][2].seeds == (0,)


def test_a_longer_run_serves_if_it_was_tested_then(tmp_path):
    longer = put(tmp_path, settings_after(400), [0.1] * 40)
    assert records.where(tmp_path, settings_after(100)) == longer
    for rounds in (105, 500):       # not tested then; too short
        assert records.where(tmp_path, settings_after(rounds)) == tmp_path / run_name(settings_after(rounds))
    assert records.where(tmp_path, replace(settings_after(100), seed=1)).name.endswith("-rounds100-seed1")
    assert records.where(tmp_path, settings_after(100, lr=0.02)).name == run_name(settings_after(100, lr=0.02))
    assert records.where(tmp_path, settings_after(100), model=True) == tmp_path / run_name(settings_after(100))


def test_its_own_run_comes_first_even_if_it_has_only_begun(tmp_path):
    put(tmp_path, settings_after(400), [0.1] * 40)
    own = put(tmp_path, settings_after(100), [0.2], status=None)
    assert records.where(tmp_path, settings_after(100)) == own
    assert records.measured(cell(100), tmp_path) is None
    assert [run.status for run in records.runs([cell(100)], tmp_path)] == ["begun"]


@pytest.mark.parametrize("status", [None, "interrupted", "failed", "diverged"])
def test_a_longer_run_that_has_not_finished_does_not_serve(tmp_path, status):
    put(tmp_path, settings_after(400), [0.1] * 40, status=status)
    assert records.where(tmp_path, settings_after(100)).name == run_name(settings_after(100))
    assert records.measured(cell(100), tmp_path) is None


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_where_the_learning_rate_depends_on_the_rounds_no_longer_run_serves(tmp_path, schedule):
    put(tmp_path, settings_after(400, lr_schedule=schedule), [0.1] * 40)
    shorter = settings_after(100, lr_schedule=schedule)
    assert records.where(tmp_path, shorter) == tmp_path / run_name(shorter)


def test_numbers_elsewhere_in_the_name_are_not_its_rounds(tmp_path):
    choices = {"lr_step_rounds": 50}
    longer = put(tmp_path, settings_after(400, **choices), [0.1] * 40)
    put(tmp_path, settings_after(400, lr_step_rounds=60), [0.1] * 40)
    assert records.where(tmp_path, settings_after(50, **choices)) == longer
    assert records.where(tmp_path, replace(settings_after(50, **choices), seed=1)).name.endswith("-rounds50-seed1")


def test_a_directory_with_another_run_is_refused(tmp_path):
    own = put(tmp_path, replace(settings_after(100), lr=0.5), [0.1] * 10, name=run_name(settings_after(100)))
    with pytest.raises(InputError) as error:
        records.runs([cell(100)], tmp_path)
    assert str(error.value) == f"{own} holds a run with --lr 0.5, not 0.01; choose another --out."
    with pytest.raises(InputError, match="--lr 0.5"):
        records.measured(cell(100), tmp_path)


def test_a_directory_of_fewer_rounds_than_its_name_is_refused(tmp_path):
    put(tmp_path, settings_after(100), [0.1] * 10, rounds=90)
    with pytest.raises(InputError, match="--rounds 90, not 100"):
        records.runs([cell(100)], tmp_path)


def test_looking_more_often_is_no_difference(tmp_path):
    looked = replace(settings_after(100), eval_every=5, local_eval_every=20, diagnose=True)
    put(tmp_path, looked, [i / 100 for i in range(1, 21)], every=5)
    assert [run.status for run in records.runs([cell(100)], tmp_path)] == ["finished"]
    found = records.measured(cell(100), tmp_path)
    assert found.client_mean == pytest.approx([20]) and found.client_mean_of_5 == pytest.approx([18])


def test_runs_that_cells_share_are_done_once(tmp_path):
    study = TINY._replace(rows={"a": {}, "b": {"lr": 0.01}, "c": {"lr": 0.02}})
    found = records.runs(cells(study, seeds=[0, 1]), tmp_path)
    assert len(found) == len({run.path for run in found}) == 8      # a and b are the same
    assert {run.status for run in found} == {"new"} and found[0].chosen["seed"] == 0
    assert not list(tmp_path.iterdir())


# ---- numbers

def test_measured_by_hand(tmp_path):
    """Mean of the last five evaluations, and the last one, in percent; each seed for itself."""
    two = cell(70, seeds=(0, 1))
    put(tmp_path, two.settings[0], [0.9, 0.9, 0.1, 0.2, 0.3, 0.4, 0.6], accuracies=[0, 0, 0.5, 0.5, 0.5, 0.5, 0.25])
    put(tmp_path, two.settings[1], [0.1] * 6 + [0.35])
    found = records.measured(two, tmp_path)
    assert (found.rounds, found.seeds, found.diverged) == (70, (0, 1), ())
    assert found.client_mean == pytest.approx([60, 35]) and found.client_mean_of_5 == pytest.approx([32, 15])
    assert found.accuracy_of_5 == pytest.approx([45, 15])


def test_measured_after_fewer_rounds(tmp_path):
    one = cell(70)
    put(tmp_path, one.settings[0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    found = records.measured(one, tmp_path, 30)
    assert found.rounds == 30 and found.client_mean == pytest.approx([30])
    assert found.client_mean_of_5 == pytest.approx([20])
    assert records.measured(one, tmp_path, 35) is records.measured(one, tmp_path, 5) is None       # not tested then


def test_runs_that_have_not_ended_are_no_result(tmp_path):
    three = cell(70, seeds=(0, 1, 2, 3))
    assert records.measured(three, tmp_path / "nowhere") is None
    for settings, status in zip(three.settings, (None, "interrupted", "failed")):
        put(tmp_path, settings, [0.5] * 3, status=status)
    assert records.measured(three, tmp_path) is None
    put(tmp_path, three.settings[3], [0.5] * 7)
    assert records.measured(three, tmp_path).seeds == (3,)


def test_a_run_that_got_to_its_last_round_but_not_to_its_end_is_no_result(tmp_path):
    for seed, status in enumerate((None, "interrupted", "failed")):
        one = cell(70, seeds=(seed,))
        put(tmp_path, one.settings[0], [0.5] * 7, status=status)
        assert records.measured(one, tmp_path) is None


def test_diverged_runs_have_no_number(tmp_path):
    two = cell(70, seeds=(0, 1))
    put(tmp_path, two.settings[0], [0.1], status="diverged")
    found = records.measured(two, tmp_path)
    assert found == records.Measured(70, (), (), (), (), (0,))
    put(tmp_path, two.settings[1], [0.5] * 7)
    found = records.measured(two, tmp_path)
    assert (found.seeds, found.diverged) == ((1,), (0,)) and found.client_mean == pytest.approx([50])


def test_without_test_examples_of_any_client(tmp_path):
    put(tmp_path, settings_after(70), [None] * 7, accuracies=[0.5] * 7)
    found = records.measured(cell(70), tmp_path)
    assert found.client_mean == found.client_mean_of_5 == (None,) and found.accuracy_of_5 == pytest.approx([50])
    assert records.shown(found.client_mean) == "-"


def test_shown():
    assert records.shown(()) == records.shown((1.0, None)) == "-"
    assert records.shown((12.346,)) == "12.35"
    assert records.shown((10.0, 14.0)) == "12.00 ± 2.83"
