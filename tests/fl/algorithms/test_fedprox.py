"""FedProx: mu = 0 and a single step are FedAvg."""

from declared_values import NOT_NEGATIVE
from plain import Plain



DECLARED = {"mu": (0.01, NOT_NEGATIVE)}
HARD = {"mu": 0.5}
FEDAVG = {"mu": 0}, {"mu": 0.1}
ONE_STEP = [{"mu": 0.5}]
SGD = [{"mu": 0}]
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}


class Oracle(Plain):

    def objective(self, settings, model, theta, x, y, counts, w):
        loss, gradient = super().objective(settings, model, theta, x, y, counts, w)
        return loss, gradient + settings.mu * (theta - w)


def TERM(method, work, theta):
    return method.mu / 2 * ((theta - work.w) ** 2).sum(axis=1)
