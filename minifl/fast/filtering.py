"""Minimal filtering along the height of a map: a short kernel with fewer multiplications than it has taps.

m neighbouring outputs of a kernel of k numbers, y_o = sum_i x_{o+i} w_i (o < m, i < k), see n = m + k - 1 inputs and
take m k products when they are written out. n are enough (Toom 1963, Cook 1966; Winograd 1980, "Arithmetic Complexity of
Computations", section IV):

Derivation. For any numbers a_o let a(z) = sum_o a_o z^o and w(z) = sum_i w_i z^i. Then
    sum_o a_o y_o = sum_{o, i} a_o w_i x_{o+i} = sum_r x_r s_r,    s(z) = a(z) w(z) of degree n - 1,
and s is known from its values at n different points z_p:  s_r = sum_p a(z_p) w(z_p) [L_p]_r,  with the Lagrange
polynomials L_p(z) = prod_{q != p} (z - z_q)/(z_p - z_q). Both sides are linear in a, and a is arbitrary:

    y = A ((G w) * (B x)),    A_op = z_p^o    G_pi = z_p^i    B_pr = [L_p]_r                       (*)

B and A act on the map alone, G on the kernel alone. In a convolution x and w carry channels and a second axis, and the n
products become n sums of products over these, for which nothing changes. Here (*) stands along the height, and the
width is left to `slide` (minifl/fast/conv.py): along both axes the products would become too small to be fast.

It is linear in x and in w, so its gradients are transposes: with dM = A' dy,
    d(Bx) = (Gw) * dM,  dx = B' d(Bx)        d(Gw) = (Bx) * dM,  dw = G' d(Gw).

The price is rounding. By root mean square the error is about 6 times that of the plain sums for the 5 taps below, 2 times
for the 3: 1.3e-6 and 4e-7 of y in float32, 3e-15 and 1e-15 in float64 (TF32 on a GPU: 1e-3). The points are the ones with
the smallest error among small halves.
"""

from minifl.backend import Array, constant, get_xp

# taps -> (outputs of a tile, points)
TILES = {
    3: (4, (0.5, -0.5, 1, -1, 2, -2)),
    5: (5, (0, 0.5, -0.5, 1, -1, 1.5, -1.5, 2.5, -2.5)),
}
FEWEST_CHANNELS = 16   # with fewer the transforms cost more than they save
LARGEST_SHARE = 0.7    # of the plain multiplications: with more the same


def _lagrange(points, p):
    """The coefficients of L_p, from that of z^0 on."""
    coefficients = [1.0]
    for q, z in enumerate(points):
        if q != p:   # times (variable - z)/(z_p - z)
            shifted, same = [0.0, *coefficients], [*coefficients, 0.0]
            coefficients = [(a - z * b) / (points[p] - z) for a, b in zip(shifted, same)]
    return tuple(coefficients)


# taps -> A (m, n), G (n, k) and B (n, n) of (*), as tuples of rows
MATRICES = {taps: {"A": tuple(tuple(z ** o for z in points) for o in range(m)),
                   "G": tuple(tuple(z ** i for i in range(taps)) for z in points),
                   "B": tuple(_lagrange(points, p) for p in range(len(points)))} for taps, (m, points) in TILES.items()}


def outputs_of_tile(taps: int, height: int, channels: int) -> int:
    """m for a kernel of so many taps that gives `height` rows of outputs from so many channels; 0: not worth it."""
    m, points = TILES.get(taps, (0, ()))
    worth = m and channels >= FEWEST_CHANNELS and -(-height // m) * len(points) <= LARGEST_SHARE * taps * height
    return m if worth else 0


def map_at_points(x: Array, taps: int, height: int) -> Array:
    """B x for every tile of rows: (K, N, T*m + k - 1, W, C) -> (K, n, N*T, W, C), with T tiles for `height` outputs."""
    xp = get_xp(x)
    k, n, _, w, c = x.shape
    b = _matrix("B", taps, x)
    m, points = TILES[taps][0], len(b)
    tiles = -(-height // m)
    x = xp.ascontiguousarray(x)
    sk, sn, sh, _, sc = x.strides
    cut = xp.lib.stride_tricks.as_strided(x, shape=(k, n, tiles, points, w * c), strides=(sk, sn, m * sh, sh, sc))
    out = xp.empty((k, points, n * tiles, w, c), dtype=x.dtype)
    xp.matmul(b, cut, out=_by_tile(out, n))
    return out


def map_at_points_transposed(d: Array, taps: int, n: int) -> Array:
    """The transpose, (K, points, N*T, W, C) -> (K, N, T*m + k - 1, W, C): B' d, added where tiles overlap."""
    xp = get_xp(d)
    b = _matrix("B", taps, d)
    m, points = TILES[taps][0], len(b)
    k, _, rows, w, c = d.shape
    tiles, layers = rows // n, -(-points // m)
    parts = xp.swapaxes(b, 0, 1) @ _by_tile(d, n)                       # (K, N, T, points, W*C)
    out = xp.zeros((k, n, tiles + layers - 1, m, w * c), dtype=d.dtype)
    for layer in range(layers):
        part = parts[..., layer * m:(layer + 1) * m, :]
        out[:, :, layer:layer + tiles, :part.shape[3]] += part
    return out.reshape(k, n, -1, w, c)[:, :, :tiles * m + taps - 1]


def kernel_at_points(weight: Array) -> Array:
    """G w: (K, kh, kw, C, F) -> (K, points, kw, C, F)."""
    g = _matrix("G", weight.shape[1], weight)
    k, kh, *rest = weight.shape
    return (g @ weight.reshape(k, kh, -1)).reshape(k, -1, *rest)


def kernel_at_points_transposed(d: Array, taps: int) -> Array:
    """The transpose, G' d: (K, points, kw, C, F) -> (K, kh, kw, C, F)."""
    g = _matrix("G", taps, d)
    k, points, *rest = d.shape
    return (get_xp(d).swapaxes(g, 0, 1) @ d.reshape(k, points, -1)).reshape(k, -1, *rest)


def outputs(products: Array, taps: int, n: int, height: int) -> Array:
    """A M: (K, points, N*T, W, F) -> the first `height` of the (K, N, T*m, W, F) rows."""
    a = _matrix("A", taps, products)
    k, _, _, w, f = products.shape
    return (a @ _by_tile(products, n)).reshape(k, n, -1, w, f)[:, :, :height]


def outputs_transposed(dy: Array, taps: int) -> Array:
    """The transpose, A' dy: (K, N, height, W, F) -> (K, points, N*T, W, F)."""
    xp = get_xp(dy)
    a = _matrix("A", taps, dy)
    m, points = a.shape
    k, n, height, w, f = dy.shape
    tiles = -(-height // m)
    if tiles * m > height:
        dy = xp.concatenate([dy, xp.zeros((k, n, tiles * m - height, w, f), dtype=dy.dtype)], axis=2)
    out = xp.empty((k, points, n * tiles, w, f), dtype=dy.dtype)
    xp.matmul(xp.swapaxes(a, 0, 1), dy.reshape(k, n, tiles, m, w * f), out=_by_tile(out, n))
    return out


def _by_tile(values, n):
    """View of (K, points, N*T, W, C) as one matrix (points, W*C) for each client, example and tile."""
    k, points, rows, w, c = values.shape
    return get_xp(values).moveaxis(values.reshape(k, points, n, rows // n, w * c), 1, 3)


def _matrix(name, taps, x):
    """A, G or B for so many taps, in x's type and place."""
    return constant(MATRICES[taps][name], x)
