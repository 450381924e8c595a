"""Wrong backward passes of the losses of federated methods and options: smoothed labels, contrast, decorrelation,
positive hinge, spreadout."""

from typing import Any

from minifl.backend import Array
from minifl.layers import contrastive, cosine, decorrelation, loss, smoothing
from minifl.layers.activations import softplus_backward


# --- smoothed labels ---------------------------------------------------------------------------------------

def smoothed_not_at_all(dloss: Array, cache: Any) -> Array:
    p, labels, part = cache
    return loss.softmax_cross_entropy_backward(dloss, (p, labels))


def smoothed_label_not_reduced(dloss: Array, cache: Any) -> Array:
    """q = [c = label] + eps/C, which sums to 1 + eps."""
    p, labels, part = cache
    n, classes = p.shape[1:]
    return smoothed_not_at_all(dloss, cache) - (part / (n * classes) * dloss)[:, None, None]


def smoothed_over_the_other_classes(dloss: Array, cache: Any) -> Array:
    """eps/(C - 1) to each class but the label's, as some write it: another loss."""
    p, labels, part = cache
    classes = p.shape[2]
    return smoothing.smoothed_cross_entropy_backward(dloss, (p, labels, part * classes / (classes - 1)))


def smoothed_sign(dloss: Array, cache: Any) -> Array:
    p, labels, part = cache
    return smoothing.smoothed_cross_entropy_backward(dloss, (p, labels, -part))


def smoothed_part_not_averaged(dloss: Array, cache: Any) -> Array:
    plain = smoothed_not_at_all(dloss, cache)
    return plain + (smoothing.smoothed_cross_entropy_backward(dloss, cache) - plain) * cache[0].shape[1]


def smoothed_cotangent_ignored(dloss: Array, cache: Any) -> Array:
    return smoothing.smoothed_cross_entropy_backward(dloss * 0 + 1, cache)


# --- contrast ----------------------------------------------------------------------------------------------

def contrast_no_radial(dloss: Array, cache: Any) -> Array:
    *rest, z_cache = cache
    return contrastive.model_contrastive_backward(dloss, (*rest, _without_radial(z_cache)))


def contrast_radial_below_clamp(dloss: Array, cache: Any) -> Array:
    *rest, (y, r, above) = cache
    return contrastive.model_contrastive_backward(dloss, (*rest, (y, r, above | True)))


def contrast_no_temperature(dloss: Array, cache: Any) -> Array:
    apart, tau, *rest = cache
    return contrastive.model_contrastive_backward(dloss, (apart, 1.0, *rest))


def contrast_not_averaged(dloss: Array, cache: Any) -> Array:
    return contrastive.model_contrastive_backward(dloss, cache) * cache[0].shape[1]


def contrast_sign(dloss: Array, cache: Any) -> Array:
    return contrastive.model_contrastive_backward(-dloss, cache)


def contrast_weight_of_the_positive(dloss: Array, cache: Any) -> Array:
    """sigmoid(-a), the softmax of the positive, for sigmoid(a), that of the negative."""
    apart, tau, a_cache, z_cache = cache
    return contrastive.model_contrastive_backward(dloss, (apart, tau, -a_cache, z_cache))


def contrast_not_saturating(dloss: Array, cache: Any) -> Array:
    """As if the loss were a and not softplus(a)."""
    apart, tau, a_cache, z_cache = cache
    return contrastive.model_contrastive_backward(dloss, (apart / softplus_backward(a_cache * 0 + 1, a_cache)[:, :, None],
                                                          tau, a_cache, z_cache))


def contrast_raw_feature(dloss: Array, cache: Any) -> Array:
    """Products instead of cosines: n's backward left out."""
    apart, tau, a_cache, z_cache = cache
    n, d = apart.shape[1:]
    return softplus_backward(dloss[:, None] / n * (a_cache * 0 + 1), a_cache)[:, :, None] * apart / (d * tau)


# --- decorrelation -----------------------------------------------------------------------------------------

