"""FedAwS's two losses on cosines (Yu et al., ICML 2020, "Federated learning with only positive labels").

A classifier's weight (D, C) holds in column c the embedding w_c of class c. A client that sees one class only
pulls its features towards that embedding, `positive_hinge`; nothing there keeps the classes apart, so the
server does after each round, `spreadout`.

Both see vectors through feature norm, n(x) = sqrt(D) x/max(eps, ||x||): cos(a, b) = mean(n(a)*n(b)). So
lengths do not matter, and every gradient is orthogonal to its vector. A vector shorter than eps (the zero
vector, of cosine 0) is only divided by eps: there the gradient is not orthogonal, and of the order of 1/eps.
"""

from minifl.backend import Array, get_xp
from minifl.layers.loss import check_labels
from minifl.layers.norm import EPS, feature_norm, feature_norm_backward


def positive_hinge(feature: Array, weight: Array, labels: Array, *, margin: float = 0.9, eps: float = EPS) -> tuple:
    """Each client's mean squared hinge of the cosine between a feature and the embedding of its class.

    feature  (K, N, D)
    weight   (K, D, C)   column c is the embedding of class c
    labels   (K, N) integers in 0..C-1
    margin   the cosine from which on an example costs nothing; 0.9 in the paper
    returns  loss (K,), cache
    Raises ValueError for a label outside of 0..C-1 (`loss.check_labels`).

        loss_n = max(0, margin - cos(feature_n, w_label))²      loss = mean_n loss_n
    """
    check_labels(labels, weight.shape[2])
    xp = get_xp(feature)
    f, f_cache = feature_norm(feature, eps=eps)
    e, e_cache = feature_norm(xp.swapaxes(weight, 1, 2), eps=eps)
    own = xp.take_along_axis(e, labels[:, :, None], axis=1)
    gap = margin - (f * own).mean(axis=2)
    active = gap.real > 0
    one_hot = xp.arange(weight.shape[2])[:, None] == labels[:, None, :]
    return (gap * gap * active).mean(axis=1), (f, own, gap, active, one_hot, f_cache, e_cache)


def positive_hinge_backward(dloss: Array, cache: tuple) -> tuple:
    """Map dL/dloss (K,) to (dL/dfeature (K, N, D), dL/dweight (K, D, C)).

    Derivation, one client, gap_n = margin - cos_n, f = n(feature), e_c = n(w_c):
        dcos_n = -dloss 2 max(0, gap_n)/N
    and from cos_n = sum_d f_nd e_label,d / D
        df_n = dcos_n e_label/D        de_c = sum over n with label_n = c of dcos_n f_n/D
    the latter a product with the one-hot labels (C, N); feature norm's backward follows for both. Columns of
    classes that do not occur get 0. At the kink, gap = 0, the squared hinge is smooth and its derivative 0.
    """
    xp = get_xp(dloss)
    f, own, gap, active, one_hot, f_cache, e_cache = cache
    n, d = f.shape[1:]
    dcos = ((-2 / n * dloss)[:, None] * gap * active)[:, :, None]
    df = dcos * own / d
    de = one_hot.astype(f.dtype) @ (dcos * f) / d
    return feature_norm_backward(df, f_cache), xp.swapaxes(feature_norm_backward(de, e_cache), 1, 2)


def spreadout(weight: Array, *, margin: float = 1.0, eps: float = EPS) -> tuple:
    """How much closer than `margin` the embeddings of different classes lie, in cosine distance 1 - cos.

    weight   (K, D, C)   column c is the embedding of class c
    margin   the distance from which on a pair costs nothing (the paper's nu); 1 is orthogonal
    returns  loss (K,), cache

        loss = sum over c and all c' != c of max(0, margin - (1 - cos(w_c, w_c')))²

    Each pair is counted twice, as in the paper. With one class loss is 0.
    """
    xp = get_xp(weight)
    e, e_cache = feature_norm(xp.swapaxes(weight, 1, 2), eps=eps)
    classes = xp.arange(weight.shape[2])
    gap = margin - 1 + e @ xp.swapaxes(e, 1, 2) / e.shape[2]
    active = (gap.real > 0) & (classes[:, None] != classes)
    return (gap * gap * active).sum(axis=(1, 2)), (e, gap, active, e_cache)


def spreadout_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dweight (K, D, C).

    Derivation, one client, gap_cc' = margin - 1 + cos_cc', e_c = n(w_c):
        dcos_cc' = dloss 2 max(0, gap_cc') for c != c', and 0 on the diagonal
    and from cos_cc' = sum_d e_cd e_c'd / D, dcos being symmetric
        de = (dcos + dcos') e/D = 2 dcos e/D
    then feature norm's backward. Embeddings that coincide have gradient 0 in each other's direction: their
    cosine is at its maximum, and only a third class or another loss can part them.
    """
    e, gap, active, e_cache = cache
    dcos = (2 * dloss)[:, None, None] * gap * active
    de = 2 * dcos @ e / e.shape[2]
    return get_xp(dloss).swapaxes(feature_norm_backward(de, e_cache), 1, 2)
