"""A slice of tests/fuzzing, which is run whole by hand: python tests/fuzzing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZING = Path(__file__).resolve().parent / "fuzzing"


def fuzzed(*options):
    return subprocess.run([sys.executable, FUZZING, *map(str, options)], capture_output=True, text=True, timeout=600)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a case is a forked process")
def test_a_slice_of_it_finds_nothing():
    pytest.importorskip("matplotlib"), pytest.importorskip("PIL")
    done = fuzzed("--lines", 14, "--files", 20)
    assert done.returncode == 0 and "\n0 findings" in done.stdout, done.stdout + done.stderr


def test_it_would_find_something(tmp_path):
    """A traceback, a hang, a refusal without a name and a file that is read though it is damaged are told apart."""
    sys.path.insert(0, str(FUZZING))
    import damage
    import ground
    from lines import judged

    def raises():
        raise KeyError("x")

    def waits():
        import time
        time.sleep(60)

    before, ground.LIMIT = ground.LIMIT, 1
    try:
        assert judged(ground.in_process(raises, tmp_path)) == "traceback"
        assert judged(ground.in_process(waits, tmp_path)) == "hang"
        assert judged(ground.in_process(lambda: os.kill(os.getpid(), 9), tmp_path)) == "traceback"
        assert judged(ground.in_process(lambda: sys.exit(2), tmp_path)) == "unnamed"
        assert judged(ground.in_process(lambda: print("x"), tmp_path)) == "done"
    finally:
        ground.LIMIT = before
    target = damage.Target("run/model.npz", (("eval", "run"),))
    sound, other = ground.Ended(0, "Test accuracy: 12 %", ""), ground.Ended(0, "Test accuracy: 11 %", "")
    named, unnamed = (ground.Ended(2, "", f"Error: {name} is damaged") for name in ("run/model.npz", "--lr"))
    assert [damage._verdict(target, (sound, {}), (ended, {})) for ended in (sound, other, named, unnamed)] == [
        "the same", "silent", "refused", "unnamed"]
