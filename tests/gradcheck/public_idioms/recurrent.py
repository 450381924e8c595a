"""Cells and nets through time, embeddings with repeated ids: lists of caches, several outputs, `np.add.at`, dW and +=."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck import from_object, from_outputs


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x.dot(Wx) + prev_h.dot(Wh) + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    dz = dnext_h * (1 - next_h ** 2)
    return dz.dot(Wx.T), dz.dot(Wh.T), x.T.dot(dz), prev_h.T.dot(dz), dz.sum(axis=0)


def rnn_forward(x, h0, Wx, Wh, b):
    N, T, D = x.shape
    H = h0.shape[1]
    h, cache, prev = np.zeros((N, T, H)), [], h0
    for t in range(T):
        prev, step = rnn_step_forward(x[:, t], prev, Wx, Wh, b)
        h[:, t, :] = prev
        cache.append(step)
    return h, (cache, D)


def rnn_backward(dh, cache):
    steps, D = cache
    N, T, H = dh.shape
    dx, dprev = np.zeros((N, T, D)), np.zeros((N, H))
    dWx, dWh, db = np.zeros((D, H)), np.zeros((H, H)), np.zeros(H)
    for t in reversed(range(T)):
        dx[:, t], dprev, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t] + dprev, steps[t])
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dx, dprev, dWx, dWh, db


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    H = prev_h.shape[1]
    a = x @ Wx + prev_h @ Wh + b
    i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H:2 * H]), sigmoid(a[:, 2 * H:3 * H])
    g = np.tanh(a[:, 3 * H:])
    next_c = f * prev_c + i * g
    tanh_c = np.tanh(next_c)
    return o * tanh_c, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c = cache
    dc = dnext_c + dnext_h * o * (1 - tanh_c ** 2)
    da = np.hstack([dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * tanh_c * o * (1 - o), dc * i * (1 - g ** 2)])
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(0)


def lstm_forward(x, h0, Wx, Wh, b):
    N, T, D = x.shape
    h, c, hs, cache = h0, np.zeros_like(h0), np.empty((N, T, h0.shape[1])), []
    for t in range(T):
        h, c, step = lstm_step_forward(x[:, t], h, c, Wx, Wh, b)
        hs[:, t] = h
        cache += [step]
    return hs, cache


def lstm_backward(dhs, cache):
    N, T, H = dhs.shape
    Wx, Wh = cache[0][3:5]
    dh, dc = np.zeros((N, H)), np.zeros((N, H))
    dx, dWx, dWh, db = np.zeros((N, T, len(Wx))), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(4 * H)
    for t in range(T - 1, -1, -1):
        dx[:, t], dh, dc, dWx_t, dWh_t, db_t = lstm_step_backward(dhs[:, t] + dh, dc, cache[t])
        dWx, dWh, db = dWx + dWx_t, dWh + dWh_t, db + db_t
    return dx, dh, dWx, dWh, db


def gru_cell(x, h, W, U):
    az, ar, an = np.split(x @ W, 3, axis=1)
    uz, ur, un = np.split(U, 3, axis=1)
    z, r = sigmoid(az + h @ uz), sigmoid(ar + h @ ur)
    n = np.tanh(an + (r * h) @ un)
    return (1 - z) * n + z * h, (x, h, W, U, z, r, n)


def gru_cell_backward(dout, cache):
    x, h, W, U, z, r, n = cache
    uz, ur, un = np.split(U, 3, axis=1)
    dan = dout * (1 - z) * (1 - n * n)
    drh = dan @ un.T
    daz = dout * (h - n) * z * (1 - z)
    dar = drh * h * r * (1 - r)
    dh = dout * z + drh * r + daz @ uz.T + dar @ ur.T
    da = np.concatenate([daz, dar, dan], axis=1)
    dU = np.concatenate([h.T @ daz, h.T @ dar, (r * h).T @ dan], axis=1)
    return da @ W.T, dh, x.T @ da, dU


class TimeRNN:
    def __init__(self, Wx, Wh):
        self.params, self.grads = [Wx, Wh], [np.zeros_like(Wx), np.zeros_like(Wh)]
        self.hs = None

    def forward(self, xs):
        Wx, Wh = self.params
        self.xs, self.hs = xs, [np.zeros((xs.shape[1], Wh.shape[0]))]
        for x in xs:
            self.hs.append(np.tanh(x @ Wx + self.hs[-1] @ Wh))
        return np.array(self.hs[1:])

    def backward(self, dhs):
        Wx, Wh = self.params
        dWx, dWh = self.grads
        dxs, dh = np.empty_like(self.xs), 0
        for t in reversed(range(len(self.xs))):
            dh = dh + dhs[t]
            dz = dh * (1 - self.hs[t + 1] ** 2)
            dWx += self.xs[t].T @ dz
            dWh += self.hs[t].T @ dz
            dxs[t] = dz @ Wx.T
            dh = dz @ Wh.T
        return dxs


def embedding_forward(ids, W):
    return W[ids], (ids, W)


def embedding_backward(dout, cache):
    ids, W = cache
    dW = np.zeros_like(W)
    np.add.at(dW, ids, dout)
    return dW


class Embedding:
    def __init__(self, W):
        self.W = W

    def forward(self, ids):
        self.ids = ids
        return self.W[ids].sum(axis=1)

    def backward(self, dout):
        self.dW = np.zeros(self.W.shape)
        for n, row in enumerate(self.ids):
            for i in row:
                self.dW[i] += dout[n]


def temporal_affine_forward(x, w, b):
    N, T, D = x.shape
    out = x.reshape(N * T, D).dot(w).reshape(N, T, -1) + b
    return out, (x, w, b)


def temporal_affine_backward(dout, cache):
    x, w, b = cache
    N, T, D = x.shape
    flat = dout.reshape(N * T, -1)
    return flat.dot(w.T).reshape(N, T, D), flat.T.dot(x.reshape(N * T, D)).T, dout.sum(axis=(0, 1))


RNN = normal(x=(2, 3, 2), h0=(2, 2), Wx=(2, 2), Wh=(2, 2), b=2)
IDS = np.array([[0, 2, 2], [1, 2, 0]])

LAYERS = [
    Idiom("RNN step", (rnn_step_forward, rnn_step_backward), normal(1, x=(3, 2), prev_h=(3, 4), Wx=(2, 4), Wh=(4, 4), b=4), {
        "the derivative of a sigmoid": ("(1 - next_h ** 2)", "next_h * (1 - next_h)"),
        "Wh not transposed": ("dz.dot(Wh.T)", "dz.dot(Wh)"),
        "the bias not summed": ("dz.sum(axis=0)", "dz[0]"),
    }),
    Idiom("RNN through time", (rnn_forward, rnn_backward), RNN, {
        "nothing flows back in time": ("dh[:, t] + dprev", "dh[:, t]"),
        "assigned where it is added": ("dWh += dWh_t", "dWh = dWh_t"),
        "the first step left out": ("reversed(range(T))", "reversed(range(1, T))"),
    }),
    Idiom("LSTM step, two outputs", (lstm_step_forward, lstm_step_backward),
          normal(2, x=(2, 3), prev_h=(2, 2), prev_c=(2, 2), Wx=(3, 8), Wh=(2, 8), b=8), {
        "the cell's own gradient lost": ("dc = dnext_c + dnext_h", "dc = dnext_h"),
        "the gates in another order": ("[dc * g * i * (1 - i), dc * prev_c * f * (1 - f),",
                                       "[dc * prev_c * f * (1 - f), dc * g * i * (1 - i),"),
        "the forget gate left out": ("da @ Wh.T, dc * f,", "da @ Wh.T, dc,"),
    }, from_outputs),
    Idiom("LSTM through time", (lstm_forward, lstm_backward), normal(3, x=(2, 3, 2), h0=(2, 2), Wx=(2, 8), Wh=(2, 8), b=8), {
        "h does not flow back": ("dhs[:, t] + dh, dc", "dhs[:, t], dc"),
        "c does not flow back": ("dhs[:, t] + dh, dc", "dhs[:, t] + dh, 0 * dc"),
        "the bias of the first step alone": ("db + db_t", "db_t"),
    }),
    Idiom("GRU cell", (gru_cell, gru_cell_backward), normal(4, x=(2, 3), h=(2, 2), W=(3, 6), U=(2, 6)), {
        "without the reset gate": ("(r * h).T @ dan", "h.T @ dan"),
        "the path through z alone": ("dout * z + drh * r + daz", "dout * z + daz"),
        "the sign of z": ("(h - n)", "(n - h)"),
    }),
    Idiom("class TimeRNN, lists params and grads", (TimeRNN,), normal(5, xs=(3, 2, 2), Wx=(2, 3), Wh=(3, 3)), {
        "nothing flows back in time": ("dh = dh + dhs[t]", "dh = dhs[t]"),
        "not added into the list": ("dWx += self.xs", "dWx[...] = self.xs"),
        "of the next state": ("self.hs[t].T @ dz", "self.hs[t + 1].T @ dz"),
    }, lambda C: from_object(C, "Wx", "Wh")),
    Idiom("embedding, np.add.at", (embedding_forward, embedding_backward), {"ids": IDS} | normal(6, W=(4, 3)), {
        "repeated ids are overwritten": ("np.add.at(dW, ids, dout)", "dW[ids] = dout"),
        "repeated ids count once": ("np.add.at(dW, ids, dout)", "dW[ids] += dout"),
        "averaged": ("np.add.at(dW, ids, dout)", "np.add.at(dW, ids, dout / ids.size)"),
    }),
    Idiom("class Embedding, a bag of ids", (Embedding,), {"ids": IDS} | normal(7, W=(4, 3)), {
        "assigned where it is added": ("self.dW[i] += dout[n]", "self.dW[i] = dout[n]"),
        "each id once": ("for i in row:", "for i in set(row.tolist()):"),
        "the first example's": ("+= dout[n]", "+= dout[0]"),
    }, lambda C: from_object(C, "W")),
    Idiom("affine at each step", (temporal_affine_forward, temporal_affine_backward), normal(8, x=(2, 3, 4), w=(4, 2), b=2), {
        "the bias summed over the batch, averaged over time": ("dout.sum(axis=(0, 1))", "dout.sum(axis=0).mean(axis=0)"),
        "reshaped, not transposed": (".dot(x.reshape(N * T, D)).T", ".dot(x.reshape(N * T, D)).reshape(w.shape)"),
        "time and batch exchanged": ("flat.dot(w.T).reshape(N, T, D)",
                                     "flat.dot(w.T).reshape(T, N, D).transpose(1, 0, 2)"),
    }),
]
