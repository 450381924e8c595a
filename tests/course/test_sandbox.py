"""The layers of the sandbox: each is tried alone, what is missing is said and refused, and nothing outlives grading."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import SHORT, SOURCE as REFERENCE

from minifl.course import attempts, calls, layers, limits, process, sandbox
from minifl.errors import InputError

ROOT = os.geteuid() == 0
WHOLE = pytest.mark.skipif(limits.version() < 6 or os.uname().machine not in calls.MACHINES,
                           reason="this kernel has no Landlock of version 6, or the machine no list of calls")
AS_ROOT = pytest.mark.skipif(not ROOT, reason="only root can become another user")
WITHOUT = {
    "landlock": ("limits.py", "    abi = version()\n", "    abi = 0\n"),
    "landlock 4": ("limits.py", "    abi = version()\n", "    abi = 3\n"),
    "calls": ("calls.py", "    machine = os.uname().machine\n", "    return False\n"),
    "user": ("limits.py", "    if root and user and", "    if False and"),
    "processes": ("limits.py", "lower(resource.RLIMIT_NPROC, 0) and taken", "taken"),
    "hook": ("refusing.py", "    sys.addaudithook(hook)\n", ""),
}


def weaker(folder, *names):
    """The worker's files in a folder, without some layers."""
    shutil.copytree(process.FOLDER, folder, ignore=shutil.ignore_patterns("hw*", "__pycache__"))
    for file, text, other in map(WITHOUT.get, names):
        source = (folder / file).read_text(encoding="utf-8")
        assert source.count(text) == 1
        (folder / file).write_text(source.replace(text, other), encoding="utf-8")
    return folder


@pytest.fixture
def without(monkeypatch, tmp_path):
    """names of layers -> from here on workers do without them."""
    return lambda *names: monkeypatch.setattr(process, "FOLDER", weaker(tmp_path / "weaker", *names))


def done(found):
    return {name for name, refused in found.items() if not refused}


# ---- each layer, tried

@WHOLE
def test_all_is_refused():
    said, found = sandbox.tried(SHORT)
    text, sound = sandbox.table(said, found)
    assert sound and layers.missing(said) == [] and done(found) == set(), text
    assert found[attempts.WITH_HOOK] == "in words" and "missing" not in text and "DONE" not in text


CASES = {
    ("calls",): (["calls"], {"send by UDP", "have the kernel signal it", "open an io_uring"}),
    ("landlock",): (["files"], {"read a file that every user may read", "list a folder"}),
    ("calls", "landlock 4"): (["calls"], {"connect by TCP", "send by UDP", "connect to an abstract Unix socket"}),
}


@WHOLE
@pytest.mark.parametrize("names", CASES, ids="+".join)
def test_what_a_layer_alone_keeps_out(without, monkeypatch, names):
    """Without some, the others still refuse what they say, and what is missing is said."""
    without(*names)
    monkeypatch.setattr(process, "_open_to_all", lambda paths: not ROOT or names != ("landlock",))
    said, found = sandbox.tried(SHORT)
    missing, possible = CASES[names]
    assert [layer for layer, state in layers.state(said).items() if state == "missing" and layer != "user"] == missing
    assert possible <= done(found)
    text, sound = sandbox.table(said, found)
    assert not sound and "though" not in text and "missing" in text
    if names == ("calls", "landlock 4"):
        assert "Landlock's version 3 refuses no signals and no TCP" in text


@WHOLE
@AS_ROOT
def test_root_where_others_cannot_reach_python(without, monkeypatch):
    """With Landlock the worker is another user all the same, who may read whatever the mode; without, it stays root."""
    monkeypatch.setattr(process, "_open_to_all", lambda paths: False)
    said, found = sandbox.tried(SHORT)
    assert said["user"] and layers.missing(said) == [] and done(found) == set()
    without("landlock", "calls")
    said, found = sandbox.tried(SHORT)
    assert said["user"] == 0 and [line.split(" is ")[0] for line in layers.missing(said)] == [
        "Landlock", "another user", "the list of calls (seccomp)"]
    assert {"run a program", "read a private file of whoever grades"} <= done(found)


