"""What a right pair has besides right numbers at one point: caches, memory layouts, other inputs, digits."""

import numpy as np
import pytest
from squares import normal, square

from minifl.errors import InputError
from minifl.gradcheck import check
from minifl.gradcheck.calls import CACHE, LAYOUT
from minifl.gradcheck.precision import FLOAT64
from minifl.gradcheck.properties import ELSEWHERE
from minifl.layers.linear import linear, linear_backward
from minifl.layers.norm import layer_norm, layer_norm_backward, mv_norm, mv_norm_backward


def failed(report):
    """Names of the findings that failed."""
    return [f.name for f in (*report.blocks, *report.properties) if not f.passed]


# ---- one cache, twice

def test_a_cache_that_backward_destroys():
    def listed(x):
        return x * x, [x]

    def popping(dy, cache):
        return 2 * cache.pop() * dy

    report = check(listed, popping, [normal(3, 4)])
    assert failed(report) == [CACHE] and "raises IndexError" in str(report) and "destroys its cache" in str(report)
    assert check(listed, lambda dy, cache: 2 * cache[0] * dy, [normal(3, 4)]).passed

    def overwriting(dy, cache):
        cache *= 2 * dy
        return cache

    assert failed(check(lambda x: (x * x, x.copy()), overwriting, [normal(3, 4)])) == [CACHE]


def test_buffers_that_are_used_again_are_right():
    """One array for all outputs, one for all gradients: whoever keeps them copies them."""
    out, dx = np.empty((3, 4)), np.empty((3, 4))

    def forward(x):
        if np.iscomplexobj(x):
            return x * x, x
        np.multiply(x, x, out=out)
        return out, x

    def backward(dy, x):
        np.multiply(2 * x, dy, out=dx)
        return dx

    for instrument in ("central", "complex step"):
        check(forward, backward, [normal(3, 4)], instrument=instrument).assert_passed()


# ---- memory

@pytest.mark.parametrize("wrong", [
    lambda dy, x: 2 * x * dy.ravel("K").reshape(dy.shape),
    lambda dy, x: 2 * x * np.reshape(dy, dy.size, order="A").reshape(dy.shape),
    lambda dy, x: 2 * x * np.ndarray(dy.shape, dy.dtype, buffer=_memory(dy)),
    lambda dy, x: 2 * x * (dy if 0 not in dy.strides else dy[0, 0]),
    lambda dy, x: 2 * x * _assigned(dy),
])
def test_memory_that_is_read_as_it_lies(wrong):
    report = check(square, wrong, [normal(3, 4)])
    assert failed(report) == [LAYOUT] and "for a dy" in str(report)
    assert check(square, lambda dy, x: 2 * x * dy, [np.asfortranarray(normal(3, 4))]).passed


def _memory(array):
    """Of an array, from its first number on."""
    end = array
    while isinstance(end.base, np.ndarray):
        end = end.base
    return np.ascontiguousarray(end.ravel("K")).tobytes() + bytes(8 * array.size)


def _assigned(dy):
    flat = dy.view()
    flat.shape = (-1,)      # raises where the numbers do not lie beside each other
    return flat.reshape(dy.shape)


def test_inputs_lie_anywhere_too():
    def forward(x):
        return x.ravel("K").reshape(x.shape) * 2, None

    assert failed(check(forward, lambda dy, c: 2 * dy, [normal(3, 4)])) == [LAYOUT]

    def demanding(x):
        if not x.flags.c_contiguous:
            raise ValueError("ndarray is not C-contiguous")
        return 2 * x, None

    assert check(demanding, lambda dy, c: 2 * dy, [normal(3, 4)]).passed     # it says what it wants


def test_steps_reach_inputs_in_fortrans_order():
    """A large array of which entries are moved: a flat view of another order would be a copy."""
    inputs = {"x": np.asfortranarray(normal(60, 70)), "w": np.asfortranarray(normal(70, 3, seed=1))}
    product = (lambda x, w: (x @ w, (x, w))), (lambda dy, c: (dy @ c[1].T, c[0].T @ dy))
    check(*product, inputs).assert_passed()
    report = check(product[0], lambda dy, c: (dy @ c[1].T * (1 + 1e-6), c[0].T @ dy), inputs)
    assert not report.blocks[0].passed and np.isclose(report.blocks[0].analytic, report.blocks[0].numeric, rtol=1e-5)


# ---- state

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("instrument", ["auto", "central"])
def test_a_cache_that_keeps_the_first_inputs(dtype, instrument):
    kept = []

    def stale(x):
        kept.append(x.copy())
        return x * x, None

    report = check(stale, lambda dy, _: 2 * kept[0].astype(dy.dtype) * dy, [normal(3, 4).astype(dtype)],
                   instrument=instrument)
    assert ELSEWHERE in failed(report) and "does the cache keep those" in str(report)


