"""Softmax cross-entropy with smoothed labels (--label-smoothing)."""

from minifl.backend import Array, get_xp
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward


def smoothed_cross_entropy(logits: Array, labels: Array, *, smoothing: float) -> tuple:
    """Each client's mean cross-entropy between softmax(logits) and labels of which a part is given to all classes.

    logits, labels  as `softmax_cross_entropy`
    smoothing       eps in [0, 1), the part of the label that is spread evenly over the C classes
    returns         loss (K,), cache

        q_nc = (1 - eps) [c = label_n] + eps/C      loss_n = -sum_c q_nc log p_nc      loss = mean_n loss_n

    (Szegedy et al. 2016, "Rethinking the Inception architecture", section 7). With p = softmax(z) and sum_c q_nc = 1
        loss_n = log(sum exp z) - sum_c q_nc z_nc = cross-entropy_n + eps (z_n,label - mean_c z_nc)
    so without smoothing it is `softmax_cross_entropy`, to the bit.
    """
    loss, cache = softmax_cross_entropy(logits, labels)
    if smoothing:
        chosen = get_xp(logits).take_along_axis(logits, labels[:, :, None], axis=2)[:, :, 0]
        loss = loss + smoothing * (chosen - logits.mean(axis=2)).mean(axis=1)
    return loss, (*cache, smoothing)


def smoothed_cross_entropy_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dlogits (K, N, C).

    Derivation: `softmax_cross_entropy_backward` with q_nc in the place of [c = label_n], since both sum to 1 over c:
        dz_nc = dloss (p_nc - q_nc)/N,      p_nc - q_nc = p_nc - [c = label_n] + eps ([c = label_n] - 1/C)
    Identity: sum_c dz_nc = 0.
    """
    xp = get_xp(dloss)
    p, labels, smoothing = cache
    dlogits = softmax_cross_entropy_backward(dloss, (p, labels))
    if smoothing:
        n, classes = p.shape[1:]
        one_hot = xp.arange(classes) == labels[:, :, None]
        spread = (smoothing / n * dloss)[:, None, None]
        dlogits = dlogits + spread * one_hot - spread / classes
    return dlogits
