"""Reading what a user names: regular files only, no more than a limit, and nothing that unpacks to more than it is."""

import gzip
import io
import json
import os
import stat
import zipfile

import numpy as np
import pytest

from minifl import reading


def refused(call, why, kind=OSError):
    with pytest.raises(kind) as caught:
        call()
    assert why in (caught.value.strerror if kind is OSError else str(caught.value))


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_not_waited_for(tmp_path, linked):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    for read in (reading.whole, reading.check_regular, reading.json_file, lambda path: reading.opened(path).__enter__()):
        refused(lambda: read(path), "it is a named pipe, and only regular files are read")


def test_devices_and_folders(tmp_path):
    refused(lambda: reading.whole(tmp_path), "Is a directory")
    refused(lambda: reading.whole("/dev/zero"), "it is a device")
    try:
        os.mknod(tmp_path / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        return
    refused(lambda: reading.whole(tmp_path / "device"), "it is a device")


@pytest.mark.parametrize("name, why", [("x" * 256, "too long"), ("a\0b", "no file can be called so"),
                                       ("\ud800", "no file can be called so"), ("nothing", "No such file")])
def test_names_that_no_file_has(tmp_path, name, why):
    refused(lambda: reading.whole(tmp_path / name), why)


def test_a_limit(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as f:
        f.truncate(1 << 40)      # a file with a hole: it takes no space
    refused(lambda: reading.whole(path), "more than 1,073,741,824 bytes")
    path.write_bytes(b"12345")
    assert reading.whole(path, 5) == b"12345"
    refused(lambda: reading.whole(path, 4), "more than 4 bytes")
    assert reading.rest(io.BytesIO(b"12345"), 5) == b"12345"
    refused(lambda: reading.rest(io.BytesIO(b"12345"), 4), "more than 4 bytes")


class Endless(io.RawIOBase):
    given = 0

    def read(self, n):
        self.given += n
        return bytes(n)


def test_what_unpacks_without_end_is_left_at_the_limit():
    file = Endless()
    refused(lambda: reading.rest(file, 5 << 20), "more than 5,242,880 bytes")
    assert file.given <= 7 << 20


def test_what_gzip_packed_in_any_parts():
    content = np.random.default_rng(0).bytes(300_000) + bytes(300_000)
    for packed in (gzip.compress(content), gzip.compress(content[:7]) + gzip.compress(b"") + gzip.compress(content[7:]),
                   gzip.compress(content) + bytes(200_000)):
        for size in (1 << 10, 1 << 20):
            file, found = reading.Unpacking(io.BytesIO(packed)), b""
            while part := file.read(size):
                assert len(part) <= size
                found += part
            assert found == content
    assert reading.Unpacking(io.BytesIO(b"")).read(5) == b""
    for i in (5, 100, len(packed) - 200_001, len(packed) - 200_009):
        refused(lambda: reading.rest(reading.Unpacking(io.BytesIO(packed[:i]))), "ends too early")
    for damaged in (b"no gzip", packed[:1000] + b"!!" + packed[1002:], packed[:-200_002] + b"!", packed + b"x"):
        refused(lambda: reading.rest(reading.Unpacking(io.BytesIO(damaged))), "it ")


def test_zeros_behind_an_archive_are_not_looked_at_one_by_one():
    class Padded(io.RawIOBase):
        calls = 0

        def read(self, n):
            self.calls += 1
            return packed if self.calls == 1 else bytes(n) if self.calls < 100 else b""

    packed, file = gzip.compress(b"all"), Padded()
    assert reading.rest(reading.Unpacking(file)) == b"all" and file.calls == 100


@pytest.mark.parametrize("begin", ["[", '{"a":', '[{"a":['])
def test_brackets_without_end(tmp_path, begin):
    (tmp_path / "deep").write_text(begin * 100_000)
    refused(lambda: reading.json_file(tmp_path / "deep"), "nested too deeply", ValueError)


def test_json_files(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": [1, "ä"]}, ensure_ascii=False).encode())
    assert reading.json_file(tmp_path / "a") == {"a": [1, "ä"]}
    for content in (b"", b"\xff\xfe[\0]\0", b"[1,", b"\xe4"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueError):
            reading.json_file(tmp_path / "a")


def packed(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content


def test_arrays():
    found = reading.arrays(packed(a=np.arange(6).reshape(2, 3), b=np.zeros(0), c=np.array("text")))
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"].shape == (0,) and found["c"] == "text"


def test_arrays_that_unpack_to_more_than_their_file():
    content = io.BytesIO()
    np.savez_compressed(content, a=np.zeros(1 << 20))
    refused(lambda: reading.arrays(content), "compressed", ValueError)
    content = packed(a=np.zeros(1000))
    raw = bytearray(content.getvalue())
    at = raw.rindex(b"PK\1\2") + 20     # of the central directory: packed and unpacked size
    raw[at:at + 8] = (3 << 30).to_bytes(4, "little") * 2
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        reading.arrays(io.BytesIO(raw))


def test_every_flipped_bit_of_an_array_is_noticed():
    content = packed(a=np.arange(4, dtype=np.float32))
    raw, right = content.getvalue(), np.arange(4, dtype=np.float32)
    for i in range(len(raw)):
        damaged = bytearray(raw)
        damaged[i] ^= 1 << i % 8
        try:
            found = reading.arrays(io.BytesIO(damaged))
        except Exception:       # as many types as there are; who calls makes an InputError of all
            continue
        assert list(found) != ["a"] or found["a"].dtype == right.dtype and np.array_equal(found["a"], right)


def test_objects_are_not_unpickled():
    refused(lambda: reading.arrays(packed(a=np.array([{}], object))), "allow_pickle", ValueError)
