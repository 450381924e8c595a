"""Wrong backward passes, with the arguments of the right ones: what people write by mistake.

Of linear layers, convolutions, pooling and the loss; the other files wrong_*.py have those of the rest.
"""

from typing import Any

from minifl.backend import Array, get_xp
from minifl.layers import conv, linear, loss, pool


# --- linear, flatten ---------------------------------------------------------------------------------------

def linear_untransposed(dy: Array, cache: Any) -> tuple:
    _, weight, _ = cache
    return dy @ weight, *linear.linear_backward(dy, cache)[1:]


def linear_weight_mean(dy: Array, cache: Any) -> tuple:
    dx, dweight, dbias = linear.linear_backward(dy, cache)
    return dx, dweight / dy.shape[1], dbias


def linear_bias_mean(dy: Array, cache: Any) -> tuple:
    dx, dweight, dbias = linear.linear_backward(dy, cache)
    return dx, dweight, None if dbias is None else dy.mean(axis=1)


def linear_clients_summed(dy: Array, cache: Any) -> tuple:
    dx, dweight, dbias = linear.linear_backward(dy, cache)
    return dx, dweight * 0 + dweight.sum(axis=0), dbias


def flatten_channel_first(dy: Array, cache: Any) -> Array:
    k, n, h, w, c = cache
    return get_xp(dy).moveaxis(dy.reshape(k, n, c, h, w), 2, 4)


# --- convolution -------------------------------------------------------------------------------------------

def conv_flipped(dy: Array, cache: Any) -> tuple:
    unfolded, weight, *rest = cache
    return conv.conv2d_backward(dy, (unfolded, weight[:, ::-1, ::-1], *rest))[:1] + conv.conv2d_backward(dy, cache)[1:]


def conv_kernel_transposed(dy: Array, cache: Any) -> tuple:
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    return dx, get_xp(dy).swapaxes(dweight, 1, 2), dbias


def conv_padding_not_removed(dy: Array, cache: Any) -> tuple:
    padding = cache[5]
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    if padding:
        frame = ((0, 0), (0, 0), (padding, 0), (padding, 0), (0, 0))
        dx = get_xp(dy).pad(dx, frame)[:, :, :dx.shape[2], :dx.shape[3]]
    return dx, dweight, dbias


def conv_overwritten(dy: Array, cache: Any) -> tuple:
    xp = get_xp(dy)
    _, weight, shape, _, stride, padding = cache
    k, n, oh, ow, f = dy.shape
    h, w = shape[2:4]
    dx = xp.zeros((k, n, h + 2 * padding, w + 2 * padding, shape[4]), dtype=dy.dtype)
    for i in range(weight.shape[1]):
        for j in range(weight.shape[2]):
            share = dy.reshape(k, -1, f) @ xp.swapaxes(weight[:, i, j], 1, 2)
            dx[:, :, i:i + stride * oh:stride, j:j + stride * ow:stride] = share.reshape(k, n, oh, ow, -1)
    return dx[:, :, padding:padding + h, padding:padding + w], *conv.conv2d_backward(dy, cache)[1:]


def conv_bias_mean_over_pixels(dy: Array, cache: Any) -> tuple:
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    return dx, dweight, None if dbias is None else dy.mean(axis=(2, 3)).sum(axis=1)


def conv_weight_mean(dy: Array, cache: Any) -> tuple:
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    return dx, dweight / dy.shape[1], dbias


# --- pooling -----------------------------------------------------------------------------------------------

def max_pool_spread(dy: Array, cache: Any) -> Array:
    shape, _, size, stride = cache
    return pool.avg_pool2d_backward(dy, (shape, size, stride))


def max_pool_overwritten(dy: Array, cache: Any) -> Array:
    shape, winner, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for position, window in enumerate(pool._windows(shape, size, stride)):
        dx[window] = dy * (winner == position)
    return dx


def max_pool_column_major(dy: Array, cache: Any) -> Array:
    """The winner's row in its window is taken for its column and the other way round."""
    shape, winner, size, stride = cache
    return pool.max_pool2d_backward(dy, (shape, winner % size * size + winner // size, size, stride))


def avg_pool_not_divided(dy: Array, cache: Any) -> Array:
    return pool.avg_pool2d_backward(dy, cache) * cache[1]**2


def avg_pool_overwritten(dy: Array, cache: Any) -> Array:
    shape, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for window in pool._windows(shape, size, stride):
        dx[window] = dy / size**2
    return dx


def global_pool_divided_by_height(dy: Array, cache: Any) -> Array:
    return pool.global_avg_pool_backward(dy, cache) * cache[3]


def global_pool_not_divided(dy: Array, cache: Any) -> Array:
    return pool.global_avg_pool_backward(dy, cache) * cache[2] * cache[3]


# --- loss --------------------------------------------------------------------------------------------------

def loss_not_averaged(dloss: Array, cache: Any) -> Array:
    return loss.softmax_cross_entropy_backward(dloss, cache) * cache[0].shape[1]


def loss_averaged_over_clients(dloss: Array, cache: Any) -> Array:
    return loss.softmax_cross_entropy_backward(dloss, cache) / cache[0].shape[0]


def loss_without_label(dloss: Array, cache: Any) -> Array:
    p, labels = cache
    return p * (dloss / p.shape[1])[:, None, None]


def loss_sign(dloss: Array, cache: Any) -> Array:
    return -loss.softmax_cross_entropy_backward(dloss, cache)


def loss_cotangent_ignored(dloss: Array, cache: Any) -> Array:
    return loss.softmax_cross_entropy_backward(dloss * 0 + 1, cache)


def loss_derivative_of_softmax_again(dloss: Array, cache: Any) -> Array:
    p, labels = cache
    dz = loss.softmax_cross_entropy_backward(dloss, cache)
    return p * (dz - (p * dz).sum(axis=2, keepdims=True))
