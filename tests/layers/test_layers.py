"""What every layer promises, on every case of the gradient checks' registry."""

import hashlib

import numpy as np
import pytest

from minifl.gradcheck.cases import CASES

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.layer}: {case.what}")
PER_EXAMPLE = ("x", "q", "k", "v", "logits", "labels")   # inputs with an example axis; the others are parameters
LOSSES = ("softmax_cross_entropy", "smoothed_cross_entropy", "model_contrastive", "decorrelation", "decorrelation_released",
          "positive_hinge", "spreadout")      # one number a client
MIXING = ("batch_norm",)                      # whose examples move each other
OF_WEIGHTS = ("standardize", "unit_columns")  # what they take has no examples


def drawn(case, dtype=np.float64):
    """inputs by name and a cotangent, all but whole numbers in dtype, always the same numbers."""
    rng = np.random.default_rng(11)
    inputs = case.draw(rng)
    v = rng.standard_normal(case.forward(*inputs.values())[0].shape)
    return {name: a.astype(dtype) if a.dtype.kind == "f" else a for name, a in inputs.items()}, v.astype(dtype)


def run(case, inputs, v):
    """y and the gradients by name of input."""
    y, cache = case.forward(*inputs.values())
    gradients = case.backward(v, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return y, dict(zip([name for name in inputs if name not in case.fixed], gradients))


def arrays_of(value):
    """All arrays within nested tuples, lists and dicts."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [array for part in value for array in arrays_of(part)]


def digest(*values):
    """A hash of every bit of the arrays within."""
    found = hashlib.sha256()
    for array in arrays_of(values):
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def assert_close(found, expected, tolerance):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@every_case
def test_clients_at_once_are_a_loop_over_clients(case):
    inputs, v = drawn(case)
    y, gradients = run(case, inputs, v)
    for k in range(len(v)):
        y_k, gradients_k = run(case, {name: a[k:k + 1] for name, a in inputs.items()}, v[k:k + 1])
        assert_close(y_k, y[k:k + 1], 1e-13)
        for name, gradient in gradients.items():
            assert_close(gradients_k[name], gradient[k:k + 1], 1e-13)


@pytest.mark.parametrize("case", [case for case in CASES if case.layer not in LOSSES + MIXING + OF_WEIGHTS],
                         ids=lambda case: f"{case.layer}: {case.what}")
def test_a_batch_is_a_loop_over_examples(case):
    """Each example alone gives the same output and input gradient, and parameter gradients add up over them.

    The losses, one number a client, have test files of their own.
    """
    inputs, v = drawn(case)
    y, gradients = run(case, inputs, v)
    totals = {name: 0 for name in gradients if name not in PER_EXAMPLE}
    for n in range(v.shape[1]):
        one = {name: a[:, n:n + 1] if name in PER_EXAMPLE else a for name, a in inputs.items()}
        y_n, gradients_n = run(case, one, v[:, n:n + 1])
        assert_close(y_n, y[:, n:n + 1], 1e-13)
        for name in gradients.keys() - totals.keys():
            assert_close(gradients_n[name], gradients[name][:, n:n + 1], 1e-13)
        totals = {name: total + gradients_n[name] for name, total in totals.items()}
    for name, total in totals.items():
        assert_close(total, gradients[name], 1e-12)


@every_case
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("complex64", 1e-4), ("complex128", 1e-12)])
def test_the_dtype_is_kept(case, dtype, tolerance):
    y, gradients = run(case, *drawn(case))
    y_cast, gradients_cast = run(case, *drawn(case, dtype))
    assert y_cast.dtype == dtype
    assert_close(y_cast, y, tolerance)
    for name, gradient in gradients.items():
        assert gradients_cast[name].dtype == dtype, name
        assert_close(gradients_cast[name], gradient, tolerance)


@every_case
def test_a_layer_is_a_pair_of_pure_functions(case):
    """Nothing given is written to, not even what the cache holds, and a second call gives the same bits."""
    inputs, v = drawn(case)
    before = digest(inputs, v)
    y, cache = case.forward(*inputs.values())
    between = digest(y, cache)
    gradients = case.backward(v, cache)
    again = case.backward(v, cache)
    assert digest(inputs, v) == before
    assert digest(y, cache) == between == digest(*case.forward(*inputs.values()))
    assert digest(gradients) == digest(again)


@every_case
def test_read_only_arrays_do(case):
    inputs, v = drawn(case)
    for array in (*inputs.values(), v):
        array.flags.writeable = False
    y, cache = case.forward(*inputs.values())
    for array in arrays_of(cache):
        array.flags.writeable = False
    case.backward(v, cache)
