"""Downloads of the scripts from a server on this machine: interrupted, resumed, wrong; with cifar10.py."""

import functools
import http.server

import pytest

from minifl.data import cifar
from minifl.data.files import read_dataset

from scripting import fails, flipped, genuine, listing, md5, run

cifar10 = functools.partial(run, "cifar10")
PART = "cifar-10-binary.tar.gz.part"


@pytest.fixture
def serve(serve):
    serve.files["cifar.tar.gz"] = genuine()
    serve.file = f"{serve.url}/cifar.tar.gz"
    return serve


def fetch(out, serve, *args):
    return cifar10("--data-dir", out, "--url", serve.file, "--md5", md5(genuine()), *args)


@pytest.mark.parametrize("says_length", [True, False])
def test_download(out, serve, says_length):
    serve.says_length = says_length
    result = fetch(out, serve)
    assert result.exit_code == 0, result.output
    assert listing(out) == ["cifar10.npz"] and serve.asked == [None]
    assert serve.file in read_dataset(out / "cifar10.npz").source


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_connection_is_resumed(out, serve, ranges):
    serve.ranges = ranges
    sizes = []
    for serve.cut in (70_000, 120_000 if ranges else 60_000):
        fails(fetch(out, serve), "stopped after", f"of {len(genuine())} bytes", PART, "goes on from")
        assert listing(out) == [PART]
        sizes.append((out / PART).stat().st_size)
    assert sizes == [70_000, serve.cut]
    serve.cut = None
    result = fetch(out, serve)
    assert result.exit_code == 0, result.output
    assert serve.asked == [None, "bytes=70000-", f"bytes={sizes[1]}-"]
    assert listing(out) == ["cifar10.npz"]
    read_dataset(out / "cifar10.npz")


def test_whole_part_is_not_loaded_again(out, serve):
    (out / PART).write_bytes(genuine())
    assert fetch(out, serve).exit_code == 0
    assert serve.asked == [f"bytes={len(genuine())}-"]
    read_dataset(out / "cifar10.npz")


def test_part_longer_than_the_archive_is_given_up(out, serve):
    (out / PART).write_bytes(bytes(len(genuine()) + 1))
    assert fetch(out, serve).exit_code == 0
    assert serve.asked == [f"bytes={len(genuine()) + 1}-", None]
    read_dataset(out / "cifar10.npz")


def test_wrong_hash_leaves_nothing(out, serve):
    serve.files["cifar.tar.gz"] = flipped(genuine())
    fails(fetch(out, serve), f"md5 {md5(serve.files['cifar.tar.gz'])}", f"must be {md5(genuine())}", "removed")
    assert listing(out) == []


def test_part_of_something_else_is_found_out_and_removed(out, serve):
    (out / PART).write_bytes(b"something else")
    fails(fetch(out, serve), "md5")
    assert listing(out) == []


def test_server_that_sends_another_part_is_not_believed(out, serve):
    (out / PART).write_bytes(genuine()[:1000])
    serve.lie = 1
    fails(fetch(out, serve), "another part")
    assert (out / PART).read_bytes() == genuine()[:1000]


def test_official_checksum_is_the_default_for_a_download(out, serve):
    fails(cifar10("--data-dir", out, "--url", serve.file), cifar.CIFAR10.known.md5)
    assert listing(out) == []


def test_server_that_refuses_and_server_that_is_not_there(out, serve):
    fails(cifar10("--data-dir", out, "--url", serve.file + "x"), "404", "--from")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/"
    fails(cifar10("--data-dir", out, "--url", url), url, "--from")
    assert listing(out) == []


def test_interrupted_conversion_keeps_the_download_and_writes_nothing(out, serve, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", interrupt)
        assert fetch(out, serve).exit_code == 1
    assert listing(out) == [PART]
    assert fetch(out, serve).exit_code == 0 and listing(out) == ["cifar10.npz"]
