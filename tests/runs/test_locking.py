"""Who holds the lock of a run."""

import os

import pytest

from minifl.runs import locking


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc here")
def test_a_process_with_any_name_is_there(tmp_path, monkeypatch):
    """The system says a process's name as it is, in bytes of no encoding and with brackets in it."""
    began = locking.born(os.getpid())
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2]
    monkeypatch.setattr(locking, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_bytes(b"7 (\xff) a \xc3)" + fields)
    assert locking.born(7) == began is not None and locking.born(8) is None
