"""Softmax cross-entropy."""

from minifl.backend import Array, get_xp, on_cpu


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple:
    """Each client's mean cross-entropy between softmax(logits) and its labels.

    logits   (K, N, C)
    labels   (K, N) integers in 0..C-1
    returns  loss (K,), cache
    Raises ValueError for a label outside of 0..C-1 (`check_labels`).

        loss_n = log(sum_c exp(z_nc)) - z_n,label      loss = mean_n loss_n

    Derivation: exp overflows. A number that is subtracted from all logits of an example is subtracted from both terms
    of loss_n, so nothing changes if it is the largest logit; then exp is at most 1, and for one of the classes 1.
    """
    check_labels(labels, logits.shape[2])
    xp = get_xp(logits)
    z = logits - logits.real.max(axis=2, keepdims=True)
    e = xp.exp(z)
    total = e.sum(axis=2, keepdims=True)
    chosen = xp.take_along_axis(z, labels[:, :, None], axis=2)
    loss = (xp.log(total) - chosen)[:, :, 0].mean(axis=1)
    return loss, (e / total, labels)


def softmax_cross_entropy_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dlogits (K, N, C).

    Derivation, one example, p = softmax(z):
        d log(sum exp z)/dz_c = exp(z_c)/sum exp z = p_c      d z_label/dz_c = [c = label]
    so d loss_n/dz_nc = p_nc - [c = label_n], and the mean over N examples divides by N:
        dz_nc = dloss (p_nc - [c = label_n]) / N
    Identity: sum_c dz_nc = 0.
    """
    xp = get_xp(dloss)
    p, labels = cache
    one_hot = xp.arange(p.shape[2]) == labels[:, :, None]
    return (p - one_hot) * (dloss / p.shape[1])[:, None, None]


def check_labels(labels: Array, classes: int) -> None:
    """ValueError, naming the label, unless all labels are in 0..classes-1. -1 would be taken for the last class.

    Where they lie on a GPU nothing is checked, since that would wait for it in every local step; whoever puts them there
    has checked them (a data set is checked when it is made or read).
    """
    if on_cpu(labels) and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        wrong = labels[(labels < 0) | (labels >= classes)].ravel()[0]
        raise ValueError(f"label {wrong} is outside of 0..{classes - 1}, the {classes} classes of the logits")
