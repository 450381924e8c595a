"""conv2d of minifl/layers/conv.py without most of its unfolded map: one axis at a time, and with fewer products.

As products of large matrices: a kernel of kh x kw pixels is taken apart by its axes. Along the height the map is
unfolded: what kh neighbouring rows hold is laid side by side, (kh, C) numbers for each column of pixels; along the
width nothing is copied, since in this layout the kw columns under a kernel lie in memory one after the other: they
are a window of kw*kh*C numbers, and the windows of one output column over all rows are a matrix whose rows overlap
(`slide`). Where it pays, minimal filtering takes the place of unfolding (minifl/fast/filtering.py); it computes
the same y and gradients with fewer products.

On a GPU the windows are copied, for all output columns at once: CuPy copies operands of batched products that are not
contiguous anyway, and for factors that stand for several products it makes lists of addresses, a launch for each axis
(cupy/_core/_routines_linalg.pyx, matmul). One product for each client and point is what is fast there.
"""

from minifl.backend import Array, get_xp, on_cpu
from minifl.fast import filtering
from minifl.layers.conv import output_size

CACHE_BYTES = 3 << 18   # of what a product writes, 0.75 MB: stays in the cache of a core until all columns are done
FEW = 4   # channels that are copied one at a time: a pixel of so few numbers is too short a piece of memory