def test_a_cache_that_keeps_the_first_inputs_of_code_for_float32_alone():
    kept = []

    def stale(x):
        assert x.dtype == np.float32
        kept.append(x.copy())
        return x * x, None

    assert failed(check(stale, lambda dy, _: 2 * kept[0] * dy, [normal(3, 4).astype(np.float32)])) == [ELSEWHERE]


def test_a_cache_in_an_object_is_right():
    class Layer:
        def forward(self, x):
            self.x = x
            return x * x, None

        def backward(self, dy, _):
            return 2 * self.x * dy

    layer = Layer()
    for dtype in (np.float64, np.float32):
        check(layer.forward, layer.backward, [normal(3, 20).astype(dtype)]).assert_passed()


def test_elsewhere_is_where_people_defined_their_functions():
    """Nearer to 0, with the same signs: shares stay below 1, squares above 0; where nothing is defined, nothing is said."""
    p = np.random.default_rng(0).uniform(0.1, 0.99, (3, 4))
    report = check(lambda p: (np.log(p) + np.log1p(-p), p), lambda dy, p: dy * (1 / p - 1 / (1 - p)), [p])
    report.assert_passed()
    assert ELSEWHERE in [found.name for found in report.properties]
    x = np.random.default_rng(1).uniform(1, 1.2, (3, 4))
    with np.errstate(invalid="ignore"):
        report = check(lambda x: (np.sqrt(x - 0.95), x), lambda dy, x: dy / (2 * np.sqrt(x - 0.95)), [x])
    assert report.passed and ELSEWHERE not in [found.name for found in report.properties]


# ---- digits

INPUTS = {"x": normal(2, 3, 5), "gain": normal(2, 5, seed=1), "bias": normal(2, 5, seed=2)}


def single(array):
    return array.astype(np.float32).astype(float)


def of_single_dy(dy, cache):
    return layer_norm_backward(single(dy), cache)


def returned_single(dy, cache):
    return tuple(map(single, layer_norm_backward(dy, cache)))


def cached_single(dy, cache):
    h, sigma, rest = cache
    return layer_norm_backward(dy, (single(h), sigma, rest))


def forward_single(x, gain, bias):
    y, cache = layer_norm(*(array.astype(np.float32) for array in (x, gain, bias)))
    return y.astype(float), layer_norm(x, gain, bias)[1]


def of_float32(dy, cache):
    return tuple(gradient.astype(np.float32) for gradient in layer_norm_backward(dy, cache))


@pytest.mark.parametrize("forward, backward", [
    (layer_norm, of_single_dy), (layer_norm, returned_single), (layer_norm, cached_single), (layer_norm, of_float32),
    (forward_single, layer_norm_backward)], ids=["dy", "returned", "cached", "dtype", "forward"])
def test_float32_inside_is_said_and_refused_unless_it_is_asked_for(forward, backward):
    report = check(forward, backward, INPUTS)
    assert FLOAT64 in failed(report) and "precision='float32'" in str(report)
    check(forward, backward, INPUTS, precision="float32").assert_passed()

    def wrong(dy, cache):
        dx, *others = backward(dy, cache)
        return dx * 1.001, *others

    assert failed(check(forward, wrong, INPUTS, precision="float32"))[0] == "x"


@pytest.mark.parametrize("inputs", [INPUTS, INPUTS | {"x": INPUTS["x"] + 1e6}, INPUTS | {"x": 1e-6 * INPUTS["x"]},
                                    {name: array.astype(np.float32) for name, array in INPUTS.items()}])
def test_badly_conditioned_float64_is_not_float32(inputs):
    assert FLOAT64 not in [found.name for found in check(layer_norm, layer_norm_backward, inputs).properties]


def test_saturation_and_cancellation_are_not_float32():
    for x in (12 + 0.1 * normal(6, 5), 14 + 0.1 * normal(6, 5), np.full((2, 3), 13.0)):
        report = check(lambda x: (np.tanh(x), np.tanh(x)), lambda dy, t: dy * (1 - t * t), [x])
        assert FLOAT64 not in failed(report) and (report.passed or report.inconclusive)
    pairs = 1e-3 * normal(2, 2, 2)      # two numbers are 1 and -1 under a norm, whatever they are
    assert FLOAT64 not in failed(check(mv_norm, mv_norm_backward, [pairs]))


def test_a_tolerance_that_was_given_is_kept_to():
    check(layer_norm, of_single_dy, INPUTS, tolerance=1e-5).assert_passed()
    with pytest.raises(InputError, match="precision 'half' is unknown; valid are None, float32"):
        check(linear, linear_backward, [normal(1, 2, 3), normal(1, 3, 2)], precision="half")
