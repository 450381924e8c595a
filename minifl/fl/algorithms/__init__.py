"""The federated methods of --algorithm, one file each; fedavg.py says what a method is."""

import inspect
from dataclasses import MISSING
from typing import Any

from minifl import own
from minifl.declared import Choice, choices_of
from minifl.errors import InputError
from minifl.fl.algorithms.ditto import Ditto
from minifl.fl.algorithms.fedadagrad import FedAdagrad
from minifl.fl.algorithms.fedadam import FedAdam
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.algorithms.fedavgm import FedAvgM
from minifl.fl.algorithms.fedaws import FedAwS
from minifl.fl.algorithms.feddecorr import FedDecorr
from minifl.fl.algorithms.feddyn import FedDyn
from minifl.fl.algorithms.fedexp import FedExP
from minifl.fl.algorithms.fedlc import FedLC
from minifl.fl.algorithms.fednova import FedNova
from minifl.fl.algorithms.fedper import FedPer
from minifl.fl.algorithms.fedprox import FedProx
from minifl.fl.algorithms.fedrs import FedRS
from minifl.fl.algorithms.fedsam import FedSAM
from minifl.fl.algorithms.fedyogi import FedYogi
from minifl.fl.algorithms.localadam import LocalAdam
from minifl.fl.algorithms.moon import MOON
from minifl.fl.algorithms.scaffold import Scaffold

ALGORITHMS = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "scaffold": Scaffold,
    "feddecorr": FedDecorr,
    "fedlc": FedLC,
    "fedrs": FedRS,
    "fedyogi": FedYogi,
    "fedadam": FedAdam,
    "fedadagrad": FedAdagrad,
    "fedavgm": FedAvgM,
    "fednova": FedNova,
    "fedaws": FedAwS,
    "fedexp": FedExP,
    "feddyn": FedDyn,
    "moon": MOON,
    "fedsam": FedSAM,
    "localadam": LocalAdam,
    "fedper": FedPer,
    "ditto": Ditto,
}


def hyperparameters() -> dict[str, dict[str, Choice]]:
    """name -> {method: what it declares of it}, for all hyperparameters that any method has."""
    found = {}
    for method, cls in ALGORITHMS.items():
        for name, choice in choices_of(cls).items():
            found.setdefault(name, {})[method] = choice
    return found


def check(thing: Any) -> None:
    """InputError for what is no method: it must be a dataclass made from FedAvg or another method."""
    if not isinstance(thing, type):
        raise InputError(f"is {'a function' if inspect.isfunction(thing) else type(thing).__name__}; it must be a class, "
                         f"made from minifl.fl.algorithms.fedavg.FedAvg.")
    if not issubclass(thing, FedAvg):
        raise InputError("is not made from minifl.fl.algorithms.fedavg.FedAvg, which says what a method is.")
    declared = choices_of(thing)
    lacking = [name for name in vars(thing).get("__annotations__", {}) if name not in declared]
    if lacking:
        raise InputError(f"declares {', '.join(lacking)}, but is no dataclass; write @dataclass(frozen=True) above it.")
    for name, function in inspect.getmembers(FedAvg, inspect.isfunction):
        wanted, found = (list(inspect.signature(getattr(cls, name)).parameters) for cls in (FedAvg, thing))
        if not name.startswith("_") and len(found) != len(wanted):
            raise InputError(f"has {name}({', '.join(found)}); it must take ({', '.join(wanted)}).")
    for choice in declared.values():
        if choice.default is MISSING:
            raise InputError(f"declares {choice.name} without a default; write {choice.name}: {choice.kind.__name__} = "
                             f"hyperparameter(...).")
    thing()


own.kind("algorithm", ALGORITHMS, check, "minifl.algorithms")
