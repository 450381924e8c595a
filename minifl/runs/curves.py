"""Series for plots, from the records of runs alone. Numbers only: plots.py and textplot.py draw them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minifl.backend import Array
from minifl.errors import InputError
from minifl.runs import record, summary


class Curve(NamedTuple):
    """A line of a plot, with a band around it if it stands for several runs."""
    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray = None
    high: np.ndarray = None
    norm: str = ""      # of the network: it decides on the line's dashes
    kind: tuple = ()    # curves of the same kind, as runs that differ in their seed only, share a colour


class Local(NamedTuple):
    """What the local steps of a round did to each client's model; K clients answered, C classes."""
    round: int
    clients: list           # their numbers
    before: np.ndarray      # (C,) accuracy on the probe of the model that they began with, percent; NaN without images
    after: np.ndarray       # (K, C) of their models
    cosines: np.ndarray     # (K, K) between their updates


class Diagnostics(NamedTuple):
    """What `train --diagnose` recorded of a run at T evaluations; C classes. NaN where nobody answered."""
    label: str
    norm: str
    kind: tuple
    accuracy: tuple                         # (rounds, test accuracy in percent)
    rounds: np.ndarray                      # (T,)
    classifier_norms: np.ndarray            # (T, C)
    feature_norms: np.ndarray               # (T, 5) min, first quartile, median, third quartile, max
    singular_values: list                   # T arrays of the features' singular values, largest first
    direction_singular_values: list         # the same of the normalized features
    effective_rank: np.ndarray              # (T,)
    direction_effective_rank: np.ndarray    # (T,)
    margins: np.ndarray                     # (C, C) at the last evaluation: (w_c - w_k)'g over class k, k the row
    drift: dict                             # block -> (T,) how far clients moved it, mean over them
    whole_drift: np.ndarray                 # (T,) the same of all parameters together
    mean_cosine: np.ndarray                 # (T,) mean over pairs of clients
    mean_after: np.ndarray                  # (T,) accuracy on the probe after local steps, mean over clients, percent
    local: Local                            # of the last evaluation at which a client answered; None if there is none


def accuracy_curves(paths: Sequence[str | Path], *, mean: bool = False) -> list[Curve]:
    """Test accuracy of the global model in percent over rounds: a Curve for each run directory.

    With `mean` one for the runs that differ in their seed only: their mean, its band from the worst to the best, at the
    rounds at which all of them were evaluated.
    """
    runs = [summary.read(path) for path in paths]
    if not mean:
        return [Curve(label, *_percent(run.tested), norm=run.settings["norm"], kind=kind)
                for label, kind, run in zip(labels(paths), _kinds(runs), runs)]
    names, groups = summary.grouped(runs)
    found = []
    for label, (key, group) in zip(group_labels(names, groups), groups.items()):
        accuracies = [dict(run.tested) for run in group]
        rounds = sorted(set.intersection(*map(set, accuracies)))
        values = 100 * np.array([[run[number] for number in rounds] for run in accuracies])
        band = (values.min(axis=0), values.max(axis=0)) if len(group) > 1 else (None, None)
        found.append(Curve(label, np.array(rounds), values.mean(axis=0), *band, group[0].settings["norm"], key))
    return found


def _kinds(runs):
    """For each run the key of its group."""
    key_of = {id(run): key for key, group in summary.grouped(runs)[1].items() for run in group}
    return [key_of[id(run)] for run in runs]


def _percent(tested):
    rounds, accuracies = zip(*tested)
    return np.array(rounds), 100 * np.array(accuracies, dtype=float)


