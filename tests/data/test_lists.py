"""Lists of examples in JSON: the partition that they say, its identity, and what is refused."""

import hashlib
import json
import os

import numpy as np
import pytest

from minifl.data import lists
from minifl.data.dataset import make_dataset
from minifl.data.partition import Listed, make_partition
from minifl.data.table import partition_hash
from minifl.errors import InputError


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return make_dataset("noise", rng.integers(0, 256, (30, 2, 2, 1), np.uint8), np.arange(30) % 3,
                        rng.integers(0, 256, (12, 2, 2, 1), np.uint8), np.arange(12) % 3, "abc", "random numbers")


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_lists_by_hand(tmp_path, data):
    path = written(tmp_path / "p.json", {"clients": [{"train": [7, 0, 3], "test": [2]}, {"train": [1]}, {"test": [0, 11]}]})
    found = lists.read(path, data)
    assert isinstance(found, Listed) and lists.is_lists(path)
    assert [own.tolist() for own in found.train] == [[0, 3, 7], [1], []]
    assert [own.tolist() for own in found.test] == [[2], [], [0, 11]]
    assert {own.dtype for own in found.train + found.test} == {np.dtype(np.int64)}
    assert found.counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]       # labels are 0 1 2 0 1 2 ...
    assert found.test_counts.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 1]]


def test_any_partition_comes_back_and_the_identity_is_that_of_the_file(tmp_path, data):
    made = make_partition("dirichlet", data.y_train, data.y_test, 3, 4, 5, min_size=2)
    lists.write(tmp_path / "p.json", made)
    found = lists.read(tmp_path / "p.json", data)
    for mine, same in zip(made.train + made.test, found.train + found.test, strict=True):
        np.testing.assert_array_equal(mine, same)
    np.testing.assert_array_equal(made.counts, found.counts)
    np.testing.assert_array_equal(made.test_counts, found.test_counts)
    assert lists.identity(found) == hashlib.sha256((tmp_path / "p.json").read_bytes()).hexdigest()
    assert lists.identity(made) == partition_hash(made.counts)      # as it always was
    # the order in which a file names examples is not a part of it, which client has which is
    shuffled = json.loads((tmp_path / "p.json").read_text())
    for client in shuffled["clients"]:
        client["train"].reverse()
    assert lists.identity(lists.read(written(tmp_path / "q.json", shuffled), data)) == lists.identity(found)
    shuffled["clients"].reverse()
    assert lists.identity(lists.read(written(tmp_path / "q.json", shuffled), data)) != lists.identity(found)


GOOD = {"clients": [{"train": [0, 1], "test": [0]}, {"train": [2]}]}


def client(**changes):
    return {"clients": [GOOD["clients"][0], {**GOOD["clients"][1], **changes}]}


@pytest.mark.parametrize("content, words", [
    (client(train=[2, 30]), "client 1: train has the index 30, and the data set's train images are 0 to 29"),
    (client(train=[-1]), "client 1: train has the index -1"),
    (client(train=[10**30]), f"client 1: train has the index {10**30}"),
    (client(test=[12]), "client 1: test has the index 12, and the data set's test images are 0 to 11"),
    (client(train=[2, 5, 2]), "client 1: train has the index 2 twice"),
    (client(train=[2, 1]), "client 1: train has the index 1, which client 0 has, too"),
    (client(test=[0]), "client 1: test has the index 0, which client 0 has, too"),
    (client(train=[]), "client 1 has no examples"),
    (client(train=[2.0]), "client 1: train is not a list of whole numbers"),
    (client(train=[True]), "client 1: train is not a list of whole numbers"),
    (client(train=["2"]), "client 1: train is not a list of whole numbers"),
    (client(train=[[2]]), "client 1: train is not a list of whole numbers"),
    (client(train={"2": 2}), "client 1: train is not a list of whole numbers"),
    (client(train=2), "client 1: train is not a list of whole numbers"),
    (client(tests=[3]), "client 1 has 'tests'"),
    ({"clients": [{"test": [0]}]}, "no client has training examples"),
    ({"clients": []}, "no list of clients"),
    ({"clients": [[0, 1]]}, "no list of clients"),
    ({"0": [0, 1], "1": [2]}, "no list of clients"),
    ([[0, 1], [2]], "no list of clients"),
    (b'{"clients": [{"train": [0, 1', "no lists of examples in JSON"),
    (b"{\xff}", "no lists of examples in JSON"),
    (b"[" * 100_000, "no lists of examples in JSON"),
    (b"{" + b'"a":[' * 100_000, "no lists of examples in JSON"),
])
def test_what_is_refused_names_file_client_and_form(tmp_path, data, content, words):
    path = written(tmp_path / "p.json", content)
    assert lists.is_lists(path)
    with pytest.raises(InputError) as error:
        lists.read(path, data)
    assert str(error.value).startswith(f"{path}: {words}") and str(error.value).endswith(lists.FORM)


def test_what_is_not_there_and_what_is_a_table(tmp_path, data):
    for path in (tmp_path, tmp_path / "missing", written(tmp_path / "t.csv", b"client,a,b,c\n0,1,1,1\n")):
        assert not lists.is_lists(path)
    with pytest.raises(InputError, match="cannot be read"):
        lists.read(tmp_path / "missing", data)
    assert lists.is_lists(written(tmp_path / "bom", b"\xef\xbb\xbf " + json.dumps(GOOD).encode()))
    assert len(lists.read(tmp_path / "bom", data).train) == 2
    if hasattr(os, "mkfifo"):       # would be waited for, for ever
        os.mkfifo(tmp_path / "fifo")
        assert not lists.is_lists(tmp_path / "fifo")
