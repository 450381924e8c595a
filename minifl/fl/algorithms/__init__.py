"""The federated methods of --algorithm, one file each; fedavg.py says what a method is."""

from minifl.declared import Choice, choices_of
from minifl.fl.algorithms.fedadagrad import FedAdagrad
from minifl.fl.algorithms.fedadam import FedAdam
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.algorithms.fedavgm import FedAvgM
from minifl.fl.algorithms.fedaws import FedAwS
from minifl.fl.algorithms.feddecorr import FedDecorr
from minifl.fl.algorithms.fedexp import FedExP
from minifl.fl.algorithms.fedlc import FedLC
from minifl.fl.algorithms.fednova import FedNova
from minifl.fl.algorithms.fedprox import FedProx
from minifl.fl.algorithms.fedrs import FedRS
from minifl.fl.algorithms.fedyogi import FedYogi
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
}


def hyperparameters() -> dict[str, dict[str, Choice]]:
    """name -> {method: what it declares of it}, for all hyperparameters that any method has."""
    found = {}
    for method, cls in ALGORITHMS.items():
        for name, choice in choices_of(cls).items():
            found.setdefault(name, {})[method] = choice
    return found