def conv2d(x: Array, weight: Array, bias: Array | None = None, *, stride: int = 1, padding: int = 0) -> tuple:
    """Arguments, y and ValueError as minifl.layers.conv.conv2d; another cache."""
    k, n, h, w, c = x.shape
    kh, kw, _, f = weight.shape[1:]
    oh, ow = output_size(x.shape, weight.shape, stride, padding)
    tile = filtering.outputs_of_tile(kh, oh, c) if stride == 1 else 0
    if tile:
        rows = -(-oh // tile) * tile + kh - 1
        columns = filtering.map_at_points(_pad(x, padding, rows - h - 2 * padding), kh, oh)
        y = filtering.outputs(slide(columns, filtering.kernel_at_points(weight)), kh, n, oh)
    else:
        columns = _unfold(_pad(x, padding), kh, stride)
        y = slide(columns, _unfolded(weight), stride).reshape(k, n, oh, ow, f)
    y = y if bias is None else y + bias[:, None, None, None, :]
    return y, (columns, weight, x.shape, bias is not None, stride, padding, tile)


def conv2d_backward(dy: Array, cache: tuple, *, input_gradient: bool = True) -> tuple:
    """Map dL/dy to (dL/dx, dL/dweight, dL/dbias), as minifl.layers.conv.conv2d_backward.

    Derivation: with E the map unfolded along the height and ~ for what `slide` does along the width, y = E ~ W, hence
    dW = E ~' dy, and dE = dy ~' W, of which a pixel of x receives the sum over the kh places where E holds it. Minimal
    filtering has its transposes in the place of these sums.
    """
    columns, weight, shape, has_bias, stride, padding, tile = cache
    k, n, h, w, c = shape
    kh, kw = weight.shape[1:3]
    dbias = dy.sum(axis=(1, 2, 3)) if has_bias else None
    if tile:
        dproducts = filtering.outputs_transposed(dy, kh)
        dweight = filtering.kernel_at_points_transposed(slide_kernel_gradient(dproducts, columns, kw), kh)
    else:
        dproducts = dy.reshape(k, 1, -1, *dy.shape[3:])
        dweight = _unfolded_transposed(slide_kernel_gradient(dproducts, columns, kw, stride), weight.shape)
    if not input_gradient:
        return None, dweight, dbias

    w += 2 * padding
    if tile:
        dcolumns = slide_input_gradient(dproducts, filtering.kernel_at_points(weight), w)
        dx = filtering.map_at_points_transposed(dcolumns, kh, n)
    else:
        dcolumns = slide_input_gradient(dproducts, _unfolded(weight), w, stride)
        dx = _unfold_transposed(dcolumns, (k, n, h + 2 * padding, w, c), stride)
    return dx[:, :, padding:padding + h, padding:w - padding], dweight, dbias


def slide(columns: Array, kernel: Array, stride: int = 1) -> Array:
    """Slide kernels along the width: out[r, q, f] = sum_{j, d} columns[r, q*stride + j, d] kernel[j, d, f].

    columns  (K, P, R, W, D)
    kernel   (K, P, kw, D, F)
    returns  (K, P, R, OW, F): for each output column q one product of its windows (R, kw*D) with the kernel
    """
    xp = get_xp(columns)
    k, p, kw, d, f = kernel.shape
    windows = _windows(columns, kw, stride)
    if not on_cpu(columns):
        rows = xp.swapaxes(windows, 2, 3).reshape(k, p, -1, kw * d)                          # (K, P, R*OW, kw*D)
        return (rows @ kernel.reshape(k, p, kw * d, f)).reshape(k, p, columns.shape[2], -1, f)
    ow, r = windows.shape[2:4]
    out = xp.empty((k, p, r, ow, f), dtype=xp.result_type(columns, kernel))
    by_column, kernel = xp.swapaxes(out, 2, 3), kernel.reshape(k, p, 1, kw * d, f)
    for some in _row_blocks(out):
        xp.matmul(windows[:, :, :, some], kernel, out=by_column[:, :, :, some])
    return out


def slide_kernel_gradient(dout: Array, columns: Array, kw: int, stride: int = 1) -> Array:
    """dL/dkernel (K, P, kw, D, F) of `slide`: the windows, transposed, times their gradients.

    One product for each output column, and their sum; or the windows of all columns copied for one product, where that
    takes less memory, R <= F, and on a GPU.
    """
    xp = get_xp(dout)
    k, p, _, _, d = columns.shape
    windows = _windows(columns, kw, stride)
    if not on_cpu(columns):
        rows = xp.swapaxes(windows, 2, 3).reshape(k, p, -1, kw * d)                          # (K, P, R*OW, kw*D)
        return (xp.swapaxes(rows, 2, 3) @ dout.reshape(k, p, rows.shape[2], -1)).reshape(k, p, kw, d, -1)
    if columns.shape[2] <= dout.shape[4]:
        f = dout.shape[4]
        out = xp.empty((k, p, kw * d, f), dtype=dout.dtype)
        rows = xp.empty((k, *windows.shape[3:1:-1], kw * d), dtype=dout.dtype)
        for point in range(p):
            rows[...] = xp.swapaxes(windows[:, point], 1, 2)
            xp.matmul(xp.swapaxes(rows.reshape(k, -1, kw * d), 1, 2), dout[:, point].reshape(k, -1, f), out=out[:, point])
        return out.reshape(k, p, kw, d, f)
    return (xp.swapaxes(windows, 3, 4) @ xp.swapaxes(dout, 2, 3)).sum(axis=2).reshape(k, p, kw, d, -1)


def slide_input_gradient(dout: Array, kernel: Array, width: int, stride: int = 1) -> Array:
    """dL/dcolumns (K, P, R, W, D) of `slide`.

    Input column b met the kernel's column j in output column q, where q*stride + j = b: as q rises by 1, j falls by
    stride. So its gradient is one product of neighbouring output columns q with every stride-th column of the kernel
    taken backwards; near the edges some of them are missing. On a GPU one product for all columns of both, and each
    column of the kernel adds its part to the input columns that it met.
    """
    xp = get_xp(dout)
    k, p, r, ow, f = dout.shape
    kw, d = kernel.shape[2:4]
    if not on_cpu(dout):
        parts = dout.reshape(k, p, r * ow, f) @ xp.swapaxes(kernel.reshape(k, p, kw * d, f), 2, 3)
        parts = parts.reshape(k, p, r, ow, kw, d)
        out = xp.zeros((k, p, r, width, d), dtype=dout.dtype)
        for j in range(kw):
            met = out[:, :, :, j:j + stride * (ow - 1) + 1:stride]
            met += parts[..., j, :]
        return out
    flat, kernel = dout.reshape(k, p, r, ow * f), xp.swapaxes(kernel, 3, 4)                  # (K, P, kw, F, D)
    out = xp.empty((k, p, r, width, d), dtype=dout.dtype)
    for first in range(stride):
        mine = out[:, :, :, first::stride]
        taps = xp.ascontiguousarray(kernel[:, :, first::stride][:, :, ::-1])
        n, taps = taps.shape[2], taps.reshape(k, p, -1, d)                                   # (K, P, n*F, D)
        if n == 0:             # a kernel narrower than the stride leaves these out
            mine[...] = 0
            continue
        if n <= ow:
            windows, inside = _windows(dout, n, 1), xp.swapaxes(mine[:, :, :, n - 1:ow], 2, 3)
            for some in _row_blocks(mine):
                xp.matmul(windows[:, :, :, some], taps[:, :, None], out=inside[:, :, :, some])
        for i in (*range(min(n - 1, mine.shape[3])), *range(max(ow, n - 1), mine.shape[3])):     # near the edges
            before = i - n + 1     # output column of the first of these taps; it may not exist
            low, high = max(before, 0), min(i + 1, ow)
            if low < high:
                some = taps[:, :, (low - before) * f:(high - before) * f]
                xp.matmul(flat[..., low * f:high * f], some, out=mine[:, :, :, i])
            else:
                mine[:, :, :, i] = 0
    return out


def _row_blocks(out):
    """Slices of the rows R of out (K, P, R, ...): all columns of some rows, which stay in a core's cache, then the next."""
    together = max(1, CACHE_BYTES // (out[0, 0, 0].size * out.itemsize))
    return [slice(first, first + together) for first in range(0, out.shape[2], together)]


def _windows(columns, kw, stride):
    """View of columns (K, P, R, W, D) as windows (K, P, OW, R, kw*D), without a copy; they overlap.
    (A gradient may come as a view of something else, whose columns do not lie side by side: that is copied.)"""
    xp = get_xp(columns)
    columns = xp.ascontiguousarray(columns)
    k, p, r, w, d = columns.shape
    sk, sp, sr, sw, sd = columns.strides
    return xp.lib.stride_tricks.as_strided(columns, shape=(k, p, (w - kw) // stride + 1, r, kw * d),
                                           strides=(sk, sp, stride * sw, sr, sd))


def _unfold(x, kh, stride):
    """(K, N, H, W, C) -> (K, 1, N*OH, W, kh*C): under every output row the kh rows that the kernel sees there."""
    xp = get_xp(x)
    k, n, h, w, c = x.shape
    oh = (h - kh) // stride + 1
    out = xp.empty((k, n, oh, w, kh, c), dtype=x.dtype)
    for i in range(kh):
        rows = x[:, :, i:i + stride * (oh - 1) + 1:stride]
        for channels in range(c) if c <= FEW and on_cpu(x) else [slice(None)]:
            out[..., i, channels] = rows[..., channels]
    return out.reshape(k, 1, n * oh, w, kh * c)


def _unfold_transposed(d, shape, stride):
    """The transpose, (K, 1, N*OH, W, kh*C) -> `shape`: each row is added to where it came from."""
    k, n, h, w, c = shape
    d = d.reshape(k, n, d.shape[2] // n, w, d.shape[4] // c, c)
    oh, kh = d.shape[2], d.shape[4]
    out = get_xp(d).zeros(shape, dtype=d.dtype)
    for i in range(kh):
        out[:, :, i:i + stride * (oh - 1) + 1:stride] += d[..., i, :]
    return out


def _unfolded(weight):
    """The kernel in the order of the unfolded map: (K, kh, kw, C, F) -> (K, 1, kw, kh*C, F)."""
    k, kh, kw, c, f = weight.shape
    xp = get_xp(weight)
    return xp.swapaxes(weight, 1, 2).reshape(k, 1, kw, kh * c, f)


def _unfolded_transposed(d, shape):
    """The transpose, (K, 1, kw, kh*C, F) -> `shape` (K, kh, kw, C, F)."""
    k, kh, kw, c, f = shape
    return get_xp(d).swapaxes(d.reshape(k, kw, kh, c, f), 1, 2)


def _pad(x, padding, below=0):
    """A frame of `padding` zeros around each map, and so many rows more below it."""
    if padding == below == 0:
        return x
    k, n, h, w, c = x.shape
    out = get_xp(x).zeros((k, n, h + 2 * padding + below, w + 2 * padding, c), dtype=x.dtype)
    out[:, :, padding:padding + h, padding:padding + w] = x
    return out
