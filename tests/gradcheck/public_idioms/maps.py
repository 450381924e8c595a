"""Convolutions, pools and resizing of maps: im2col, loops over places, strides, padding, channels first and last."""

import numpy as np
from public_idioms.form import Idiom, normal


def conv_loop_forward(x, w, b):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((N, F, H + 3 - HH, W + 3 - WW), dtype=x.dtype)
    for n in range(N):
        for f in range(F):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    out[n, f, i, j] = np.sum(padded[n, :, i:i + HH, j:j + WW] * w[f]) + b[f]
    return out, (x.shape, padded, w)


def conv_loop_backward(dout, cache):
    shape, padded, w = cache
    HH, WW = w.shape[2:]
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w), dout.sum(axis=(0, 2, 3))
    for n, f, i, j in np.ndindex(dout.shape):
        dw[f] += padded[n, :, i:i + HH, j:j + WW] * dout[n, f, i, j]
        dpadded[n, :, i:i + HH, j:j + WW] += w[f] * dout[n, f, i, j]
    return dpadded[:, :, 1:-1, 1:-1], dw, db


def im2col(x, kh, kw):
    N, C, H, W = x.shape
    oh, ow = H - kh + 1, W - kw + 1
    col = np.zeros((N, C, kh, kw, oh, ow), dtype=x.dtype)
    for a in range(kh):
        for b in range(kw):
            col[:, :, a, b] = x[:, :, a:a + oh, b:b + ow]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * oh * ow, -1)


def conv_col_forward(x, w):
    N, C, H, W = x.shape
    F, _, kh, kw = w.shape
    col = im2col(x, kh, kw)
    out = col @ w.reshape(F, -1).T
    return out.reshape(N, H - kh + 1, W - kw + 1, F).transpose(0, 3, 1, 2), (x.shape, col, w)


def conv_col_backward(dout, cache):
    (N, C, H, W), col, w = cache
    F, _, kh, kw = w.shape
    oh, ow = dout.shape[2:]
    flat = dout.transpose(0, 2, 3, 1).reshape(-1, F)
    dw = (flat.T @ col).reshape(w.shape)
    dcol = (flat @ w.reshape(F, -1)).reshape(N, oh, ow, C, kh, kw).transpose(0, 3, 4, 5, 1, 2)
    dx = np.zeros((N, C, H, W), dtype=dout.dtype)
    for a in range(kh):
        for b in range(kw):
            dx[:, :, a:a + oh, b:b + ow] += dcol[:, :, a, b]
    return dx, dw


