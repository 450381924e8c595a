"""Wrong backward passes of the activations."""

from math import pi
from typing import Any

from minifl.backend import Array, get_xp
from minifl.layers import activations


def relu_mask_of_gradient(dy: Array, cache: Any) -> Array:
    return dy * (dy > 0)


def relu_straight_through(dy: Array, cache: Any) -> Array:
    return dy


def leaky_slope_dropped(dy: Array, cache: Any) -> Array:
    return dy * cache[0]


def leaky_slope_on_both_sides(dy: Array, cache: Any) -> Array:
    return dy * cache[1]


def elu_slope_alpha_below_0(dy: Array, cache: Any) -> Array:
    mask, _, alpha = cache
    return dy * mask + alpha * (dy * ~mask)


def elu_y_for_y_plus_alpha(dy: Array, cache: Any) -> Array:
    mask, below, _ = cache
    return dy * mask + (dy * ~mask) * below


def elu_alpha_taken_as_1(dy: Array, cache: Any) -> Array:
    mask, below, alpha = cache
    return activations.elu_backward(dy, (mask, below, 1.0))


def gelu_without_density(dy: Array, cache: Any) -> Array:
    _, phi = cache
    return dy * phi


def gelu_density_without_x(dy: Array, cache: Any) -> Array:
    x, phi = cache
    return dy * (phi + get_xp(x).exp(-x * x / 2) / (2 * pi) ** 0.5)


def gelu_density_not_normalized(dy: Array, cache: Any) -> Array:
    x, phi = cache
    return dy * (phi + x * get_xp(x).exp(-x * x / 2))


def gelu_of_the_tanh_approximation(dy: Array, cache: Any) -> Array:
    """d/dx x (1 + tanh u)/2 with u = sqrt(2/pi) (x + 0.044715 x³)."""
    x, _ = cache
    t = get_xp(x).tanh((2 / pi) ** 0.5 * (x + 0.044715 * x * x * x))
    return dy * ((1 + t) / 2 + x * (1 - t * t) / 2 * (2 / pi) ** 0.5 * (1 + 3 * 0.044715 * x * x))


def sigmoid_plus(dy: Array, cache: Any) -> Array:
    return dy * cache * (1 + cache)


def sigmoid_only_once(dy: Array, cache: Any) -> Array:
    return dy * cache


def silu_only_sigmoid(dy: Array, cache: Any) -> Array:
    _, s = cache
    return dy * s


def silu_without_x(dy: Array, cache: Any) -> Array:
    _, s = cache
    return dy * s * (1 + (1 - s))


def silu_of_its_input(dy: Array, cache: Any) -> Array:
    """x for s: x (1 + x (1 - x))."""
    x, _ = cache
    return dy * x * (1 + x * (1 - x))


def softplus_of_minus_x(dy: Array, cache: Any) -> Array:
    return dy * activations.sigmoid(-cache)[0]


def softplus_exp(dy: Array, cache: Any) -> Array:
    """exp(x), the inner derivative alone."""
    return dy * get_xp(cache).exp(cache)


def softplus_relus(dy: Array, cache: Any) -> Array:
    return dy * (cache > 0)


def tanh_of_its_square(dy: Array, cache: Any) -> Array:
    """1 - y for 1 - y²."""
    return dy * (1 - cache)


def tanh_sigmoids(dy: Array, cache: Any) -> Array:
    return dy * cache * (1 - cache)


def tanh_sign(dy: Array, cache: Any) -> Array:
    return dy * (1 + cache * cache)