def labels(paths: Sequence[str | Path]) -> list[str]:
    """A name for each run directory: its own, with as many of the folders around it as tell it from the others."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    for path, own in zip(paths, parts):
        if parts.count(own) > 1:
            raise InputError(f"{path} is given more than once.")
    for count in range(1, max(map(len, parts)) + 1):
        names = ["-".join(own[-count:]).replace(os.sep, "") for own in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError("the names of these runs cannot be told apart; rename one of them.")


def group_labels(names: Sequence[str], groups: dict) -> list[str]:
    """A label for each group of `summary.grouped`: the values in which they differ, and the number of runs."""
    shown = [i for i, values in enumerate(zip(*groups)) if len(set(values)) > 1] or [names.index("norm")]

    def text(name, value):
        return value if name in ("data", "setting", "algorithm") else f"{value} rounds" if name == "rounds" else \
            f"{name.replace('_', ' ')} {value}"

    return [", ".join(text(names[i], key[i]) for i in shown) + f" ({len(group)} run{'s' * (len(group) > 1)})"
            for key, group in groups.items()]


def read_diagnostics(paths: Sequence[str | Path]) -> list:
    """The Diagnostics of each run directory; InputError if one was not recorded, or its record is damaged."""
    runs = []
    for path in paths:
        file = Path(path) / record.DIAGNOSTICS
        record.read_config(path)        # first of all it is a run directory
        lines = record.read_diagnostics(path)
        if not lines:
            raise InputError(f"{file} has no evaluation yet.")
        runs.append((file, summary.read(path), lines))
    kinds = _kinds([run for _, run, _ in runs])
    return [_diagnostics(*of_one) for of_one in zip(labels(paths), kinds, *zip(*runs))]


def _diagnostics(label, kind, file, run, lines):
    try:
        return Diagnostics(
            label, run.settings["norm"], kind, _percent(run.tested),
            rounds=_array([line["round"] for line in lines], 1),
            **{name: _array([line[name] for line in lines], 2) for name in ("classifier_norms", "feature_norms")},
            **{name: [_array(line[name], 1) for line in lines]
               for name in ("singular_values", "direction_singular_values")},
            **{name: _array([line[name] for line in lines], 1)
               for name in ("effective_rank", "direction_effective_rank")},
            margins=_array(lines[-1]["margins"], 2),
            drift={block: _array([_mean(line["drift"].get(block) or []) for line in lines], 1)
                   for block in dict.fromkeys(block for line in lines for block in line["drift"])},
            whole_drift=np.array([_mean(np.sqrt(sum(np.square(_array(moved, 1)) for moved in line["drift"].values())))
                                  for line in lines]),
            mean_cosine=np.array([_off_diagonal(line["cosines"]) for line in lines]),
            mean_after=np.array([100 * _mean(line["local_after"]) for line in lines]),
            local=_local([line for line in lines if line["clients"]]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file} is damaged: it does not hold what `train --diagnose` writes "
                         f"({type(error).__name__}: {error}).") from error


def _local(lines):
    if not lines:
        return None
    line = lines[-1]
    return Local(line["round"], line["clients"], 100 * _array(line["local_before"], 1),
                 100 * _array(line["local_after"], 2), _array(line["cosines"], 2))


def _array(values, dimensions):
    array = np.array(values, dtype=float)       # None becomes NaN
    if array.ndim != dimensions:
        raise ValueError(f"an array of {array.ndim} axes instead of {dimensions}")
    return array


def _mean(values):
    """Mean of what there is; NaN without anything."""
    known = np.array(values, dtype=float)
    known = known[~np.isnan(known)]
    return known.mean() if known.size else np.nan


def _off_diagonal(cosines):
    matrix = np.array(cosines, dtype=float)
    return _mean(matrix[~np.eye(len(matrix), dtype=bool)]) if len(matrix) else np.nan


def mean_over_clients(after: Any) -> Array:
    """(K, C) -> (C,), NaN for a class without images."""
    return np.ma.masked_invalid(after).mean(axis=0).filled(np.nan)


def log_spectrum(singular_values: Array) -> Array:
    """log10(sigma_i / sigma_1) of singular values, largest first; NaN where sigma_i is 0 but for rounding."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = singular_values / singular_values[:1]
        return np.where(ratios > np.finfo(float).eps, np.log10(ratios), np.nan)


def scalars(diagnostics: Diagnostics) -> list:
    """What can be put on common axes: (title, name of the y axis, rounds, values) of each scalar of one run."""
    rounds = diagnostics.rounds
    return [
        ("Global model", "test accuracy in %", *diagnostics.accuracy),
        ("Clients' models after local steps, mean", "accuracy on probe in %", rounds, diagnostics.mean_after),
        ("Length of classifier vectors, mean", r"$\|w_c\|$", rounds, diagnostics.classifier_norms.mean(axis=1)),
        ("Length of features, median", r"$\|g\|$", rounds, diagnostics.feature_norms[:, 2]),
        ("Effective rank of features", "effective rank", rounds, diagnostics.effective_rank),
        ("Effective rank of directions", "effective rank", rounds, diagnostics.direction_effective_rank),
        ("Drift of clients, mean", r"$\|\theta_k - w\|$", rounds, diagnostics.whole_drift),
        ("Mean cosine between updates", "cosine", rounds, diagnostics.mean_cosine),
    ]
