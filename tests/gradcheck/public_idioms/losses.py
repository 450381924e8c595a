"""Losses: a number y, integer labels, loss and gradient from one function, a class with `backward(dout=1)`."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck import from_loss, from_object, from_vjp

LABELS = np.array([0, 2, 1, 2])


def softmax_loss(x, y):
    N = x.shape[0]
    shifted = x - np.max(x, axis=1, keepdims=True)
    log_probs = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    loss = -np.sum(log_probs[np.arange(N), y]) / N
    dx = np.exp(log_probs)
    dx[np.arange(N), y] -= 1
    dx /= N
    return loss, dx


def svm_loss(x, y):
    N = len(y)
    margins = np.maximum(0, x - x[range(N), y][:, None] + 1.0)
    margins[range(N), y] = 0
    loss = margins.sum() / N
    dx = np.zeros_like(x)
    dx[margins > 0] = 1
    dx[range(N), y] -= np.sum(margins > 0, axis=1)
    return loss, dx / N


def linear_svm(W, X, y):
    reg, loss, dW = 0.1, 0.0, np.zeros_like(W)
    for i in range(X.shape[0]):
        scores = X[i].dot(W)
        for j in range(W.shape[1]):
            margin = scores[j] - scores[y[i]] + 1
            if j != y[i] and margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    return loss / len(y) + reg * np.sum(W * W), dW / len(y) + 2 * reg * W


def two_layer_net(X, W1, b1, W2, b2, y):
    N = len(X)
    hidden = np.maximum(X @ W1 + b1, 0)
    scores = hidden @ W2 + b2
    probs = np.exp(scores - scores.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    loss = -np.log(probs[np.arange(N), y]).mean()
    grads = {}
    dscores = probs.copy()
    dscores[np.arange(N), y] -= 1
    dscores /= N
    grads["W2"] = hidden.T @ dscores
    grads["b2"] = dscores.sum(axis=0)
    dhidden = dscores @ W2.T
    dhidden[hidden == 0] = 0
    grads["W1"] = X.T @ dhidden
    grads["b1"] = dhidden.sum(axis=0)
    grads["X"] = dhidden @ W1.T
    return loss, grads


class SoftmaxWithLoss:
    def __init__(self):
        self.loss = self.y = self.t = None

    def forward(self, x, t):
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        self.t, self.y = t, e / e.sum(axis=1, keepdims=True)
        self.loss = -np.mean(np.sum(t * np.log(self.y + 1e-300), axis=1))
        return self.loss

    def backward(self, dout=1):
        return dout * (self.y - self.t) / len(self.t)


class MeanSquaredError:
    def forward(self, prediction, target):
        self.difference = prediction - target
        return float(np.mean(self.difference ** 2))

    def backward(self):
        dprediction = 2 * self.difference / self.difference.size
        return dprediction, -dprediction


def bce(p, t):
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


def bce_grad(p, t, dloss):
    assert isinstance(dloss, np.ndarray) and dloss.shape == ()
    return dloss * (p - t) / (p * (1 - p)) / p.size


def huber_forward(x, t):
    r = x - t
    small = np.abs(r) <= 1
    return np.where(small, 0.5 * r ** 2, np.abs(r) - 0.5).sum(), (r, small)


def huber_backward(dout, cache):
    r, small = cache
    dx = dout * np.where(small, r, np.sign(r))
    return dx, -dx


def l1_loss(x):
    return np.abs(x).sum() / len(x), np.sign(x) / len(x)


def softmax_forward(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    s = e / e.sum(axis=-1, keepdims=True)
    return s, s


def softmax_backward(ds, s):
    dx = np.zeros_like(s)
    for i in range(len(s)):
        jacobian = np.diag(s[i]) - np.outer(s[i], s[i])
        dx[i] = jacobian @ ds[i]
    return dx


def logsumexp_forward(x):
    m = np.max(x)
    total = np.exp(x - m).sum()
    return m + np.log(total), (x, m, total)


def logsumexp_backward(dout, cache):
    x, m, total = cache
    return dout * np.exp(x - m) / total


LAYERS = [
    Idiom("softmax loss and its gradient at once", (softmax_loss,), normal(x=(4, 3)) | {"y": LABELS}, {
        "not divided by N": ("dx /= N", "pass"),
        "nothing subtracted": ("dx[np.arange(N), y] -= 1", "pass"),
        "the labels' column": ("dx[np.arange(N), y] -= 1", "dx[:, y] -= 1"),
    }, from_loss),
    Idiom("hinge loss and its gradient at once", (svm_loss,), normal(1, x=(4, 3)) | {"y": LABELS}, {
        "nothing for the right class": ("dx[range(N), y] -= np.sum(margins > 0, axis=1)", "pass"),
        "the margin for 1": ("dx[margins > 0] = 1", "dx = margins.copy()"),
        "not divided by N": ("loss, dx / N", "loss, dx"),
    }, from_loss),
    Idiom("hinge loss of a linear classifier, loops", (linear_svm,), normal(2, W=(3, 3), X=(4, 3)) | {"y": LABELS}, {
        "assigned where it is added": ("dW[:, j] += X[i]", "dW[:, j] = X[i]"),
        "the penalty without its 2": ("2 * reg * W", "reg * W"),
        "the penalty forgotten": (" + 2 * reg * W", ""),
    }, from_loss, ("X",)),
    Idiom("a network's loss with a dictionary of gradients", (two_layer_net,),
          normal(3, X=(4, 3), W1=(3, 4), b1=4, W2=(4, 3), b2=3) | {"y": LABELS}, {
        "the ReLU forgotten": ("dhidden[hidden == 0] = 0", "pass"),
        "a bias of means": ("dscores.sum(axis=0)", "dscores.mean(axis=0)"),
        "divided by the classes": ("dscores /= N", "dscores /= scores.shape[1]"),
    }, from_loss),
    Idiom("class SoftmaxWithLoss", (SoftmaxWithLoss,), normal(4, x=(4, 3)) | {"t": np.eye(3)[LABELS]}, {
        "not divided by the batch": (" / len(self.t)", ""),
        "the sign": ("(self.y - self.t)", "(self.t - self.y)"),
        "of a square": ("(self.y - self.t)", "self.y * (self.y - self.t)"),
    }, from_object, ("t",), ("t",)),
    Idiom("class MeanSquaredError, backward()", (MeanSquaredError,), normal(5, prediction=(4, 3), target=(4, 3)), {
        "no 2": ("2 * self.difference /", "self.difference /"),
        "divided by the batch alone": ("/ self.difference.size", "/ len(self.difference)"),
        "the target's sign": (", -dprediction", ", dprediction"),
    }, from_object),
    Idiom("binary cross-entropy", (bce, bce_grad),
          {"p": np.random.default_rng(6).uniform(0.2, 0.8, (4, 3)), "t": (np.arange(12) % 2).reshape(4, 3)}, {
        "of the logits": (" / (p * (1 - p))", ""),
        "a sum": (" / p.size", ""),
        "the other sign": ("(p - t)", "(t - p)"),
    }, from_vjp, (), ("p",)),
    Idiom("Huber loss", (huber_forward, huber_backward), normal(7, x=(3, 4), t=(3, 4)), {
        "the quadratic part everywhere": ("np.where(small, r, np.sign(r))", "r"),
        "no gradient outside": ("np.where(small, r, np.sign(r))", "np.where(small, r, 0)"),
        "the target's sign": ("return dx, -dx", "return dx, dx"),
    }),
    Idiom("L1 loss at once", (l1_loss,), normal(8, x=(3, 4)), {
        "the sign forgotten": ("np.sign(x) / len(x)", "np.ones_like(x) / len(x)"),
        "another divisor": ("np.sign(x) / len(x)", "np.sign(x) / x.size"),
        "x for its sign": ("np.sign(x) / len(x)", "x / len(x)"),
    }, from_loss),
    Idiom("softmax, a Jacobian for each row", (softmax_forward, softmax_backward), normal(9, x=(3, 4)), {
        "its diagonal alone": (" - np.outer(s[i], s[i])", ""),
        "the last row left out": ("range(len(s))", "range(len(s) - 1)"),
        "a plus": ("np.diag(s[i]) - np.outer", "np.diag(s[i]) + np.outer"),
    }),
    Idiom("log-sum-exp to one number", (logsumexp_forward, logsumexp_backward), normal(10, x=(3, 4)), {
        "not normalized": (" / total", ""),
        "without dout": ("dout * np.exp", "np.exp"),
        "along rows": ("np.exp(x - m) / total", "np.exp(x - m) / np.exp(x - m).sum(axis=1, keepdims=True)"),
    }),
]
