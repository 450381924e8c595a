"""Activations, elementwise, any shape.

Only ReLU and leaky ReLU are positively homogeneous, f(t x) = t f(x) for t > 0 (the paper's Lemma 1); the others are
here because its Propositions 1 and 2 end with them. Where a formula would overflow, it is written in e = exp(-|x|),
with |x| taken as x or -x by the sign of the real part, which is analytic on either side.

At x = -inf and inf value and derivative are the limits: no product 0*inf, which is NaN, is formed. NaN stays NaN.
"""

from minifl.backend import Array, erf, get_xp

FAR = 2e4   # beyond it exp(-|x|) is 0 in every number format: an x that is multiplied with it can as well end there


def relu(x: Array) -> tuple:
    """max(x, 0), the mask taken from the real part. Returns y, cache."""
    mask = x.real > 0
    return _between(x, low=0), mask


def relu_backward(dy: Array, cache: Array) -> Array:
    """dy where x > 0, else 0. At the kink x = 0 the derivative is taken as 0, as in PyTorch."""
    return dy * cache


def leaky_relu(x: Array, *, slope: float = 0.01) -> tuple:
    """x where x > 0, else slope*x. Returns y, cache; slope as in PyTorch's default."""
    mask = x.real > 0
    positive = mask.astype(x.real.dtype)
    return x * (positive + slope * (1 - positive)), (mask, slope)


def leaky_relu_backward(dy: Array, cache: tuple) -> Array:
    """dy where x > 0, else slope*dy."""
    mask, slope = cache
    return dy * mask + slope * (dy * ~mask)


def elu(x: Array, *, alpha: float = 1.0) -> tuple:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016, eq. 15). Returns y, cache."""
    mask = x.real > 0
    below = alpha * get_xp(x).expm1(_between(x, high=0))
    return _between(x, low=0) + below, (mask, below, alpha)


def elu_backward(dy: Array, cache: tuple) -> Array:
    """d/dx alpha (exp(x) - 1) = alpha exp(x) = y + alpha below 0, else 1."""
    mask, below, alpha = cache
    return dy * mask + (dy * ~mask) * (below + alpha)


def gelu(x: Array) -> tuple:
    """x Phi(x), Phi the normal distribution function (1 + erf(x/sqrt 2))/2 (Hendrycks and Gimpel 2016), exact.

    Returns y, cache.
    """
    phi = (1 + erf(x / 2 ** 0.5)) / 2
    return _between(x, low=-FAR) * phi, (x, phi)


def gelu_backward(dy: Array, cache: tuple) -> Array:
    """d/dx x Phi(x) = Phi(x) + x Phi'(x), Phi'(x) = exp(-x²/2)/sqrt(2 pi), the normal density."""
    xp = get_xp(dy)
    x, phi = cache
    x = _between(x, low=-FAR, high=FAR)
    return dy * (phi + x * xp.exp(-x * x / 2) / (2 * xp.pi) ** 0.5)


def sigmoid(x: Array) -> tuple:
    """1/(1 + exp(-x)) = 1/(1+e) for x > 0, e/(1+e) below. Returns y, cache."""
    xp = get_xp(x)
    mask = x.real > 0
    e = xp.exp(_minus_abs(x, mask))
    y = xp.where(mask, xp.ones_like(e), e) / (1 + e)
    return y, y


def sigmoid_backward(dy: Array, cache: Array) -> Array:
    """With u = exp(-x): d/dx 1/(1+u) = u/(1+u)² = y (1 - y)."""
    return dy * cache * (1 - cache)


def silu(x: Array) -> tuple:
    """x sigmoid(x), also called swish (Elfwing et al. 2018). Returns y, cache."""
    s, _ = sigmoid(x)
    return _between(x, low=-FAR) * s, (x, s)


def silu_backward(dy: Array, cache: tuple) -> Array:
    """d/dx x s(x) = s + x s (1 - s)."""
    x, s = cache
    return dy * s * (1 + _between(x, low=-FAR, high=FAR) * (1 - s))


def softplus(x: Array) -> tuple:
    """log(1 + exp(x)) = max(x, 0) + log(1 + e). Returns y, cache."""
    mask = x.real > 0
    return _between(x, low=0) + get_xp(x).log1p(get_xp(x).exp(_minus_abs(x, mask))), x


def softplus_backward(dy: Array, cache: Array) -> Array:
    """d/dx log(1 + exp(x)) = exp(x)/(1 + exp(x)) = sigmoid(x)."""
    return dy * sigmoid(cache)[0]


def tanh(x: Array) -> tuple:
    """Returns y, cache."""
    y = get_xp(x).tanh(x)
    return y, y


def tanh_backward(dy: Array, cache: Array) -> Array:
    """tanh = sinh/cosh, so d/dx tanh = 1 - sinh²/cosh² = 1 - y²."""
    return dy * (1 - cache * cache)


def _minus_abs(x, mask):
    """-|x|, mask being x > 0."""
    return x * (1 - 2 * mask.astype(x.real.dtype))


def _between(x, *, low=None, high=None):
    """x where low < x <= high, else low or high, constants; complex numbers are compared by their real part.

    For real ones it is `clip`, the fastest that there is. Of complex ones it would compare the imaginary parts, too.
    """
    xp = get_xp(x)
    low, high = -xp.inf if low is None else low, xp.inf if high is None else high     # clip is slower with None
    clipped = xp.clip(x.real, low, high)
    return xp.where((x.real > low) & (x.real <= high), x, clipped) if x.dtype.kind == "c" else clipped
