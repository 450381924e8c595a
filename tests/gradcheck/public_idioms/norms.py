"""Norms: `x.var()`, `np.std`, `np.linalg.norm`, a dictionary of options, batch on axis 0, channels first."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck.adapters import with_options


def batchnorm_forward(x, gamma, beta, bn_param):
    mode, eps = bn_param["mode"], bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1]))
    assert mode == "train"
    mu = x.mean(axis=0)
    var = x.var(axis=0)
    std = np.sqrt(var + eps)
    x_hat = (x - mu) / std
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * np.real(mu)
    return gamma * x_hat + beta, (x_hat, gamma, std)


def batchnorm_backward(dout, cache):
    x_hat, gamma, std = cache
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = np.sum(dout * x_hat, axis=0)
    dx_hat = dout * gamma
    dx = (N * dx_hat - dx_hat.sum(axis=0) - x_hat * (dx_hat * x_hat).sum(axis=0)) / (N * std)
    return dx, dgamma, dbeta


def bn_steps_forward(x, gamma, beta):
    mu = np.mean(x, axis=0)
    xmu = x - mu
    var = np.mean(xmu ** 2, axis=0)
    ivar = 1.0 / np.sqrt(var + 1e-5)
    return gamma * (xmu * ivar) + beta, (xmu, ivar, gamma)


def bn_steps_backward(dout, cache):
    xmu, ivar, gamma = cache
    N, D = dout.shape
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dvar = -0.5 * ivar ** 3 * divar
    dsq = np.ones((N, D)) * dvar / N
    dxmu2 = 2 * xmu * dsq
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    dx = dxmu1 + dxmu2 + np.ones((N, D)) * dmu / N
    return dx, np.sum(dout * xmu * ivar, axis=0), np.sum(dout, axis=0)


def ln_forward(x, gamma, beta):
    mean = x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    norm = (x - mean) * rstd
    return norm * gamma + beta, (norm, rstd, gamma)


def ln_backward(dout, cache):
    norm, rstd, gamma = cache
    dnorm = dout * gamma
    dx = rstd * (dnorm - dnorm.mean(-1, keepdims=True) - norm * (dnorm * norm).mean(-1, keepdims=True))
    return dx, (dout * norm).sum((0, 1)), dout.sum((0, 1))


def spatial_bn_forward(x, gamma, beta):
    N, C, H, W = x.shape
    mu, var = x.mean(axis=(0, 2, 3)), np.var(x, axis=(0, 2, 3))
    xhat = (x - mu.reshape(1, C, 1, 1)) / np.sqrt(var.reshape(1, C, 1, 1) + 1e-5)
    return gamma.reshape(1, C, 1, 1) * xhat + beta.reshape(1, C, 1, 1), (xhat, gamma, var)


def spatial_bn_backward(dout, cache):
    xhat, gamma, var = cache
    N, C, H, W = dout.shape
    m = N * H * W
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * xhat).sum(axis=(0, 2, 3))
    scale = (gamma / np.sqrt(var + 1e-5)).reshape(1, C, 1, 1)
    dx = scale * (dout - dbeta.reshape(1, C, 1, 1) / m - xhat * dgamma.reshape(1, C, 1, 1) / m)
    return dx, dgamma, dbeta


def group_norm_forward(x, gamma, beta):
    N, C, H, W = x.shape
    G = 2
    grouped = x.reshape(N * G, -1)
    xhat = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(grouped.var(1, keepdims=True) + 1e-5)
    xhat_img = xhat.reshape(N, C, H, W)
    return xhat_img * gamma + beta, (xhat, xhat_img, gamma, grouped.var(1, keepdims=True))


def group_norm_backward(dout, cache):
    xhat, xhat_img, gamma, var = cache
    dgamma = np.sum(dout * xhat_img, axis=(0, 2, 3), keepdims=True)
    dbeta = np.sum(dout, axis=(0, 2, 3), keepdims=True)
    d = (dout * gamma).reshape(xhat.shape)
    M = d.shape[1]
    dx = (d - d.sum(1, keepdims=True) / M - xhat * (d * xhat).sum(1, keepdims=True) / M) / np.sqrt(var + 1e-5)
    return dx.reshape(dout.shape), dgamma, dbeta


def standardize(x):
    s = x.std(axis=0, ddof=1)
    z = (x - x.mean(0)) / s
    return z, (z, s)


def standardize_backward(dy, cache):
    z, s = cache
    n = len(z)
    return (dy - dy.mean(axis=0) - z * (dy * z).sum(axis=0) / (n - 1)) / s


def l2norm_forward(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    y = x / length
    return y, (y, length)


def l2norm_backward(dy, cache):
    y, length = cache
    return (dy - y * np.sum(dy * y, axis=1, keepdims=True)) / length


def rms_norm(x, g):
    r = np.sqrt(np.mean(np.abs(x) ** 2, axis=-1, keepdims=True) + 1e-6)
    return g * x / r, (x, g, r)


def rms_norm_backward(dy, cache):
    x, g, r = cache
    n = x / r
    dn = dy * g
    dx = (dn - n * np.mean(dn * n, axis=-1, keepdims=True)) / r
    return dx, np.sum(dy * n, axis=0)


def weight_norm_forward(x, v, g):
    length = np.sqrt(np.sum(v * v, axis=0))
    w = g * v / length
    return x.dot(w), (x, v, g, length, w)


def weight_norm_backward(dout, cache):
    x, v, g, length, w = cache
    dw = x.T.dot(dout)
    dg = np.sum(dw * v, axis=0) / length
    dv = g / length * dw - g * dg / length ** 2 * v
    return dout.dot(w.T), dv, dg


def instance_norm(x):
    mean, std = x.mean((2, 3), keepdims=True), x.std((2, 3), keepdims=True)
    out = (x - mean) / (std + 1e-3)
    return out, (x - mean, std)


def instance_norm_backward(dout, cache):
    xc, std = cache
    size = xc.shape[2] * xc.shape[3]
    s = std + 1e-3
    dstd = -(dout * xc).sum((2, 3), keepdims=True) / s ** 2
    dxc = dout / s + dstd * xc / (size * std)
    return dxc - dxc.mean((2, 3), keepdims=True)


LAYERS = [
    Idiom("batch norm with bn_param", (batchnorm_forward, batchnorm_backward), normal(x=(5, 3), gamma=3, beta=3), {
        "no term of the mean": ("N * dx_hat - dx_hat.sum(axis=0) - x_hat", "N * dx_hat - x_hat"),
        "no term of the variance": (" - x_hat * (dx_hat * x_hat).sum(axis=0)", ""),
        "dgamma of x, not of x_hat": ("np.sum(dout * x_hat, axis=0)", "np.sum(dout * x_hat * std, axis=0)"),
    }, lambda f, b: (with_options(f, bn_param={"mode": "train"}), b)),
    Idiom("batch norm in steps", (bn_steps_forward, bn_steps_backward), normal(1, x=(4, 3), gamma=3, beta=3), {
        "no gradient of the mean": (" + np.ones((N, D)) * dmu / N", ""),
        "ivar squared": ("ivar ** 3", "ivar ** 2"),
        "the mean's gradient not divided by N": ("np.ones((N, D)) * dmu / N", "np.ones((N, D)) * dmu"),
    }),
    Idiom("layer norm", (ln_forward, ln_backward), normal(2, x=(2, 3, 5), gamma=5, beta=5), {
        "no centring": (" - dnorm.mean(-1, keepdims=True)", ""),
        "gain's gradient over the wrong axes": ("(dout * norm).sum((0, 1))", "(dout * norm).mean((0, 1))"),
        "without the gain": ("dnorm = dout * gamma", "dnorm = dout * 1"),
    }),
    Idiom("batch norm of maps, channels first", (spatial_bn_forward, spatial_bn_backward),
          normal(3, x=(2, 3, 2, 2), gamma=3, beta=3), {
        "divided by N alone": ("m = N * H * W", "m = N"),
        "no term of the variance": (" - xhat * dgamma.reshape(1, C, 1, 1) / m", ""),
        "the eps outside of the root": ("gamma / np.sqrt(var + 1e-5)", "gamma / (np.sqrt(var) + 1e-5)"),
    }),
    Idiom("group norm", (group_norm_forward, group_norm_backward),
          normal(4, x=(2, 4, 2, 2), gamma=(1, 4, 1, 1), beta=(1, 4, 1, 1)), {
        "groups of the wrong size": ("M = d.shape[1]", "M = d.shape[0]"),
        "the sign of the radial term": ("/ M - xhat * (d", "/ M + xhat * (d"),
        "the sum of the batch lost": ("np.sum(dout, axis=(0, 2, 3), keepdims=True)",
                                      "np.sum(dout[:1], axis=(0, 2, 3), keepdims=True)"),
    }),
    Idiom("standardized columns, ddof=1", (standardize, standardize_backward), normal(5, x=(4, 3)), {
        "n for n - 1": ("/ (n - 1)", "/ n"),
        "the mean over the wrong axis": ("dy.mean(axis=0)", "dy.mean(axis=1, keepdims=True)"),
        "not divided by s": ("/ (n - 1)) / s", "/ (n - 1))"),
    }),
    Idiom("rows of length 1, np.linalg.norm", (l2norm_forward, l2norm_backward), normal(6, x=(3, 4)), {
        "no radial term": ("(dy - y * np.sum(dy * y, axis=1, keepdims=True))", "dy"),
        "twice the length": ("keepdims=True)) / length", "keepdims=True)) / length ** 2"),
        "the sum over everything": ("np.sum(dy * y, axis=1, keepdims=True)", "np.sum(dy * y)"),
    }),
    Idiom("root mean square norm, np.abs", (rms_norm, rms_norm_backward), normal(7, x=(3, 5), g=5), {
        "a sum for a mean": ("np.mean(dn * n", "np.sum(dn * n"),
        "the gain twice": ("dx = (dn", "dx = g * (dn"),
        "dg not summed over the batch": ("np.sum(dy * n, axis=0)", "(dy * n)[0]"),
    }),
    Idiom("weight normalization", (weight_norm_forward, weight_norm_backward), normal(8, x=(3, 4), v=(4, 2), g=2), {
        "no projection": (" - g * dg / length ** 2 * v", ""),
        "length for its square": ("dg / length ** 2", "dg / length"),
        "v for w in dx": ("dout.dot(w.T)", "dout.dot(v.T)"),
    }),
    Idiom("instance norm, std + eps", (instance_norm, instance_norm_backward), normal(9, x=(2, 2, 3, 2)), {
        "the eps in both places": ("/ (size * std)", "/ (size * s)"),
        "the sign of dstd": ("dstd = -(dout", "dstd = (dout"),
        "not centred": ("return dxc - dxc.mean((2, 3), keepdims=True)", "return dxc"),
    }, without=("rows of zeros",)),       # a standard deviation of 0 has none
]
