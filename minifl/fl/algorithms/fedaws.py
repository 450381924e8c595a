"""FedAwS (Yu et al. 2020, "Federated learning with only positive labels", Algorithm 1): averaging with spreadout.

    client k minimizes  mean_n max(0, hinge_margin - cos(g_n, w_y))^2,  its label's embedding w_y: column y of the
                        classifier, g_n the feature; other classes do not enter, so one class per client is enough
    server:  all parameters but the classifier as FedAvg;
             w_c <- sum_k n_kc w_kc / sum_k n_kc over the clients that answered; it stays where none holds class c
             W <- W - spreadout_lr grad sum_{c != c'} max(0, spreadout_margin - 1 + cos(w_c, w_c'))^2
             w_c <- w_c / ||w_c||

The clients alone would pull all features and embeddings together; the server's step, which needs no data, pushes
the embeddings apart. Both losses are in layers/cosine.py. Embeddings of length 1 make the largest logit that of the
largest cosine, so the model is tested as all others. The algorithm, the squared hinges and the 0.9 are the source's;
ours are the cosine distance in the spreadout with margin 1 (orthogonal embeddings), and its step 0.1. The paper
does not run it.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.errors import InputError
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.layers.cosine import positive_hinge, positive_hinge_backward, spreadout, spreadout_backward
from minifl.models import flat_gradient
from minifl.models.network import Network

EMBEDDINGS = "classifier.weight"


@dataclass(frozen=True)
class FedAwS(FedAvg):
    hinge_margin: float = hyperparameter(0.9, above=0, at_most=1, source="Yu et al.",
                                         help="Cosine at which the loss of a client ends.")
    spreadout_margin: float = hyperparameter(1.0, above=0, at_most=2, source="ours: orthogonal embeddings",
                                             help="Cosine distance that embeddings are pushed to.")
    spreadout_lr: float = hyperparameter(0.1, at_least=0, help="Step of the server's spreadout.", source="ours")

    def refuse(self, settings: Any) -> None:
        if settings.bias == "all":
            raise InputError("--bias all with --algorithm fedaws: its classifier has no bias, since it compares "
                             "directions; choose none or hidden.")
        if settings.label_smoothing:
            raise InputError(f"--label-smoothing {settings.label_smoothing:g} with --algorithm fedaws: its loss is about "
                             f"one class of each example, so there are no labels to spread; leave it out.")

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        p = work.model.spec.views(theta)
        logits, cache = work.model.forward(p, x)
        loss, loss_cache = positive_hinge(work.model.feature(cache), p[EMBEDDINGS], y, margin=self.hinge_margin)
        dfeature, dembeddings = positive_hinge_backward(loss * 0 + 1, loss_cache)
        grads = work.model.backward(logits * 0, cache, dfeature=dfeature)
        return loss, *flat_gradient(work.model, grads | {EMBEDDINGS: dembeddings}, theta)

    def message(self, work: Work, theta: Array) -> tuple[dict, dict]:
        update = theta - work.w
        share = work.counts / work.counts.sum(axis=1, keepdims=True)      # (K, C): n_kc / n_k
        embeddings = work.model.spec.views(update)[EMBEDDINGS] * share[:, None]
        return {"update": update, "embeddings": embeddings, "share": share}, {}

    def server(self, model: Network, w: Array, mean: dict, state: dict, share: float) -> tuple[Array, dict]:
        xp = get_xp(w)
        before = model.spec.views(w[None])[EMBEDDINGS]
        w = w + mean["update"]
        held = mean["share"] > 0
        step = mean["embeddings"] / xp.where(held, mean["share"], xp.ones_like(mean["share"]))
        embeddings = before + xp.where(held, step, xp.zeros_like(step))
        penalty, cache = spreadout(embeddings, margin=self.spreadout_margin)
        embeddings = embeddings - self.spreadout_lr * spreadout_backward(penalty * 0 + 1, cache)
        length = xp.sqrt((embeddings * embeddings).sum(axis=1, keepdims=True))
        model.spec.views(w[None])[EMBEDDINGS][...] = embeddings / xp.where(length > 0, length, xp.ones_like(length))
        return w, state
