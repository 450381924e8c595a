"""The flat state and its named views."""

import numpy as np
import pytest

from minifl.params import Entry, Spec

SPEC = Spec((Entry("a.weight", (3, 2, 4), fan_in=6), Entry("a.bias", (4,), fan_in=6),
             Entry("norm.gain", (4,), constant=1.0), Entry("norm.bias", (4,)),
             Entry("b.weight", (500, 2), fan_in=500)))


def test_blocks_lie_side_by_side_in_order():
    assert SPEC.size == 24 + 4 + 4 + 4 + 1000
    stop = 0
    for entry in SPEC.entries:
        part = SPEC.slices[entry.name]
        assert part.start == stop and part.stop == stop + entry.size
        stop = part.stop
    assert stop == SPEC.size


@pytest.mark.parametrize("k", [1, 3])
def test_views_alias_theta(k):
    theta = np.zeros((k, SPEC.size))
    views = SPEC.views(theta)
    for number, (entry, view) in enumerate(zip(SPEC.entries, views.values(), strict=True), start=1):
        assert view.shape == (k, *entry.shape) and np.shares_memory(view, theta)
        view[...] = number
    for number, part in enumerate(SPEC.slices.values(), start=1):
        assert (theta[:, part] == number).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_flatten_is_the_inverse_of_views(dtype):
    theta = np.random.default_rng(0).standard_normal((3, SPEC.size)).astype(dtype)
    flat = SPEC.flatten(SPEC.views(theta), like=theta)
    assert flat.dtype == dtype and np.array_equal(flat, theta) and not np.shares_memory(flat, theta)


def test_flatten_needs_every_block():
    blocks = SPEC.views(np.zeros((1, SPEC.size)))
    del blocks["norm.gain"]
    with pytest.raises(KeyError, match="norm.gain"):
        SPEC.flatten(blocks, like=np.zeros((1, SPEC.size)))


def test_init_fills_every_block_within_its_bounds():
    w = SPEC.init(0)
    assert w.shape == (SPEC.size,) and w.dtype == np.float64
    for entry in SPEC.entries:
        block = w[SPEC.slices[entry.name]]
        if entry.fan_in:
            assert np.abs(block).max() <= 1 / np.sqrt(entry.fan_in) and len(set(block)) == entry.size
        else:
            assert (block == entry.constant).all()


def test_init_belongs_to_the_seed_and_the_name_alone():
    alone = Spec((Entry("b.weight", (500, 2), fan_in=500),))
    assert np.array_equal(alone.init(7), SPEC.init(7)[SPEC.slices["b.weight"]])
    assert not np.array_equal(alone.init(7), alone.init(8))
    renamed = Spec((Entry("c.weight", (500, 2), fan_in=500),))
    assert not np.array_equal(alone.init(7), renamed.init(7))


def test_statistics_begin_at_their_constants_and_flatten_takes_what_it_names():
    """A network's backward returns gradients and what batch norms saw in one dict: each Spec takes its own."""
    statistics = Spec((Entry("norm.mean", (2,), statistic=True),
                       Entry("norm.variance", (2,), constant=1.0, statistic=True)))
    parameters = Spec((Entry("norm.gain", (2,), constant=1.0),))
    assert statistics.init(0).tolist() == [0, 0, 1, 1] and not parameters.entries[0].statistic
    blocks = {name: np.full((3, 2), value) for name, value in
              (("norm.variance", 4.0), ("norm.gain", 5.0), ("norm.mean", 6.0))}
    like = np.empty((3, 1), np.float32)
    assert statistics.flatten(blocks, like).tolist() == [[6, 6, 4, 4]] * 3
    assert parameters.flatten(blocks, like).tolist() == [[5, 5]] * 3
    with pytest.raises(KeyError):
        statistics.flatten({"norm.mean": blocks["norm.mean"]}, like)


def test_a_spec_without_blocks_has_size_0():
    """The statistics of a network without batch norm."""
    empty = Spec(())
    assert empty.size == 0 and empty.init(3).shape == (0,) and empty.views(np.empty((2, 0))) == {}
    assert empty.flatten({"a": 1}, np.empty((2, 5))).shape == (2, 0)
