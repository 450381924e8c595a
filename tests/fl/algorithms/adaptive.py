"""Reddi et al. 2021, Algorithm 2, a parameter at a time: the server's step of FedAdagrad, FedAdam and FedYogi."""

import math

import numpy as np

from plain import Plain, average


class Adaptive(Plain):

    def first_state(self, settings, size):
        return {"m": np.zeros(size), "v": np.zeros(size) + settings.server_v0}

    def second_moment(self, settings, v, d):
        """Of one parameter: v and the update d -> next v."""
        raise NotImplementedError

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        update, after, m, v = average(answers) - w, w.copy(), state["m"].copy(), state["v"].copy()
        for i, d in enumerate(update):
            m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * d
            v[i] = self.second_moment(settings, v[i], d)
            after[i] = w[i] + settings.server_lr * m[i] / (math.sqrt(v[i]) + settings.server_tau)
        return after, {"m": m, "v": v}
