"""A small problem under --diagnose, for the tests of what is seen and of what it does not change."""

import numpy as np

from small_problem import CLASSES, SHAPE, problem, settings_of

from minifl.fl.rounds import federated_rounds, start
from minifl.models import MLP, Arrangement

KEYS = {"round", "classifier_norms", "feature_norms", "feature_norms_of_class", "singular_values", "effective_rank",
        "direction_singular_values", "direction_effective_rank", "margins", "clients", "local_before", "local_after",
        "drift", "cosines"}


def network(norm="none", head="linear"):
    return MLP(CLASSES, SHAPE, (7, 6), Arrangement(norm, learnable=norm == "bn", bias="hidden", head=head))


def run(model, settings, *, dtype=np.float64, of=None, **place):
    """The state before the first round, and all (state, record)."""
    data, partition = of or problem()
    first = start(settings.method(), model.spec.init(3).astype(dtype), model.statistics.init(3).astype(dtype))
    return first, list(federated_rounds(settings, model, settings.method(), first, data, partition,
                                        **{"workers": 0} | place))


def diagnosed(algorithm="fedavg", **options):
    return settings_of(algorithm, **{"diagnose": True, "eval_every": 2, "lr": 0.3, "rounds": 5} | options)


def seen(results):
    return [line["diagnostics"] for _, line in results if "diagnostics" in line]