def _dh(dloss, cache):
    h, s, gram = cache
    return (dloss * 4 / (h.shape[1] * h.shape[2]) ** 2)[:, None, None] * (gram @ h)


def decorrelation_no_radial(dloss: Array, cache: Any) -> Array:
    h, s, gram = cache
    return _dh(dloss, cache) / s


def decorrelation_factor_2(dloss: Array, cache: Any) -> Array:
    return decorrelation.decorrelation_backward(dloss, cache) / 2


def decorrelation_divided_by_n_once(dloss: Array, cache: Any) -> Array:
    return decorrelation.decorrelation_backward(dloss, cache) * cache[0].shape[1]


def decorrelation_divided_by_d_once(dloss: Array, cache: Any) -> Array:
    return decorrelation.decorrelation_backward(dloss, cache) * cache[0].shape[2]


def decorrelation_no_sigma(dloss: Array, cache: Any) -> Array:
    return decorrelation.decorrelation_backward(dloss, cache) * cache[1]


def decorrelation_unbiased(dloss: Array, cache: Any) -> Array:
    n = cache[0].shape[1]
    return decorrelation.decorrelation_backward(dloss, cache) * ((n - 1) / n) ** 0.5


def decorrelation_along_features(dloss: Array, cache: Any) -> Array:
    h, s, gram = cache
    dh = _dh(dloss, cache)
    return (dh - h * (dh * h).mean(axis=2, keepdims=True)) / s


def decorrelation_eps_ignored(dloss: Array, cache: Any) -> Array:
    """The radial term with h renormalized to variance exactly 1, as if eps were 0."""
    h, s, gram = cache
    dh = _dh(dloss, cache)
    return (dh - h * (dh * h).mean(axis=1, keepdims=True) / (h * h).mean(axis=1, keepdims=True)) / s


def decorrelation_off_diagonal(dloss: Array, cache: Any) -> Array:
    """The diagonal of C left out, as in the released code: the same but for eps."""
    h, s, gram = cache
    n, d = h.shape[1:]
    variance = (h * h).mean(axis=1, keepdims=True)
    dh = (dloss * 4 / (n * d) ** 2)[:, None, None] * (gram @ h - n * h * variance)
    return (dh - h * (dh * h).mean(axis=1, keepdims=True)) / s


def decorrelation_clients_summed(dloss: Array, cache: Any) -> Array:
    h, s, gram = cache
    return decorrelation.decorrelation_backward(dloss, (h, s, gram * 0 + gram.sum(axis=0)))


def decorrelation_cotangent_ignored(dloss: Array, cache: Any) -> Array:
    return decorrelation.decorrelation_backward(dloss * 0 + 1, cache)


def released_with_diagonal(dloss: Array, cache: Any) -> Array:
    """All entries of h'h, the diagonal too."""
    h, s, gram, q = cache
    return decorrelation.decorrelation_released_backward(dloss, (h, s, gram, q * 0))


def released_diagonal_held_fixed(dloss: Array, cache: Any) -> Array:
    """sum(q*q) taken for a constant: with eps 0 it is one."""
    h, s, gram, q = cache
    n, d = h.shape[1:]
    dh = (dloss * 4 / (d * (d - 1) * n))[:, None, None] * (gram @ h)
    return (dh - h * (dh * h).sum(axis=1, keepdims=True) / (n - 1)) / s


def released_biased(dloss: Array, cache: Any) -> Array:
    """The radial term of the biased variance, a mean over N and not N - 1."""
    h, s, gram, q = cache
    n, d = h.shape[1:]
    dh = (dloss * 4 / (d * (d - 1) * n))[:, None, None] * (gram @ h - h * q)
    return (dh - h * (dh * h).mean(axis=1, keepdims=True)) / s


def released_divided_by_d_squared(dloss: Array, cache: Any) -> Array:
    d = cache[0].shape[2]
    return decorrelation.decorrelation_released_backward(dloss, cache) * (d - 1) / d


def released_is_published(dloss: Array, cache: Any) -> Array:
    """The published form's gradient, at this one's h."""
    return decorrelation.decorrelation_backward(dloss, cache[:3])


