"""Classes with forward and backward, caches in self, gradients in attributes, dictionaries and lists."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck import from_object


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
        self.x = self.dW = self.db = None

    def forward(self, x):
        self.original = x.shape
        self.x = x.reshape(x.shape[0], -1)
        return np.dot(self.x, self.W) + self.b

    def backward(self, dout):
        dx = np.dot(dout, self.W.T)
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return dx.reshape(*self.original)


class Dense:
    def __init__(self, n_in, n_out):
        rng = np.random.default_rng()
        self.params = {"W": 0.1 * rng.standard_normal((n_in, n_out)), "b": np.zeros(n_out)}
        self.grads = {}

    def __call__(self, x):
        self.cache = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, grad):
        self.grads["W"] = self.cache.T @ grad
        self.grads["b"] = grad.sum(axis=0)
        return grad @ self.params["W"].T


class Relu:
    def __init__(self):
        self.mask = None

    def forward(self, x):
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout):
        dout = dout.copy()
        dout[self.mask] = 0
        return dout


class Tanh:
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout):
        return dout * (1.0 - self.out ** 2)


class MatMul:
    def __init__(self, W):
        self.params, self.grads, self.x = [W], [np.zeros_like(W)], None

    def forward(self, x):
        self.x = x
        return x.dot(self.params[0])

    def backward(self, dout):
        W, = self.params
        self.grads[0][...] = self.x.T.dot(dout)
        return dout.dot(W.T)


class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean = self.running_var = None

    def forward(self, x, train_flg=True):
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        mu = x.mean(axis=0)
        self.xc = x - mu
        var = np.mean(self.xc ** 2, axis=0)
        self.std = np.sqrt(var + 1e-7)
        self.xn = self.xc / self.std
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        batch = len(dout)
        self.dbeta = dout.sum(axis=0)
        self.dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum(dxn * self.xc / self.std ** 2, axis=0)
        dxc += self.xc * 0.5 * dstd / self.std * 2 / batch
        return dxc - np.sum(dxc, axis=0) / batch


class Mlp:
    def __init__(self, W1, W2):
        self.layers = [MatMul(W1), Tanh(), MatMul(W2)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout

    def dW1(self):
        return self.layers[0].grads[0]

    def dW2(self):
        return self.layers[2].grads[0]


class Residual:
    def __init__(self, size):
        self.weight = np.eye(size)

    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.weight)
        return x + self.h

    def backward(self, grad_output):
        da = grad_output * (1 - self.h * self.h)
        self.weight_grad = self.x.T @ da
        return grad_output + da @ self.weight.T


class Convolution1D:
    def __init__(self, kernel):
        self.kernel = kernel

    def forward(self, x):
        self.x, size = x, len(self.kernel)
        return np.array([[np.dot(row[i:i + size], self.kernel) for i in range(len(row) - size + 1)] for row in x])

    def backward(self, dy):
        self.dkernel, dx = np.zeros(len(self.kernel)), np.zeros(self.x.shape)
        for n in range(dy.shape[0]):
            for i in range(dy.shape[1]):
                self.dkernel += dy[n, i] * self.x[n, i:i + len(self.kernel)]
                dx[n, i:i + len(self.kernel)] += dy[n, i] * self.kernel
        return dx


class Bilinear:
    def __init__(self, M):
        self.M = M

    def forward(self, a, b):
        self.a, self.b = a, b
        return np.einsum("ni,ij,nj->n", a, self.M, b)

    def backward(self, dy):
        self.dM = np.einsum("n,ni,nj->ij", dy, self.a, self.b)
        return dy[:, None] * (self.b @ self.M.T), dy[:, None] * (self.a @ self.M)


LAYERS = [
    Idiom("class Affine, images flattened", (Affine,), normal(x=(3, 2, 2), W=(4, 3), b=3), {
        "the bias averaged": ("np.sum(dout, axis=0)", "np.mean(dout, axis=0)"),
        "dW forgotten": ("self.dW = np.dot(self.x.T, dout)", "self.dW = np.zeros_like(self.W)"),
        "the shape not restored": ("return dx.reshape(*self.original)", "return dx"),
    }, lambda C: from_object(C, "W", "b")),
    Idiom("class Dense, dictionaries params and grads", (Dense,), normal(1, x=(4, 3), W=(3, 3), b=3), {
        "W not transposed": ("grad @ self.params[\"W\"].T", "grad @ self.params[\"W\"]"),
        "dW transposed": ("self.cache.T @ grad", "(self.cache.T @ grad).T"),
        "averaged over the batch": ("self.cache.T @ grad", "self.cache.T @ grad / len(grad)"),
    }, lambda C: from_object(lambda: C(3, 3), "W", "b")),
    Idiom("class Relu, self.mask", (Relu,), normal(2, x=(3, 4)), {
        "writes into dout": ("dout = dout.copy()", "pass"),
        "the mask of dout": ("dout[self.mask] = 0", "dout[dout <= 0] = 0"),
        "no mask": ("dout[self.mask] = 0", "pass"),
    }, from_object),
    Idiom("class Tanh, self.out", (Tanh,), normal(3, x=(3, 4)), {
        "without dout": ("dout * (1.0", "(1.0"),
        "no square": ("self.out ** 2", "self.out"),
        "the cache squared in place": ("return dout * (1.0 - self.out ** 2)",
                                       "self.out **= 2; return dout * (1.0 - self.out)"),
    }, from_object),
    Idiom("class MatMul, grads[0][...] =", (MatMul,), normal(4, x=(4, 3), W=(3, 3)), {
        "the gradient is not put into the list": ("self.grads[0][...] = self.x", "_ = self.x"),
        "dx by W": ("dout.dot(W.T)", "dout.dot(W)"),
        "the first example alone": ("self.x.T.dot(dout)", "self.x[:1].T.dot(dout[:1])"),
    }, lambda C: from_object(C, "W")),
    Idiom("class BatchNormalization", (BatchNormalization,), normal(5, x=(4, 3), gamma=3, beta=3), {
        "no term of the mean": (" - np.sum(dxc, axis=0) / batch", ""),
        "no term of the deviation": ("dxc += self.xc * 0.5", "dxc += 0 * self.xc * 0.5"),
        "the deviation's sign": ("dstd = -np.sum", "dstd = np.sum"),
    }, lambda C: from_object(C, "gamma", "beta")),
    Idiom("class of layers in a list", (Mlp,), normal(6, x=(4, 3), W1=(3, 3), W2=(3, 3)), {
        "not in reversed order": ("reversed(self.layers)", "[self.layers[2], self.layers[0]]"),
        "another layer's gradient": ("return self.layers[0].grads[0]", "return self.layers[2].grads[0].T"),
        "each with the first dout": ("dout = layer.backward(dout)\n        return dout", "dx = layer.backward(dout)\n        return dx"),
    }, lambda C: from_object(C, W1=C.dW1, W2=C.dW2)),
    Idiom("class Residual, an object that is there", (Residual,), normal(7, x=(3, 4), weight=(4, 4)), {
        "the shortcut forgotten": ("grad_output + da @", "da @"),
        "the shortcut alone": (" + da @ self.weight.T", ""),
        "of the output": ("self.x.T @ da", "(self.x + self.h).T @ da"),
    }, lambda C: from_object(C(4), weight="weight_grad")),
    Idiom("class Convolution1D, loops", (Convolution1D,), normal(8, x=(2, 6), kernel=3), {
        "assigned where it is added": ("self.dkernel += dy", "self.dkernel = dy"),
        "overlaps overwritten": ("+= dy[n, i] * self.kernel", "= dy[n, i] * self.kernel"),
        "the last place left out": ("range(dy.shape[1])", "range(dy.shape[1] - 1)"),
    }, lambda C: from_object(C, "kernel")),
    Idiom("class Bilinear, two inputs", (Bilinear,), normal(9, a=(3, 2), b=(3, 4), M=(2, 4)), {
        "a and b exchanged": ("dy, self.a, self.b)", "dy, self.b[:, :2], np.repeat(self.a, 2, 1))"),
        "the sum over the batch": ("\"n,ni,nj->ij\", dy, self.a, self.b", "\"n,ni,nj->ij\", dy[:1], self.a[:1], self.b[:1]"),
        "without dy": ("dy[:, None] * (self.a @ self.M)", "self.a @ self.M"),
    }, lambda C: from_object(C, "M")),
]
