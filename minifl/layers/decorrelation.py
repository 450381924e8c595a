"""FedDecorr's penalty on correlated features (Shi et al., ICLR 2023, "Towards understanding and mitigating
dimensional collapse in heterogeneous federated learning"), as it is published and as its authors' code has it.

`decorrelation` is the published formula, ||C||_F²/D² of a batch's correlation matrix C. `decorrelation_released` is
what github.com/bytedance/FedDecorr, loss.py, computes and most people run: the mean of the squared off-diagonal entries
of h'h, divided by N where C = h'h/N calls for N², and h standardized with the unbiased variance and an eps in the root.
But for eps and constant features

    decorrelation_released = (N-1)²/N * D/(D-1) * (decorrelation - 1/D)    30.19 (decorrelation - 1/D) for N = 32, D = 192

about N times as much, less a constant: a weight of 0.5 there is one of 15.1 here, and 0.5 here is 0.0166 there. Nor is
eps small everywhere: 1e-8 halves the variance of a feature with a standard deviation of 1e-4, and changes its
correlations by 1 % at 1e-3.
"""

from minifl.backend import Array, get_xp

EPS = 1e-8         # the released code's
ROUNDINGS = 8      # a feature whose standard deviation is as few roundings of its size is constant


def decorrelation(z: Array, *, eps: float = 0.0) -> tuple:
    """Each client's mean squared correlation between two features over its batch, ||C||_F²/D².

    z        (K, N, D)   N examples, D features
    eps      added to the variances; the formula has none
    returns  loss (K,), cache

        xc = z - mean_n(z)    s = sqrt(mean_n(xc*xc) + eps)    h = xc/s    for each feature over the examples
        C = h'h/N             loss = sum(C*C)/D²

    As h'h (D, D) and the Gram matrix G = hh' (N, N) have the same Frobenius norm, loss = sum(G*G)/(N D)².
    It is G that is formed, always: it costs N/D times what h'h does, and a local batch has fewer examples
    than a network has features (in the paper 32 and 192).

    The correlations of a constant feature are 0/0, and it contributes nothing: h = 0 (as with N = 1). Constant is what
    varies by rounding only. The eigenvalues of C sum to D and at most min(D, N-1) of them are not 0, because h is
    centred. So without constant features loss lies between 1/min(D, N-1) and 1, where all features are perfectly
    correlated.
    """
    xp = get_xp(z)
    n, d = z.shape[1:]
    xc = z - z.mean(axis=1, keepdims=True)
    variance = (xc * xc).mean(axis=1, keepdims=True)
    h, s = _standardized(z, xc, variance, eps)
    gram = h @ xp.swapaxes(h, 1, 2)
    return (gram * gram).sum(axis=(1, 2)) / (n * d) ** 2, (h, s, gram)


def decorrelation_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dz (K, N, D).

    Derivation, one client: loss = sum(G*G)/(N D)² gives dG = 2 G/(N D)², and G = hh' with G symmetric
        dh = (dG + dG') h = dloss 4 G h/(N D)²
    Each column of h standardizes a column of z as layer norm does an example, along n instead:
        dz = (dh - mean_n(dh) - h mean_n(dh*h))/s
    The columns of h sum to 0, so 1'G = (1'h)h' = 0: mean_n(dh) vanishes by itself, and
        dz = (dh - h mean_n(dh*h))/s                                              (*)
    for any eps >= 0. With one example, and at a constant feature, h = 0 and dz = 0. Identity: sum_n dz = 0.
    The loss does not change with a feature's scale, so the gradient of one that barely varies is large, like 1/s.
    """
    h, s, gram = cache
    n, d = h.shape[1:]
    dh = (dloss * 4 / (n * d) ** 2)[:, None, None] * (gram @ h)
    return (dh - h * (dh * h).mean(axis=1, keepdims=True)) / s


def decorrelation_released(z: Array, *, eps: float = EPS) -> tuple:
    """The penalty of the released code: the mean of the squared off-diagonal entries of h'h over N.

    z        (K, N, D)
    returns  loss (K,), cache; 0 with one example or one feature, where the released code has NaN

        xc = z - mean_n(z)    s = sqrt(sum_n(xc*xc)/(N-1) + eps)    h = xc/s
        loss = sum over i != j of (h'h)_ij² / (D (D-1) N)

    The squares of all entries of h'h are those of G = hh', and its diagonal is q_i = sum_n h_ni²:
        loss = (sum(G*G) - sum(q*q)) / (D (D-1) N)
    """
    xp = get_xp(z)
    n, d = z.shape[1:]
    xc = z - z.mean(axis=1, keepdims=True)
    variance = (xc * xc).sum(axis=1, keepdims=True) / max(1, n - 1)
    h, s = _standardized(z, xc, variance, eps)
    gram, q = h @ xp.swapaxes(h, 1, 2), (h * h).sum(axis=1, keepdims=True)
    return ((gram * gram).sum(axis=(1, 2)) - (q * q).sum(axis=(1, 2))) / (max(1, d * (d - 1)) * n), (h, s, gram, q)


def decorrelation_released_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dz (K, N, D).

    Derivation, one client, c = 1/(D (D-1) N). sum(G*G) gives 4 G h as in `decorrelation_backward`, and dq_i/dh_ni = 2 h_ni:
        dh = dloss c (4 G h - 4 h q)                     with q in every row
    With the unbiased variance ds/dxc_n = xc_n/((N-1) s) = h_n/(N-1), and so
        dz = P (dh - h sum_n(dh*h)/(N-1))/s,             P = I - 11'/N
    P changes nothing, since the columns of G h and of h q sum to 0 with those of h:
        dz = (dh - h sum_n(dh*h)/(N-1))/s                                         (*)
    Exact for eps > 0. With one feature G h = h q, and with one example h = 0: dz = 0. Identity: sum_n dz = 0.
    """
    h, s, gram, q = cache
    n, d = h.shape[1:]
    dh = (dloss * 4 / (max(1, d * (d - 1)) * n))[:, None, None] * (gram @ h - h * q)
    return (dh - h * (dh * h).sum(axis=1, keepdims=True) / max(1, n - 1)) / s


def _standardized(z, xc, variance, eps):
    """h (K, N, D) and s (K, 1, D), s not 0; where a feature varies by rounding only, h is 0."""
    xp = get_xp(z)
    rounding = (ROUNDINGS * xp.finfo(z.dtype).eps) ** 2 * (z * z).mean(axis=1, keepdims=True)
    varies = variance.real > rounding.real
    s = xp.sqrt(xp.where(varies, variance, xp.ones_like(variance)) + eps)
    return xc * varies / s, s
