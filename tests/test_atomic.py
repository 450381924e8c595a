"""Writing what a user names: onto regular files only, links followed, whole or not at all."""

import io
import os
import socket
import stat
import sys

import pytest

from minifl.atomic import appending, check, is_stream, replacing, temporary_beside
from minifl.errors import InputError

LONGEST = 255       # bytes of a name, on nearly every file system


def write(path, content=b"new"):
    with replacing(path) as f:
        f.write(content)


def pipe(path):
    os.mkfifo(path)


def device(path):
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))      # one like /dev/null, here
    except PermissionError:
        pytest.skip("only an administrator makes devices")


def bound(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))


@pytest.mark.parametrize("make, kind", [(pipe, "a named pipe"), (device, "a device"), (os.mkdir, "a directory"),
                                        (bound, "a socket")])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_stays(tmp_path, make, kind, linked):
    path = tmp_path / "there"
    make(path)
    before = os.lstat(path)
    if linked:
        path = tmp_path / "link"
        path.symlink_to("there")
    for writes in (write, lambda path: check(path), lambda path: appending(path).__enter__()):
        with pytest.raises(InputError, match=f"{path.name} exists and cannot be written: it is {kind}"):
            writes(path)
    assert os.path.samestat(os.lstat(tmp_path / "there"), before)
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to(tmp_path / "middle")
    (tmp_path / "middle").symlink_to("folder/target")
    write(link)
    assert link.is_symlink() and (tmp_path / "middle").is_symlink() and target.read_bytes() == b"new"
    with appending(link) as f:
        f.write(b"er")
    assert target.read_bytes() == b"newer" and [p.name for p in (tmp_path / "folder").iterdir()] == ["target"]


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="a: cannot be written"):
        write(tmp_path / "a")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_permissions_are_kept(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"
    new, mask = tmp_path / "new", os.umask(0o027)
    try:
        write(new)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only an administrator gives files away")
def test_the_owner_is_kept(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 1234)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234)


@pytest.mark.parametrize("name", ["x" * LONGEST, "ä" * (LONGEST // 2), "\U0001f600" * (LONGEST // 4)])
def test_the_longest_names(tmp_path, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"new" and len(os.listdir(tmp_path)) == 1
    assert len(os.fsencode(temporary_beside(tmp_path / name).name)) <= LONGEST


@pytest.mark.parametrize("name, why", [("x" * (LONGEST + 1), "too long"), ("a\0b", "null byte"), ("\ud800", "surrogates")])
def test_names_that_no_file_has(tmp_path, name, why):
    for writes in (write, check, lambda path: appending(path).__enter__()):
        with pytest.raises(InputError, match=f"cannot be written .*{why}"):
            writes(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_name_of_other_bytes(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xe4")
    write(path)
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xe4"]


def test_what_another_process_left_is_no_trap(tmp_path):
    (tmp_path / "mine").write_text("mine")
    temporary_beside(tmp_path / "file").symlink_to("mine")
    write(tmp_path / "file")
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").is_symlink()


class Stream:
    """As sys.stdout: text, with bytes below."""

    def __init__(self, raw):
        self.buffer = raw

    def flush(self):
        self.buffer.flush()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_streams_are_written_to(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", Stream(io.BytesIO(b"")))
    write(name)
    assert sys.stdout.buffer.getvalue() == b"new" and is_stream(name) and os.listdir() == []
    with pytest.raises(ZeroDivisionError), replacing(name) as f:
        f.write(b"half")
        raise ZeroDivisionError
    assert sys.stdout.buffer.getvalue() == b"new"       # whole or not at all


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_or_closed_stream(monkeypatch):
    with open("/dev/full", "wb") as full:
        monkeypatch.setattr(sys, "stdout", Stream(full))
        with pytest.raises(InputError, match="-: cannot be written .*No space left"):
            write("-")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match="stdout is closed"):
        write("/dev/stdout")
