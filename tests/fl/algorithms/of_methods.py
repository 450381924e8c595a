"""The test files of the methods: every registered one has its own, test_NAME.py, and the general tests ask it.

DECLARED      name -> (default, (valid values, invalid values)) of each hyperparameter, by hand
HARD          other hyperparameters, for the hard trajectories
Oracle        the method in plain loops, a Plain
What it may have besides:
TRAJECTORIES  more settings for test_trajectories.py, or others
IS_FEDAVG     those of them in which the method is FedAvg up to rounding
TERM          (method, work, theta) -> (K,): the terms of the objective that are not in the recorded loss
OBJECTIVE     (method, work, theta, x, y) -> (K,): what the gradient is of, where that is not the recorded loss and TERM
FEDAVG        (options with which it is FedAvg to the bit, options with which it is not)
ONE_STEP      options with each of which one local step is FedAvg's
NO_SMOOTHING  --label-smoothing is refused
SGD           options with each of which a single client does plain SGD
"""

import importlib

from small_problem import settings_of

from minifl.fl.algorithms import ALGORITHMS


def of(name):
    """The test file of a method."""
    return importlib.import_module(f"test_{name}")


def each(attribute):
    """A list of (method, value) of all that have it; of a list its items, one by one."""
    has = [(name, getattr(of(name), attribute)) for name in ALGORITHMS if hasattr(of(name), attribute)]
    return [(name, value) for name, found in has for value in (found if isinstance(found, list) else [found])]


ROUNDS = 20
EASY = {"rounds": ROUNDS, "local_steps": 2}
HARD = {"rounds": ROUNDS, "local_epochs": 1, "clients_per_round": 3, "dropout_rate": 0.3, "momentum": 0.5,
        "weight_decay": 0.01, "lr_schedule": "cosine", "seed": 2}
KINDS = {
    "easy": EASY, "hard": HARD,
    # every epoch with a smaller last batch, of 1 to 3 examples, and all clients alike
    "alike": HARD | {"local_epochs": 2, "last_batch": "partial", "client_weights": "uniform"},
    # gradients of a length of 0.4 to 3.6, FedAvg's, cut to 1.5; labels of which a fifth is spread
    "clipped": HARD | {"clip_norm": 1.5, "label_smoothing": 0.2}}


def trajectories(name):
    """What a method is tried in: name -> (kind, the method's own options, norm)."""
    file = of(name)
    return {"easy": ("easy", {}, "ln"), "hard": ("hard", file.HARD, "fn"),
            "alike": ("alike", file.HARD, "fn")} | getattr(file, "TRAJECTORIES", {})


def trajectory_of(name, which):
    """Settings and norm of one of them."""
    kind, options, norm = trajectories(name)[which]
    return settings_of(name, **KINDS[kind] | options), norm