def max_pool_loop_forward(x):
    N, C, H, W = x.shape
    out = np.zeros((N, C, H // 2, W // 2))
    for i in range(H // 2):
        for j in range(W // 2):
            out[:, :, i, j] = np.max(x[:, :, 2 * i:2 * i + 2, 2 * j:2 * j + 2], axis=(2, 3))
    return out, x


def max_pool_loop_backward(dout, x):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, 2 * i:2 * i + 2, 2 * j:2 * j + 2]
        k, m = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, 2 * i + k, 2 * j + m] += dout[n, c, i, j]
    return dx


def max_pool_overlap(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1)
    return windows.max(axis=-1), (x.shape, windows.argmax(axis=-1))


def max_pool_overlap_backward(dy, cache):
    shape, winner = cache
    dx = np.zeros(shape)
    rows = np.arange(shape[0])[:, None]
    np.add.at(dx, (rows, winner + np.arange(winner.shape[1])), dy)
    return dx


def max_pool_fast_forward(x):
    N, C, H, W = x.shape
    tiles = x.reshape(N, C, H // 2, 2, W // 2, 2)
    out = tiles.max(axis=3).max(axis=4)
    return out, (tiles, out)


def max_pool_fast_backward(dout, cache):
    tiles, out = cache
    mask = tiles == out[:, :, :, None, :, None]
    dtiles = np.where(mask, dout[:, :, :, None, :, None], 0)
    dtiles /= mask.sum(axis=(3, 5), keepdims=True)
    N, C, h, _, w, _ = tiles.shape
    return dtiles.reshape(N, C, 2 * h, 2 * w)


def avg_pool_forward(x):
    N, H, W, C = x.shape
    return x.reshape(N, H // 2, 2, W // 2, 2, C).mean(axis=(2, 4)), None


def avg_pool_backward(dout, cache):
    return dout.repeat(2, axis=1).repeat(2, axis=2) / 4


def depthwise_forward(x, w):
    H, W = x.shape[1:3]
    out = 0
    for a in range(2):
        for b in range(2):
            out = out + x[:, a:H - 1 + a, b:W - 1 + b] * w[a, b]
    return out, (x, w)


def depthwise_backward(dout, cache):
    x, w = cache
    H, W = x.shape[1:3]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for a in range(2):
        for b in range(2):
            dx[:, a:H - 1 + a, b:W - 1 + b] += dout * w[a, b]
            dw[a, b] = np.sum(dout * x[:, a:H - 1 + a, b:W - 1 + b], axis=(0, 1, 2))
    return dx, dw


def transposed_conv1d(x, w):
    N, T, C = x.shape
    K, _, F = w.shape
    out = np.zeros((N, 2 * (T - 1) + K, F), dtype=x.dtype)
    for t in range(T):
        out[:, 2 * t:2 * t + K] += np.einsum("nc,kcf->nkf", x[:, t], w)
    return out, (x, w)


def transposed_conv1d_backward(dout, cache):
    x, w = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for t in range(x.shape[1]):
        part = dout[:, 2 * t:2 * t + len(w)]
        dx[:, t] = np.einsum("nkf,kcf->nc", part, w)
        dw += np.einsum("nkf,nc->kcf", part, x[:, t])
    return dx, dw


def global_max_forward(x):
    flat = x.reshape(*x.shape[:2], -1)
    return np.amax(flat, axis=2), (x.shape, flat.argmax(2))


def global_max_backward(dout, cache):
    shape, winner = cache
    dx = np.zeros((shape[0], shape[1], shape[2] * shape[3]))
    np.put_along_axis(dx, winner[..., None], dout[..., None], axis=2)
    return dx.reshape(shape)


LAYERS = [
    Idiom("convolution in loops, padded", (conv_loop_forward, conv_loop_backward),
          normal(x=(1, 2, 3, 4), w=(2, 2, 3, 3), b=2), {
        "assigned where it is added": ("dpadded[n, :, i:i + HH, j:j + WW] += w[f]", "dpadded[n, :, i:i + HH, j:j + WW] = w[f]"),
        "the last row left out": ("np.ndindex(dout.shape)", "np.ndindex(*dout.shape[:2], dout.shape[2] - 1, dout.shape[3])"),
        "the padding cut off at one side": ("dpadded[:, :, 1:-1, 1:-1]", "dpadded[:, :, :-2, 1:-1]"),
    }),
    Idiom("convolution by im2col", (conv_col_forward, conv_col_backward), normal(1, x=(2, 2, 4, 3), w=(3, 2, 2, 2)), {
        "channels last not moved": ("dout.transpose(0, 2, 3, 1).reshape(-1, F)", "dout.reshape(-1, F)"),
        "overlaps overwritten": ("dx[:, :, a:a + oh, b:b + ow] += dcol", "dx[:, :, a:a + oh, b:b + ow] = dcol"),
        "kernel rows and columns exchanged": (".transpose(0, 3, 4, 5, 1, 2)", ".transpose(0, 3, 5, 4, 1, 2)"),
    }),
    Idiom("max-pool in loops", (max_pool_loop_forward, max_pool_loop_backward), normal(2, x=(2, 2, 4, 4)), {
        "the smallest": ("window.argmax()", "window.argmin()"),
        "the next window": ("dx[n, c, 2 * i + k", "dx[n, c, 2 * i + 1 - k"),
        "to the whole window": ("dx[n, c, 2 * i + k, 2 * j + m] +=", "dx[n, c, 2 * i:2 * i + 2, 2 * j:2 * j + 2] +="),
    }),
    Idiom("max-pool with overlap", (max_pool_overlap, max_pool_overlap_backward), normal(3, x=(3, 6)), {
        "assigned where it is added": ("np.add.at(dx, (rows, winner + np.arange(winner.shape[1])), dy)",
                                       "dx[rows, winner + np.arange(winner.shape[1])] = dy"),
        "counted once": ("np.add.at(dx, (rows, winner + np.arange(winner.shape[1])), dy)",
                         "dx[rows, winner + np.arange(winner.shape[1])] += dy"),
        "the window's place left out": ("winner + np.arange(winner.shape[1])", "winner"),
    }),
    Idiom("max-pool by reshape", (max_pool_fast_forward, max_pool_fast_backward), normal(4, x=(2, 2, 4, 4)), {
        "dx not moved back": ("dtiles.reshape(N, C, 2 * h, 2 * w)", "dtiles.transpose(0, 1, 2, 4, 3, 5).reshape(N, C, 2 * h, 2 * w)"),
        "divided by the window": ("mask.sum(axis=(3, 5), keepdims=True)", "4"),
        "no mask": ("np.where(mask, dout", "np.where(mask | True, dout"),
    }),
    Idiom("average pool, channels last", (avg_pool_forward, avg_pool_backward), normal(5, x=(2, 4, 2, 3)), {
        "not divided": (" / 4", ""),
        "tiled, not repeated": ("dout.repeat(2, axis=1)", "np.tile(dout, (1, 2, 1, 1))"),
        "divided by 2": (" / 4", " / 2"),
    }),
    Idiom("depthwise convolution", (depthwise_forward, depthwise_backward), normal(6, x=(2, 3, 4, 2), w=(2, 2, 2)), {
        "flipped": ("+= dout * w[a, b]", "+= dout * w[1 - a, 1 - b]"),
        "the batch not summed": ("axis=(0, 1, 2))", "axis=(1, 2))[0]"),
        "overlaps overwritten": ("+= dout * w[a, b]", "= dout * w[a, b]"),
    }),
    Idiom("transposed convolution in time", (transposed_conv1d, transposed_conv1d_backward), normal(7, x=(2, 3, 2), w=(3, 2, 2)), {
        "the last step alone": ("dw += np.einsum", "dw = np.einsum"),
        "stride 1": ("part = dout[:, 2 * t:2 * t + len(w)]", "part = dout[:, t:t + len(w)]"),
        "channels exchanged": ("\"nkf,kcf->nc\"", "\"nkf,kfc->nc\""),
    }),
    Idiom("global max-pool", (global_max_forward, global_max_backward), normal(8, x=(2, 3, 2, 2)), {
        "to all": ("np.put_along_axis(dx, winner[..., None], dout[..., None], axis=2)", "dx += dout[..., None]"),
        "a place too far": ("winner[..., None]", "(winner[..., None] + 1) % dx.shape[2]"),
        "an average": ("dout[..., None], axis=2)", "dout[..., None] / dx.shape[2], axis=2)"),
    }),
]