@AS_ROOT
@WHOLE
def test_who_is_not_root(tmp_path):
    """All but another user; without the list of calls, the kernel's signals and UDP are left."""
    weaker(tmp_path / "without/course", "calls")
    code = ("import sys, json; from pathlib import Path; from minifl.course import process, sandbox\n"
            "for folder in (process.FOLDER, Path(sys.argv[1])): process.FOLDER = folder; print(json.dumps(sandbox.tried()))")
    able = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"]
    said = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *able,     # Python may be root's
                           sys.executable, "-B", "-c", code, tmp_path / "without/course"], capture_output=True,
                          encoding="utf-8", cwd="/", env={**os.environ, "PYTHONPATH": str(Path(layers.__file__).parents[2])})
    (whole, found), (_, weak) = map(json.loads, said.stdout.splitlines())
    assert layers.state(whole) == dict.fromkeys(layers.state(whole), "there") | {"user": "not needed"}
    assert done(found) == set() and {"send by UDP", "have the kernel signal it"} <= done(weak)
    assert not done(weak) & {"read a private file of whoever grades", "read the memory of the grader's process",
                             "start a process", "run a program", "read the environment of the grader's process"}


@WHOLE
def test_a_submission_past_the_hook(grade, without):
    """Its own code in the worker itself, which lacks the hook alone, makes the same attempts: the kernel refuses each."""
    without("hook")
    source = Path(attempts.__file__).read_text(encoding="utf-8").partition("def sibling")[0]
    with sandbox.targets() as (base, at):
        code = f"""
    import json
    done = []
    for name, attempt in attempts({at!r}, {str(base / 'tree')!r}, 1024).items():
        try:
            attempt()
            done.append(name)
        except (OSError, ValueError, MemoryError):
            pass
    assert len(BY) > 20
    raise ValueError(f"done: {{json.dumps(done)}}")
"""
        graded = grade(REFERENCE.replace("    twice_the", f"{code}\n    twice_the", 1) + source, limits=SHORT._replace(weak=True))
    assert "done: []" in graded.public[0].message


def test_the_secret_decides_where_landlock_is_missing():
    """As root, and only there: another user whom the secret is closed to is enough."""
    said = {"limits": True, "landlock": 0, "root": True, "user": 7, "open": [], "calls": True, "hook": True}
    assert layers.missing(said) == [] and layers.state(said)["files"] == "not needed"
    assert "could not read /class" in layers.missing(said | {"open": ["/class"]})[1]
    for other in ({"open": ["/class"]}, {"root": False}, {"user": 0}):
        assert "Landlock is missing" in layers.missing(said | other)[0]
    for name in ("limits", "calls", "hook"):
        assert len(layers.missing(said | {name: False})) == 1
    assert len(layers.missing({})) == len(layers.LAYERS)


# ---- the list of calls

def verdict(machine, number, *arguments, architecture=None):
    """What the filter returns for a call of a process 77."""
    steps, at, value = calls.program(machine, 77), 0, 0
    while True:
        operation, true, false, k = steps[at]
        at += 1
        if operation == calls.LOAD:
            value = {0: number, 4: architecture or calls.MACHINES[machine][1]}.get(k, 0) if k < 16 else arguments[(k - 16) // 8]
        elif operation == calls.RETURN:
            return k
        else:
            holds = {calls.EQUAL: value == k, calls.ANY_BIT: value & k, calls.AT_LEAST: value >= k}[operation]
            at += true if holds else false


@pytest.mark.parametrize("machine", calls.MACHINES)
def test_the_filter(machine):
    looked_at, allowed = calls.numbers(calls.LOOKED_AT, machine), calls.numbers(calls.ALLOWED, machine)
    assert {verdict(machine, number) for number in allowed.values()} == {calls.ALLOW}
    opened = [verdict(machine, looked_at["openat"], 0, 0, flags) for flags in (0, os.O_CLOEXEC, os.O_WRONLY, os.O_RDWR, os.O_CREAT)]
    assert opened == [calls.ALLOW] * 2 + [calls.REFUSE] * 3
    assert [verdict(machine, looked_at["fcntl"], 3, command) for command in (1, 2, 1030, 8)] == [calls.ALLOW] * 3 + [calls.REFUSE]
    for name in ("kill", "tkill", "tgkill"):
        assert [verdict(machine, looked_at[name], who) for who in (77, 1, 0, 2**32 - 1)] == [calls.ALLOW] + [calls.REFUSE] * 3
    refused = set(range(440)) - {*allowed.values(), *looked_at.values()}
    assert {verdict(machine, number) for number in refused} == {calls.REFUSE}
    assert verdict(machine, 441) == verdict(machine, 0x40000000) == calls.NO_SUCH_CALL      # the second is x32's read
    assert verdict(machine, 0, architecture=0x40000003) == calls.END                        # calls of 32 bits


@pytest.mark.parametrize("machine, header", [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
                                             ("aarch64", "/usr/include/asm-generic/unistd.h")])
def test_the_numbers_are_the_kernels(machine, header):
    if not os.path.exists(header):
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text(encoding="utf-8"))
    known = {"newfstatat" if name == "fstatat" else name: int(number) for name, number in found}
    for table in (calls.ALLOWED, calls.LOOKED_AT, f"seccomp {calls.MACHINES['x86_64'][2]} {calls.MACHINES['aarch64'][2]}"):
        for name, number in calls.numbers(table, machine).items():
            assert known[name] == number, name


