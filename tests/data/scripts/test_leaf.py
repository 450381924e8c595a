"""data_scripts/leaf.py: users, pixels and labels of LEAF's form, and a run with a client for each user."""

import functools
import json

import numpy as np
import pytest

from scripting import fails, listing, put, run

from minifl.data import registry
from minifl.data.partition import make_partition

leaf = functools.partial(run, "leaf")


def row(user, i, size=784):
    """Pixels 0..255 of an example, from its name."""
    return np.random.default_rng([*user.encode(), i]).integers(0, 256, size)


def written(users, first=0, scale=255, size=784, label=lambda user, i: (len(user) + i) % 4):
    """The JSON of a file in LEAF's form: {user: how many examples}, in this order."""
    data = {user: {"x": [(row(user, first + i, size) / scale if scale != 1 else row(user, first + i, size)).tolist()
                         for i in range(n)], "y": [label(user, i) for i in range(n)]} for user, n in users.items()}
    return {"users": list(users), "num_samples": list(users.values()), "user_data": data}


def folder_of(path, files):
    return put(path, {name: content if isinstance(content, bytes) else json.dumps(content).encode()
                      for name, content in files.items()})


TRAIN = [{"f0_7": 5, "f1_12": 2}, {"bea": 3}]
FILES = {"train/all_data_0_train.json": written(TRAIN[0]), "train/all_data_1_train.json": written(TRAIN[1]),
         "test/all_data_0_test.json": written({"bea": 1, "f0_7": 2}, 10), "test/all_data_1_test.json": written({"new": 2}, 10)}


@pytest.mark.parametrize("below", ["", "data/"])
def test_a_small_femnist(out, below):
    source = folder_of(out.parent / "in", {below + name: content for name, content in FILES.items()})
    result = leaf("--data-dir", out, "--from", source, "--name", "femnist")
    assert result.exit_code == 0, result.output
    assert "4 classes in 4 users" in result.output and "--data femnist --setting natural" in result.output
    d = registry.load("femnist", out)
    assert d.image_shape == (28, 28, 1) and d.class_names == ("0", "1", "2", "3")
    assert d.domain_names == ("f0_7", "f1_12", "bea", "new") and "4 users" in d.source
    owners = [user for users in TRAIN for user, n in users.items() for _ in range(n)]
    assert [d.domain_names[i] for i in d.domain_train] == owners
    assert [d.domain_names[i] for i in d.domain_test] == ["bea", "f0_7", "f0_7", "new", "new"]
    assert d.y_train.tolist() == [(len(user) + i) % 4 for users in TRAIN for user, n in users.items() for i in range(n)]
    np.testing.assert_array_equal(d.x_train[1].ravel(), row("f0_7", 1))        # to the byte, whatever the division by 255
    np.testing.assert_array_equal(d.x_test[0].ravel(), row("bea", 10))
    split = make_partition("natural", d.y_train, d.y_test, 4, 4, 0, domains=(d.domain_train, d.domain_test, d.domain_names))
    assert [len(own) for own in split.train] == [5, 2, 3, 0] and [len(own) for own in split.test] == [2, 0, 1, 2]


@pytest.mark.parametrize("size, options, shape", [
    (3 * 16, [], (4, 4, 3)), (12, ["--shape", "2x6x1"], (2, 6, 1)), (12, [], (2, 2, 3)), (16, [], (4, 4, 1))])
def test_bytes_and_shapes(out, size, options, shape):
    files = {"train/a.json": written({"a": 3}, scale=1, size=size), "test/a.json": written({"a": 1}, 9, scale=1, size=size)}
    result = leaf("--data-dir", out, "--from", folder_of(out.parent / "in", files), "--name", "own", *options)
    assert result.exit_code == 0, result.output
    d = registry.load("own", out)
    np.testing.assert_array_equal(d.x_train[2], row("a", 2, size).reshape(shape))


