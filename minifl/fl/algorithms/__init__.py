"""The federated methods of --algorithm: NAME.py is the method NAME. fedavg.py says what a method is."""

import importlib
import inspect
import pkgutil
from dataclasses import MISSING
from typing import Any

from minifl import own
from minifl.declared import Choice, choices_of
from minifl.errors import InputError
from minifl.fl.algorithms.fedavg import FedAvg

SHARED = ("fedopt",)     # files that hold what several methods have in common


def method_in(name: str) -> type[FedAvg]:
    """The method of the file NAME.py of this folder: its class has that name, too, in capitals and small letters."""
    found = [thing for thing in vars(importlib.import_module(f"{__name__}.{name}")).values()
             if isinstance(thing, type) and issubclass(thing, FedAvg) and thing.__name__.lower() == name]
    if not found:
        raise ImportError(f"{name}.py of {__name__} has no method whose class is named {name}, in whatever case.")
    return found[0]


NAMES = sorted({file.name for file in pkgutil.iter_modules(__path__)} - {*SHARED, "fedavg"})
ALGORITHMS = {name: method_in(name) for name in ("fedavg", *NAMES)}


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
