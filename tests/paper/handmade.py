"""Records written by hand, and a study of runs of a second, for the tests of the experiments."""

import json
from dataclasses import asdict
from pathlib import Path

from minifl.data import embedded
from minifl.data.dataset import make_dataset
from minifl.paper.naming import run_name
from minifl.paper.study import Study, cells

TINY = Study("tiny", "Tiny networks", "table", {"plain": {}, "FN": {"norm": "fn"}},
             {"1 class": {"setting": "oneclass"}, "even": {"setting": "iid"}}, {"plain": (10, 20.5), "FN": (30, None)},
             {"data": "cifar10", "model": "mlp", "width": 0.05, "local_steps": 1, "batch_size": 4, "num_clients": 10,
              "local_eval_every": 0, "eval_every": 1}, rounds=4, note="A note.")


def put(folder, settings, client_means, *, every=10, status="finished", rounds=None, name=None, accuracies=None):
    """A run directory that was tested every so many rounds and at its end, with these client means (None allowed), and
    these accuracies, by default the same. status None: it has not ended. rounds: of its config. Returns its path."""
    path = Path(folder) / (name or run_name(settings))
    path.mkdir(parents=True)
    held = asdict(settings) | ({"rounds": rounds} if rounds else {})
    (path / "config.json").write_text(json.dumps({"settings": held, "partition": {}, "data": {}}), encoding="utf-8")
    lines = []
    for i, mean in enumerate(client_means, start=1):
        number = min(i * every, held["rounds"])
        lines += [{"round": r, "train_loss": 1.0} for r in range(len(lines) + 1, number)]
        lines.append({"round": number, "train_loss": 1.0, "client_mean_accuracy": mean,
                      "accuracy": mean if accuracies is None else accuracies[i - 1]})
    (path / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if status:
        (path / "end.json").write_text(json.dumps({"status": status, "message": None, "rounds_done": len(lines),
                                                   "last_evaluation": lines[-1] if lines else None}), encoding="utf-8")
    return path


def cell_of(study, row, column="", **options):
    """One cell of a study."""
    return next(cell for cell in cells(study, **options) if (cell.row, cell.column) == (row, column))


def small_embedded(train=400, test=400):
    """The first images of the embedded set."""
    e = embedded.generate(0, train, test)
    return make_dataset("embedded", e.x_train, e.y_train, e.x_test, e.y_test, embedded.CLASS_NAMES, "a part of it",
                        e.domain_train, e.domain_test, embedded.DOMAIN_NAMES)