def test_nested_pixels(out):
    files = {part: {"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [image], "y": [0]}}} for part, image in
             (("train/a.json", [[0.0, 1.0, 0.2], [0.4, 0.6, 0.8]]), ("test/a.json", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))}
    assert leaf("--data-dir", out, "--from", folder_of(out.parent / "in", files), "--name", "own").exit_code == 0
    d = registry.load("own", out)
    assert d.x_train[0, :, :, 0].tolist() == [[0, 255, 51], [102, 153, 204]] and d.x_test[0, :, :, 0].tolist() == [[0] * 3] * 2


def changed(**changes):
    """A file of one user "u" with one example of 4 pixels, changed."""
    data = {"users": ["u"], "num_samples": [1], "user_data": {"u": {"x": [[0, 0.5, 0.5, 1]], "y": [1]}}}
    return data | changes


def of(x, y=(1,)):
    return changed(num_samples=[len(y)], user_data={"u": {"x": x, "y": list(y)}})


@pytest.mark.parametrize("content, words", [
    (b"{", "needed is"), (b"\xff", "needed is"), (b"[" * 100_000, "needed is"), ([], "not a file of LEAF's form"),
    (changed(users=["u", "v"]), "not of the same users"), (changed(users=["u", "u"]), "not of the same users"),
    (changed(num_samples=[]), "not of the same users"), (changed(num_samples=[2]), "must have 2 x and y, found 1 and 1"),
    (changed(user_data={"u": {"x": [[1]]}}), "found 1 and none"), (changed(user_data={"u": [1]}), "found none and none"),
    (of(["000001.jpg"]), "no pixels but texts"), (of([["a"]]), "no pixels but texts"), (of([[None]]), "no pixels"),
    (of([[0, 1], [0]], (1, 1)), "different lengths"), (of([[]]), "no pixels"),
    (of([[0, 0, 0, 256]]), "pixels from 0 to 256"), (of([[0, 0, 0, -0.1]]), "pixels from -0.1"),
    (of([[0, 0, 0, float("nan")]]), "pixels from nan"), (of([[0, 0.5, 0, 7]]), "that are not whole"),
    (of([[0, 0, 0, 7]]), "pixels from 0 to 255, and from 0 to 1 at"), (of([[0.5] * 5]), "--shape HxWxC says"),
    (of([[0.5] * 4], [-1]), "label"), (of([[0.5] * 4], [1.5]), "label"), (of([[0.5] * 4], ["3"]), "label"),
    (of([[0.5] * 4], [True]), "label"), (of([[0.5] * 9]), "different shapes"),
    (changed(user_data={"u": {"x": [], "y": []}}, num_samples=[0]), "no example in train/"),
])
def test_what_does_not_fit(out, content, words):
    good = {"train/b.json": content, "test/a.json": changed()}
    if words in ("different shapes", "pixels from 0 to 255, and from 0 to 1 at"):
        good["train/a.json"] = json.loads(json.dumps(changed()).replace('"u"', '"v"'))
    fails(leaf("--data-dir", out, "--from", folder_of(out.parent / "in", good), "--name", "own"), words)
    assert listing(out) == []


def test_what_is_missing_or_twice(out):
    only = folder_of(out.parent / "in", {"all_data/a.json": changed()})
    fails(leaf("--data-dir", out, "--from", only, "--name", "own"), "train/*.json and test/*.json")
    twice = folder_of(out.parent / "b", {"train/a.json": changed(), "train/b.json": changed(), "test/a.json": changed()})
    fails(leaf("--data-dir", out, "--from", twice, "--name", "own"), "user u: is in train/ twice")
    fails(leaf("--data-dir", out, "--from", twice, "--name", "cifar10"), "--name cifar10")
    once = folder_of(out.parent / "c", {"train/a.json": changed(), "test/a.json": changed()})
    fails(leaf("--data-dir", out, "--from", once, "--name", "own", "--shape", "3x1x1"), "4 pixels, --shape 3x1x1 has 3")
    fails(leaf("--data-dir", out, "--from", once / "train" / "a.json", "--name", "own"), "train/*.json and test/*.json")
