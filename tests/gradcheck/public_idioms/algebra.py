"""Linear algebra and rearrangements: `np.vdot`, cholesky, solve, inverses, FFT, cumsum, sorting, strides."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck import from_vjp


def inner(a, b):
    return np.vdot(a, b) / a.size


def inner_vjp(a, b, dy):
    return dy * b / a.size, dy * a / a.size


def log_determinant(x):
    L = np.linalg.cholesky(x @ x.T + np.eye(len(x)))
    return 2 * np.sum(np.log(np.diag(L))), (x, L)


def log_determinant_backward(dy, cache):
    x, L = cache
    inverse = np.linalg.inv(L)
    return 2 * dy * inverse.T @ inverse @ x


def solve_forward(A, b):
    A = A + 4 * np.eye(len(A))
    y = np.linalg.solve(A, b)
    return y, (A, y)


def solve_backward(dy, cache):
    A, y = cache
    db = np.linalg.solve(A.T, dy)
    return -db @ y.T, db


def inverse_forward(A):
    y = np.linalg.inv(A + 4 * np.eye(len(A)))
    return y, y


def inverse_backward(dy, y):
    return -y.T.dot(dy).dot(y.T)


def power_spectrum(x):
    f = np.fft.fft(x, axis=-1)
    return np.abs(f) ** 2, f


def power_spectrum_backward(dy, f):
    return 2 * f.shape[-1] * np.real(np.fft.ifft(dy * f, axis=-1))


def running_sum(x):
    return np.cumsum(x, axis=1), None


def running_sum_backward(dy, cache):
    return np.cumsum(dy[:, ::-1], axis=1)[:, ::-1]


def largest_two(x):
    order = np.argsort(-x, axis=1)[:, :2]
    return np.take_along_axis(x, order, axis=1), (order, x.shape)


def largest_two_backward(dy, cache):
    order, shape = cache
    dx = np.zeros(shape)
    np.put_along_axis(dx, order, dy, axis=1)
    return dx


def windows_forward(x, w):
    N, T = x.shape
    strided = np.lib.stride_tricks.as_strided(x, (N, T - len(w) + 1, len(w)), (*x.strides, x.strides[1]))
    return strided @ w, (strided.copy(), w, T)


def windows_backward(dy, cache):
    strided, w, T = cache
    dx = np.zeros((len(dy), T))
    for i, weight in enumerate(w):
        dx[:, i:i + dy.shape[1]] += dy * weight
    return dx, np.tensordot(dy, strided, axes=([0, 1], [0, 1]))


def outer_concatenated(a, b):
    both = np.concatenate((a, b), axis=1)
    return both[:, :, None] * both[:, None, :], (both, a.shape[1])


def outer_concatenated_backward(dy, cache):
    both, split = cache
    d = np.einsum("nij,nj->ni", dy + dy.transpose(0, 2, 1), both)
    return d[:, :split], d[:, split:]


LAYERS = [
    Idiom("np.vdot", (inner, inner_vjp), normal(a=(3, 2), b=(3, 2)), {
        "not divided": ("dy * b / a.size", "dy * b"),
        "a and b exchanged": ("dy * b / a.size, dy * a / a.size", "dy * a / a.size, dy * b / a.size"),
        "divided by the length": ("dy * a / a.size", "dy * a / len(a)"),
    }, from_vjp),
    Idiom("log-determinant, np.linalg.cholesky", (log_determinant, log_determinant_backward), normal(1, x=(3, 4)), {
        "no 2": ("2 * dy *", "dy *"),
        "the factors in the other order": ("inverse.T @ inverse @ x", "inverse @ inverse.T @ x"),
        "L for its product": ("inverse.T @ inverse @ x", "inverse @ x"),
    }),
    Idiom("np.linalg.solve", (solve_forward, solve_backward), normal(2, A=(3, 3), b=(3, 2)), {
        "A not transposed": ("np.linalg.solve(A.T, dy)", "np.linalg.solve(A, dy)"),
        "the sign": ("-db @ y.T", "db @ y.T"),
        "transposed": ("-db @ y.T", "-y @ db.T"),
    }),
    Idiom("np.linalg.inv", (inverse_forward, inverse_backward), normal(3, A=(3, 3)), {
        "not transposed": ("-y.T.dot(dy).dot(y.T)", "-y.dot(dy).dot(y)"),
        "the sign": ("-y.T", "y.T"),
        "one factor": (".dot(dy).dot(y.T)", ".dot(dy)"),
    }),
    Idiom("power spectrum, np.fft and np.abs", (power_spectrum, power_spectrum_backward), normal(4, x=(2, 5)), {
        "no N": ("2 * f.shape[-1] *", "2 *"),
        "no 2": ("2 * f.shape[-1]", "f.shape[-1]"),
        "the imaginary part": ("np.real(np", "np.imag(np"),
    }),
    Idiom("np.cumsum", (running_sum, running_sum_backward), normal(5, x=(3, 4)), {
        "in the same order": ("np.cumsum(dy[:, ::-1], axis=1)[:, ::-1]", "np.cumsum(dy, axis=1)"),
        "not turned back": ("axis=1)[:, ::-1]", "axis=1)"),
        "along the batch": ("np.cumsum(dy[:, ::-1], axis=1)[:, ::-1]", "np.cumsum(dy[::-1], axis=0)[::-1]"),
    }),
    Idiom("the two largest, argsort", (largest_two, largest_two_backward), normal(6, x=(3, 4)), {
        "the first two": ("np.put_along_axis(dx, order, dy, axis=1)", "dx[:, :2] = dy"),
        "exchanged": ("order, dy, axis=1)", "order[:, ::-1], dy, axis=1)"),
        "the largest alone": ("order, dy, axis=1)", "order[:, :1], dy[:, :1], axis=1)"),
    }),
    Idiom("windows by as_strided", (windows_forward, windows_backward), normal(7, x=(2, 5), w=3), {
        "overlaps overwritten": ("+= dy * weight", "= dy * weight"),
        "the first example alone": ("np.tensordot(dy, strided", "np.tensordot(dy[:1], strided[:1]"),
        "turned round": ("enumerate(w)", "enumerate(w[::-1])"),
    }),
    Idiom("outer product of a concatenation", (outer_concatenated, outer_concatenated_backward), normal(8, a=(2, 2), b=(2, 3)), {
        "one of two factors": ("dy + dy.transpose(0, 2, 1)", "dy"),
        "split at the wrong place": ("return d[:, :split], d[:, split:]", "return d[:, -split:], d[:, :-split]"),
        "b forgotten": ("d[:, split:]\n", "0 * d[:, split:]\n"),
    }),
]
