"""2-d convolution (cross-correlation, as everywhere in deep learning), NHWC: a map unfolded, and one product."""

from minifl.backend import Array, get_xp


def conv2d(x: Array, weight: Array, bias: Array | None = None, *, stride: int = 1, padding: int = 0) -> tuple:
    """Slide a kernel over each example's map.

        y[o, q, f] = sum_{i, j, c} x[o*stride + i - padding, q*stride + j - padding, c] W[i, j, c, f] + b[f]

    x       (K, N, H, W, C)   outside of the map x counts as 0
    weight  (K, kh, kw, C, F)   PyTorch's `Conv2d.weight` (F, C, kh, kw) transposed
    bias    (K, F) or None
    returns y (K, N, OH, OW, F) with OH = (H + 2*padding - kh)//stride + 1, OW likewise; cache
    Raises ValueError if the kernel is larger than the padded map.

    Derivation: the sum over (i, j, c) is a row times a column. E, the unfolded map, has a row for each output pixel
    (o, q), the kh*kw*C numbers under the kernel there; W has a column of as many for each f: y = E W + b.
    """
    k, n, _, _, c = x.shape
    kh, kw, _, f = weight.shape[1:]
    oh, ow = output_size(x.shape, weight.shape, stride, padding)
    unfolded = _unfold(x, kh, kw, stride, padding)
    y = (unfolded @ weight.reshape(k, kh * kw * c, f)).reshape(k, n, oh, ow, f)
    y = y if bias is None else y + bias[:, None, None, None, :]
    return y, (unfolded, weight, x.shape, bias is not None, stride, padding)


def conv2d_backward(dy: Array, cache: tuple, *, input_gradient: bool = True) -> tuple:
    """Map dL/dy (K, N, OH, OW, F) to (dL/dx, dL/dweight, dL/dbias).

    dL/dbias is None without bias; dL/dx is None if input_gradient is False (a network's first layer, whose
    input is data).

    Derivation, one client: y[o, q, f] = sum_{i, j, c} x[o*stride + i, q*stride + j, c] W[i, j, c, f] + b[f] in padded
    coordinates is linear in each of x, W and b, so each gradient is dy times what the factor was multiplied with:
        dL/dW[i, j, c, f] = sum_{n, o, q} x[o*stride + i, q*stride + j, c] dy[o, q, f]
        dL/dx[a, b, c]    = sum_{i, j, f} W[i, j, c, f] dy[o, q, f]   over all o*stride + i = a, q*stride + j = b
        dL/db[f]          = sum_{n, o, q} dy[o, q, f]
    In matrices: y = E W + b, hence dW = E' dy, and dE = dy W', of which a pixel of x receives the sum over all places
    where E holds it.
    """
    unfolded, weight, shape, has_bias, stride, padding = cache
    k, kh, kw, c, f = weight.shape
    xp, rows = get_xp(dy), dy.reshape(k, -1, f)
    dbias = rows.sum(axis=1) if has_bias else None
    dweight = (xp.swapaxes(unfolded, 1, 2) @ rows).reshape(weight.shape)
    if not input_gradient:
        return None, dweight, dbias
    dunfolded = rows @ xp.swapaxes(weight.reshape(k, kh * kw * c, f), 1, 2)
    return _unfold_transposed(dunfolded, shape, kh, kw, stride, padding), dweight, dbias


def output_size(shape: tuple, kernel: tuple, stride: int, padding: int) -> tuple:
    """(OH, OW) for a map and a weight of these shapes. Raises ValueError if the kernel does not fit."""
    (h, w), (kh, kw) = (side + 2 * padding for side in shape[2:4]), kernel[1:3]
    if kh > h or kw > w:
        raise ValueError(f"a kernel of {kh}x{kw} does not fit into a map of {h}x{w}, padding included")
    return (h - kh) // stride + 1, (w - kw) // stride + 1


def _unfold(x, kh, kw, stride, padding):
    """E: (K, N, H, W, C) -> (K, N*OH*OW, kh*kw*C)."""
    k, n, h, w, c = x.shape
    padded = get_xp(x).zeros((k, n, h + 2 * padding, w + 2 * padding, c), dtype=x.dtype)
    padded[:, :, padding:padding + h, padding:padding + w] = x
    seen = [padded[place] for place in _places(padded.shape, kh, kw, stride)]
    return get_xp(x).stack(seen, axis=4).reshape(k, -1, kh * kw * c)


def _unfold_transposed(d, shape, kh, kw, stride, padding):
    """The transpose, (K, N*OH*OW, kh*kw*C) -> `shape`: each number is added to where it came from."""
    k, n, h, w, c = shape
    padded = get_xp(d).zeros((k, n, h + 2 * padding, w + 2 * padding, c), dtype=d.dtype)
    for position, place in enumerate(_places(padded.shape, kh, kw, stride)):
        padded[place] += d[:, :, position * c:(position + 1) * c].reshape(padded[place].shape)
    return padded[:, :, padding:padding + h, padding:padding + w]


def _places(shape, kh, kw, stride):
    """For each place (i, j) in the kernel, row by row, the slice of a padded map that it meets, over all (o, q)."""
    for i in range(kh):
        for j in range(kw):
            yield (slice(None), slice(None),
                   slice(i, shape[2] - kh + i + 1, stride), slice(j, shape[3] - kw + j + 1, stride))