# ---- what is missing is refused, or said

@WHOLE
@pytest.mark.parametrize("name", ["calls", pytest.param("user", marks=AS_ROOT)])
def test_grading_refuses_where_a_layer_is_missing(grade, without, name):
    without(name)
    words = {"calls": r"the list of calls \(seccomp\) is missing: ", "user": "another user is missing: "}[name]
    with pytest.raises(InputError, match=f"has holes here: {words}.*--weak-sandbox"):
        grade(REFERENCE)
    graded = grade(REFERENCE, limits=SHORT._replace(weak=True))
    assert graded.earned == 5 and re.match(words, graded.evidence[0])


# ---- what is started ends

LEAVING = """
def leave():
    '''A process of its own session, whose parent has ended: neither the worker's group nor below it.'''
    child = os.fork()
    if child == 0:
        os.setsid()
        if PARENT_ENDS and os.fork():
            os._exit(0)
        for descriptor in range(3, 64):
            try: os.close(descriptor)
            except OSError: pass
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        os._exit(0)
    if PARENT_ENDS: os.waitpid(child, 0)


import os, signal, time
leave()
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("by", [pytest.param("user", marks=AS_ROOT), pytest.param("adopted", marks=AS_ROOT), "ancestor"])
def test_nothing_outlives_grading(grade, without, monkeypatch, by):
    """A worker without list of calls, limit of processes and audit hook, so that a child can leave."""
    without("calls", "processes", "hook", *(["user"] if by == "adopted" else []))
    ended, left = set(), process._left
    monkeypatch.setattr(process, "_left", lambda *of: ended.update(found := left(*of)) or found)
    if by == "adopted":
        monkeypatch.setattr(process, "_adopted", False)
        process.adopt()
    try:
        graded = grade(f"PARENT_ENDS = {by != 'ancestor'}\n" + LEAVING + REFERENCE, limits=SHORT._replace(weak=True))
    finally:
        if by == "adopted":
            ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    assert graded.earned == 5 and ended and not any(map(alive, ended))


def test_a_worker_ends_with_its_judge(tmp_path):
    """However that ends; an endless call does not keep it."""
    code = f"""
import os, signal, sys
from minifl.course.remote import Limits, Remote
student = Remote({str(tmp_path)!r}, Limits(seconds=30, megabytes=1024))
student.begin_test()
student.start()
print(student.process.pid, flush=True)
signal.setitimer(signal.ITIMER_REAL, 0.5)
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
student("minifl.m").wait()
"""
    (tmp_path / "minifl").mkdir()
    for name, text in (("__init__", ""), ("m", "import time\ndef wait():\n    while True: time.sleep(1)\n")):
        (tmp_path / f"minifl/{name}.py").write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == -9, done.stderr
    ends = time.monotonic() + 10
    while alive(int(done.stdout)) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not alive(int(done.stdout))
