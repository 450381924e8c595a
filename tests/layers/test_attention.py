"""Attention: values by hand, loops as oracle, symmetries, and that it is not scale equivariant; tokens of a sequence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naive import attention_naive

from minifl.layers.attention import attention, attention_backward
from minifl.layers.tokens import add_position, first_token, prepend_token

SHAPE = (2, 3, 5, 6)


def drawn(shape=SHAPE, seed=0, count=3):
    return np.random.default_rng(seed).standard_normal((count, *shape))


def weights(q, k, v, heads):
    """p (K, N, heads, T, T)."""
    return attention(q, k, v, heads=heads)[1][-1]


def difference(a, b):
    """Relative to the largest number."""
    return np.abs(a - b).max() / np.abs(b).max()


# ---- values

def test_two_tokens_by_hand():
    # d = 4, so scores are halved: q1 has 0 and ln 3 with the keys, q2 ln 3 and ln 3; weights 1/4 3/4 and 1/2 1/2
    q = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0]])
    k = 2 * np.log(3) * np.array([[0.0, 1, 0, 0], [1, 0, 0, 0]])
    v = np.array([[4.0, 0, 8, 0], [0, 4, 8, -4]])
    o, _ = attention(q[None, None], k[None, None], v[None, None], heads=1)
    np.testing.assert_allclose(o[0, 0], [[1, 3, 8, -3], [2, 2, 8, -2]], rtol=1e-14)


def test_one_token_sees_itself():
    q, k, v = drawn((2, 3, 1, 4))
    o, cache = attention(q, k, v, heads=2)
    np.testing.assert_array_equal(o, v)
    dq, dk, dv = attention_backward(v, cache)
    np.testing.assert_array_equal(dv, v)
    assert not dq.any() and not dk.any()


@settings(max_examples=30, deadline=None)
@given(clients=st.integers(1, 3), examples=st.integers(1, 3), tokens=st.integers(1, 6), heads=st.integers(1, 4),
       features=st.integers(1, 4), seed=st.integers(0, 1000))
def test_equals_loops_over_clients_examples_heads_and_tokens(clients, examples, tokens, heads, features, seed):
    q, k, v = drawn((clients, examples, tokens, heads * features), seed)
    o, _ = attention(q, k, v, heads=heads)
    np.testing.assert_allclose(o, attention_naive(q, k, v, heads=heads), rtol=1e-12, atol=1e-13)


def test_heads_are_attentions_of_their_own_on_neighbouring_features():
    q, k, v = drawn()
    o, _ = attention(q, k, v, heads=3)
    for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
        alone, _ = attention(q[..., part], k[..., part], v[..., part], heads=1)
        np.testing.assert_allclose(o[..., part], alone, rtol=1e-13)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_weights_are_positive_and_sum_to_1(heads):
    p = weights(*drawn(), heads)
    assert p.shape == (2, 3, heads, 5, 5) and (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=4), 1, rtol=1e-14)


@pytest.mark.parametrize("dtype, size", [(np.float32, 1e6), (np.float64, 1e100)])
def test_large_scores_do_not_overflow(dtype, size):
    """Then each query takes the value of its best key."""
    q, k, v = drawn().astype(dtype)
    o, cache = attention(dtype(size) * q, k, v, heads=1)
    best = (q @ np.swapaxes(k, 2, 3)).argmax(axis=3)
    np.testing.assert_allclose(o, np.take_along_axis(v, best[..., None], axis=2), rtol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in attention_backward(v, cache))


# ---- symmetries

def test_the_order_of_tokens_does_not_matter():
    q, k, v = drawn()
    order = [3, 0, 4, 2, 1]
    o, _ = attention(q, k, v, heads=2)
    permuted, _ = attention(*(a[:, :, order] for a in (q, k, v)), heads=2)
    np.testing.assert_allclose(permuted, o[:, :, order], rtol=1e-13)
    of_keys, _ = attention(q, k[:, :, order], v[:, :, order], heads=2)
    np.testing.assert_allclose(of_keys, o, rtol=1e-13)
    assert difference(attention(q, k, v[:, :, order], heads=2)[0], o) > 0.05   # a negative control


def test_a_key_bias_is_not_seen_and_its_gradient_vanishes():
    """Why the ViT has none."""
    q, k, v = drawn()
    bias = np.random.default_rng(1).standard_normal((2, 1, 1, 6))
    o, cache = attention(q, k, v, heads=2)
    np.testing.assert_allclose(attention(q, k + bias, v, heads=2)[0], o, rtol=1e-12)
    dq, dk, _ = attention_backward(drawn(count=1)[0], cache)
    assert np.abs(dk.sum(axis=2)).max() < 1e-14 < 1e-2 < np.abs(dk).max()
    assert np.abs(dq.sum(axis=2)).max() > 1e-2


def test_it_is_not_scale_equivariant():
    """So the paper's Propositions 1 and 2 are not about it: attention(2x) is not 2 attention(x), x being query, key
    and value at once. It is linear in the values alone."""
    x, = drawn(count=1)
    o, _ = attention(x, x, x, heads=2)
    assert difference(attention(2 * x, 2 * x, 2 * x, heads=2)[0], 2 * o) > 0.05
    np.testing.assert_allclose(attention(x, x, 2 * x, heads=2)[0], 2 * o, rtol=1e-14)
    assert difference(attention(2 * x, x, x, heads=2)[0], o) > 0.05
    np.testing.assert_allclose(attention(2 * x, x / 2, x, heads=2)[0], o, rtol=1e-13)


def test_examples_and_clients_do_not_see_each_other():
    q, k, v = drawn()
    o, cache = attention(q, k, v, heads=2)
    do, = drawn(seed=1, count=1)
    gradients = attention_backward(do, cache)
    for client in range(2):
        for n in range(3):
            one = (slice(client, client + 1), slice(n, n + 1))
            o_one, cache_one = attention(q[one], k[one], v[one], heads=2)
            np.testing.assert_allclose(o_one, o[one], rtol=1e-13)
            for found, expected in zip(attention_backward(do[one], cache_one), gradients):
                np.testing.assert_allclose(found, expected[one], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("heads", [4, 5, 12])
def test_heads_that_do_not_divide_the_features(heads):
    with pytest.raises(ValueError, match=f"{heads} heads do not divide 6 features"):
        attention(*drawn(), heads=heads)


# ---- tokens of a sequence

def test_every_example_gets_its_clients_position_and_token():
    x, = drawn(count=1)
    position, token = drawn((2, 5, 6), seed=1, count=1)[0], drawn((2, 6), seed=2, count=1)[0]
    y, _ = add_position(x, position)
    z, _ = prepend_token(x, token)
    assert y.shape == x.shape and z.shape == (2, 3, 6, 6)
    for client in range(2):
        for n in range(3):
            np.testing.assert_array_equal(y[client, n], x[client, n] + position[client])
            np.testing.assert_array_equal(z[client, n], [token[client], *x[client, n]])
    np.testing.assert_array_equal(first_token(z)[0], np.repeat(token[:, None], 3, axis=1))