# --- positive hinge, spreadout -----------------------------------------------------------------------------

def _without_radial(norm_cache):
    """feature_norm's cache with which its backward leaves out the radial term everywhere."""
    y, r, above = norm_cache
    return y, r, above & False


def hinge_no_radial_feature(dloss: Array, cache: Any) -> tuple:
    *rest, f_cache, e_cache = cache
    return cosine.positive_hinge_backward(dloss, (*rest, _without_radial(f_cache), e_cache))


def hinge_no_radial_weight(dloss: Array, cache: Any) -> tuple:
    *rest, f_cache, e_cache = cache
    return cosine.positive_hinge_backward(dloss, (*rest, f_cache, _without_radial(e_cache)))


def hinge_to_every_class(dloss: Array, cache: Any) -> tuple:
    f, own, gap, active, one_hot, *norms = cache
    return cosine.positive_hinge_backward(dloss, (f, own, gap, active, one_hot | True, *norms))


def hinge_last_of_a_class(dloss: Array, cache: Any) -> tuple:
    """dweight assigned and not added up where examples share their class."""
    f, own, gap, active, one_hot, *norms = cache
    after = one_hot[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]   # examples of the class from this one on
    return (cosine.positive_hinge_backward(dloss, cache)[0],
            cosine.positive_hinge_backward(dloss, (f, own, gap, active, one_hot & (after == 1), *norms))[1])


def hinge_embedding_detached(dloss: Array, cache: Any) -> tuple:
    dfeature, dweight = cosine.positive_hinge_backward(dloss, cache)
    return dfeature, dweight * 0


def hinge_weight_not_averaged(dloss: Array, cache: Any) -> tuple:
    dfeature, dweight = cosine.positive_hinge_backward(dloss, cache)
    return dfeature, dweight * cache[0].shape[1]


def hinge_not_squared(dloss: Array, cache: Any) -> tuple:
    f, own, gap, *rest = cache
    return cosine.positive_hinge_backward(dloss / 2, (f, own, gap * 0 + 1, *rest))


def hinge_no_factor_2(dloss: Array, cache: Any) -> tuple:
    return cosine.positive_hinge_backward(dloss / 2, cache)


def hinge_no_mask(dloss: Array, cache: Any) -> tuple:
    f, own, gap, active, *rest = cache
    return cosine.positive_hinge_backward(dloss, (f, own, gap, active | True, *rest))


def hinge_sign(dloss: Array, cache: Any) -> tuple:
    return cosine.positive_hinge_backward(-dloss, cache)


def hinge_radial_below_clamp(dloss: Array, cache: Any) -> tuple:
    *rest, (y, r, above), e_cache = cache
    return cosine.positive_hinge_backward(dloss, (*rest, (y, r, above | True), e_cache))


def spreadout_pairs_once(dloss: Array, cache: Any) -> Array:
    return cosine.spreadout_backward(dloss, cache) / 2


def spreadout_no_radial(dloss: Array, cache: Any) -> Array:
    *rest, e_cache = cache
    return cosine.spreadout_backward(dloss, (*rest, _without_radial(e_cache)))


def spreadout_not_squared(dloss: Array, cache: Any) -> Array:
    e, gap, *rest = cache
    return cosine.spreadout_backward(dloss / 2, (e, gap * 0 + 1, *rest))


def spreadout_no_mask(dloss: Array, cache: Any) -> Array:
    e, gap, active, e_cache = cache
    return cosine.spreadout_backward(dloss, (e, gap, active | True, e_cache))


def spreadout_raw_embeddings(dloss: Array, cache: Any) -> Array:
    """The other embedding as it is, not at unit length."""
    e, gap, active, (y, r, above) = cache
    return cosine.spreadout_backward(dloss, (y / r, gap, active, (y, r, above)))


def spreadout_clients_averaged(dloss: Array, cache: Any) -> Array:
    return cosine.spreadout_backward(dloss, cache) / len(dloss)
