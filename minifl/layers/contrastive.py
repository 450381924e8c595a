"""MOON's model-contrastive loss (Li, He and Song, CVPR 2021, "Model-contrastive federated learning", eq. 3).

One example's feature z is to be more like the one that the server's model has of it, z+, than like the one that the
client's own previous model had, z-. Likeness is the cosine, so lengths do not matter: vectors are seen through feature
norm, n(x) = sqrt(D) x/max(eps, ||x||), and cos(a, b) = mean(n(a)*n(b)), as in cosine.py.
"""

from minifl.backend import Array, get_xp
from minifl.layers.activations import softplus, softplus_backward
from minifl.layers.norm import EPS, feature_norm, feature_norm_backward


def model_contrastive(feature: Array, positive: Array, negative: Array, *, tau: float = 0.5, eps: float = EPS) -> tuple:
    """Each client's mean contrastive loss of its features, with one positive and one negative for each.

    feature             (K, N, D)   z, of the model that is trained
    positive, negative  (K, N, D)   z+ and z-, of two models that are not: constants
    tau                 temperature
    returns             loss (K,), cache

        loss_n = -log( exp(cos(z, z+)/tau) / (exp(cos(z, z+)/tau) + exp(cos(z, z-)/tau)) ),   loss = mean_n loss_n

    Divided by its first term the fraction is 1/(1 + exp(a)) with a = (cos(z, z-) - cos(z, z+))/tau, and so
        loss_n = log(1 + exp(a)) = softplus(a)
    Where z+ = z- the loss is log 2 whatever z is.
    """
    z, z_cache = feature_norm(feature, eps=eps)
    apart = feature_norm(negative, eps=eps)[0] - feature_norm(positive, eps=eps)[0]
    a = (z * apart).mean(axis=2) / tau
    loss, a_cache = softplus(a)
    return loss.mean(axis=1), (apart, tau, a_cache, z_cache)


def model_contrastive_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dfeature (K, N, D).

    Derivation, one client, u = n(z): the mean over N examples and softplus, whose derivative is the sigmoid, give
        da_n = dloss sigmoid(a_n)/N
    and from a_n = sum_d u_nd (n(z-) - n(z+))_nd/(D tau)
        du_n = da_n (n(z-) - n(z+))_n/(D tau)
    then feature norm's backward, with its radial term. Identity: dz_n is orthogonal to z_n, as the loss does not change
    with its length. z+ and z- come of parameters that do not move in a local step, and get no gradient.
    """
    apart, tau, a_cache, z_cache = cache
    n, d = apart.shape[1:]
    da = softplus_backward(get_xp(dloss).broadcast_to(dloss[:, None] / n, a_cache.shape), a_cache)
    return feature_norm_backward(da[:, :, None] * apart / (d * tau), z_cache)
