"""A class, graded in parallel: each submission by a process of its own (one.py), which may end in any way without harm to
the others, to what is already graded, or to this process. This one opens no submission and runs nothing of it."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from minifl import processes
from minifl.course import assignments
from minifl.course.assignments import ROOT

PATIENCE = 60     # seconds that a judge may take longer than its submission's sum
ENDING = 10       # seconds in which it ends what it has started
MOST = 64 << 20   # bytes of an answer
STATUS = {"graded", "same", "bad", "refused"}


def basis(assignment: assignments.Assignment, options: dict, *files: str | Path | None) -> str:
    """A hash of what a mark depends on besides the submission: the grader's and the assignment's sources, options, and files
    of the instructor, or those in their folders."""
    sources = [ROOT / file for file in (*assignment.files, *assignment.given)]
    sources += [path for path in (ROOT / "minifl/course").rglob("*") if path.suffix in (".py", ".md")]
    for path in map(Path, filter(None, files)):
        sources += [path / f"{assignment.name}.json", path / f"{assignment.name}.py"] if path.is_dir() else [path]
    found = hashlib.sha256(json.dumps([assignment.name, options]).encode())
    for path in sorted(set(sources)):
        found.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return found.hexdigest()


def run(jobs: list[dict], at_a_time: int) -> Iterator[tuple[dict, dict]]:
    """(job, answer) of each job, as they are done; see one.py for both, and {"status": "failed", "why", "stopped"} for a
    process that gave no answer. What still runs is ended when the caller leaves."""
    started, leaving, lock = set(), threading.Event(), threading.Lock()

    def one(job):
        with TemporaryDirectory(prefix="minifl-batch-") as folder:      # which goes, however the process ends
            os.chmod(folder, 0o711)      # a submission's process is another user
            with lock:
                if leaving.is_set():
                    return None
                process = subprocess.Popen(processes.command("minifl.course.one"), env=os.environ | {"TMPDIR": folder},
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                           start_new_session=True)
                started.add(process)
            try:
                return _answer(process, job)
            finally:
                with lock:
                    started.discard(process)

    pool = ThreadPoolExecutor(at_a_time)
    try:
        waiting = {pool.submit(one, job): job for job in jobs}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:
        with lock:
            leaving.set()
            left = list(started)
            for process in left:
                process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + ENDING
        for process in left:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, ends - time.monotonic()))
            process.kill()
        pool.shutdown(cancel_futures=True)


def _answer(process, job):
    """What a process of one.py says to a job."""
    output = {}

    def collect(name):
        with getattr(process, name) as stream:
            output[name] = stream.read(MOST)

    readers = [threading.Thread(target=collect, args=(name,), daemon=True) for name in ("stdout", "stderr")]
    for reader in readers:
        reader.start()
    seconds = job["limits"]["total"] + PATIENCE
    stopped = False
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()        # and it stays open: its end is the sign that this process is gone
        process.wait(seconds)
    except BrokenPipeError:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        stopped = True
        process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    process.stdin.close()
    for reader in readers:
        reader.join(ENDING)
    try:
        answer = json.loads(output.get("stdout", b""))
        if code == 0 and type(answer) is dict and answer.get("status") in STATUS:
            return answer
    except (ValueError, RecursionError):
        pass
    if stopped:
        return {"status": "failed", "why": f"took more than {seconds:g} s", "stopped": True}
    said = output.get("stderr", b"").decode(errors="replace").strip()[-3000:]
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return {"status": "failed", "why": f"its grading ended without a result ({ended})", "stopped": code < 0, "said": said}
