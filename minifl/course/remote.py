"""`student` of the grader: a submission's functions in a process of their own, worker.py, over json_lines.py.

Arguments are copies: a function that changes its input does not change the test's. What comes back is plain data or a
json_lines.Handle. A function that raises, takes too long, or ends its process raises here what `running.run` says to the
student; a process that does not answer as it should is replaced, so that the next test finds none of this.
"""

import json
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import minifl
from minifl.course import json_lines, layers, process, running
from minifl.errors import InputError

PACKAGE = Path(minifl.__file__).resolve().parent
PER_TEST = 6           # a test may take as many times as long as a call
STARTING = 60          # seconds: NumPy on a busy machine
PATIENCE = 2           # calls of a function that may take too long before it is not called any more

# What a test may expect a function to raise is also of that type here.
EXPECTED = {base.__name__: type(base.__name__, (running.Wrong, base), {})
            for base in (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError)}


class Limits(NamedTuple):
    """What a submission may use."""
    seconds: float = 10.0     # for a call
    total: float = 600.0      # seconds for all tests
    megabytes: int = 2048
    weak: bool = False        # grade though a layer of the sandbox is missing


class Late(running.Wrong):
    """The time of a call, a test or the submission is over."""


class Remote:
    """The `student` of tests; the worker is started when it is needed. secret: folders that it cannot read."""

    def __init__(self, tree, limits, secret=()):
        self.tree, self.limits = Path(tree).resolve(), limits
        self.secret = [str(PACKAGE), *(str(Path(folder).resolve()) for folder in secret)]
        self.process = self.channel = None
        self.test_ends = self.all_ends = time.monotonic() + limits.total
        self.loaded, self.broken, self.slow = set(), {}, {}     # modules; module -> why not; function -> how often
        self.told, self.refused, self.generation = [], [], 0    # of this test; of all; of processes
        self.until, self.missing = "", []     # missing: layers of the sandbox

    def __call__(self, module):
        return _Functions(self, module)

    def begin_test(self) -> None:
        """A test begins: its time, and nothing that the one before has left."""
        own = time.monotonic() + PER_TEST * self.limits.seconds
        self.test_ends, self.told = min(self.all_ends, own), []
        self.until = (f"the test took longer than {PER_TEST * self.limits.seconds:g} s" if own < self.all_ends else
                      f"the {self.limits.total:g} s for the whole submission are used up")
        if self.process is not None:
            with suppress(running.Wrong):
                self._ask({}, "the submission")

    def left(self) -> float:
        """Seconds that the test has left."""
        return max(0.0, self.test_ends - time.monotonic())

    def call(self, module: str, name: str, arguments: tuple, options: dict) -> Any:
        """The result of one call; Wrong, or what the student's function raised as NotImplementedError."""
        if self.slow.get((module, name), 0) >= PATIENCE:
            raise running.Wrong(f"{name} took longer than {self.limits.seconds:g} s before: an infinite loop? "
                                "It is not called any more")
        if self.process is None:
            self.loaded = set()
        if module not in self.loaded:
            self._load(module)
        try:
            return self._ask({"module": module, "name": name, "arguments": arguments, "options": options}, name)
        except Late:
            self.slow[module, name] = self.slow.get((module, name), 0) + (time.monotonic() < self.test_ends)
            raise

    def stop(self) -> int | None:
        """End the process and what it started; its exit code."""
        ended, self.process = self.process, None
        return None if ended is None else process.end(ended, self.channel)

    def _load(self, module):
        """Import a module in the worker, or say why that failed, without trying a second time."""
        if module not in self.broken:
            try:
                self._ask({"module": module}, module)
                self.loaded.add(module)
                return
            except NotImplementedError as error:
                self.broken[module] = f"{module} raised NotImplementedError: {error}"
            except running.Wrong as error:
                if time.monotonic() >= self.test_ends:
                    raise
                self.broken[module] = str(error)
        raise running.Wrong(self.broken[module])

    def _ask(self, request, name):
        """The result of a request; `name` is what is to blame."""
        number = secrets.token_hex(8)
        if self.process is None:
            self.start()
        line = json_lines.dumps({"id": number, **request})
        ends = min(time.monotonic() + self.limits.seconds, self.test_ends)
        try:
            reply = self._exchange(line, number, ends)
        except TimeoutError:
            self.stop()
            if ends == self.test_ends:
                raise Late(self.until) from None
            raise Late(f"{name} took longer than {self.limits.seconds:g} s: an infinite loop?") from None
        except OSError:
            raise running.Wrong(f"{name} {self._ending()}") from None
        except json_lines.Malformed as error:
            self.stop()
            raise running.Wrong(f"{name} gave back what cannot be read: {error}") from None
        self._tell(reply)
        if "error" not in reply:
            return reply.get("result")
        error, message, where = (_text(reply.get(key)) for key in ("error", "message", "where"))
        if error == "NotImplementedError":
            raise NotImplementedError(message)
        more = f" (there are {self.limits.megabytes} MB)" if error.endswith("MemoryError") else ""
        said = f"{name} raised {error}: {message}{more}" + (f" ({where})" if where else "")
        raise EXPECTED.get(error, running.Wrong)(said)

    def start(self) -> None:
        """Start the worker. Raises InputError if that fails, which no submission can be the cause of."""
        if time.monotonic() >= self.test_ends:
            raise Late(self.until)
        self.generation += 1
        self.process, self.channel = process.start(self.tree)
        try:     # nothing of the submission has run when it says that it is ready
            config = process.config(self.tree, self.secret, self.limits.megabytes, self.limits.total, self.generation << 32)
            said = self._exchange(json.dumps(config), "ready", time.monotonic() + STARTING)["layers"]
            self.process.stderr.close()
        except (OSError, json_lines.Malformed):
            said, _ = self.process, self.stop()
            text = said.stderr.read().decode(errors="replace")[-1000:]
            raise InputError(f"--memory {self.limits.megabytes}: the grader's process does not start; give more. "
                             f"{text}") from None
        self.missing = layers.missing(said)
        if self.missing and not self.limits.weak:
            self.stop()
            raise InputError(f"the sandbox has holes here: {'; '.join(self.missing)}. {layers.ADVICE}")

    def _exchange(self, line, number, ends):
        """Send a line; the reply, which carries its number. TimeoutError, OSError if the worker has gone, Malformed."""
        self._wait(ends)
        self.channel.sendall(line.encode() + b"\n")
        data = bytearray()
        while not data.endswith(b"\n"):
            self._wait(ends)
            part = self.channel.recv(2**20)
            if not part:
                raise ConnectionError
            data += part
            if len(data) > json_lines.MOST_BYTES + 1:
                raise json_lines.Malformed(f"more than {json_lines.MOST_BYTES >> 20} MB of data")
        reply = json_lines.loads(data.decode(errors="replace"))
        if type(reply) is not dict or reply.get("id") != number:
            raise json_lines.Malformed("an answer to another question")
        return reply

    def _wait(self, ends):
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.channel.settimeout(left)

    def _ending(self):
        """Why the worker has gone."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.stop()
            return "ended the connection to the grader"
        self.stop()
        if code < 0:
            return f"ended its process ({signal.Signals(-code).name}): a crash, or more time or memory than allowed?"
        return f"ended its process (exit code {code}): os._exit?"

    def _tell(self, reply):
        """Keep what was refused and the beginning of what was printed."""
        refused = reply.get("refused")
        for text in refused[:5] if type(refused) is list else ():
            text = _text(text)[:300]
            self.told.append(text)
            if text not in self.refused and len(self.refused) < 20:
                self.refused.append(text)
        printed = _text(reply.get("printed")).strip()
        if printed:
            self.told.append(f"printed: {printed[:300]}")

class _Functions:
    """The functions of one module."""

    def __init__(self, remote, module):
        self._remote, self._module = remote, module

    def __getattr__(self, name):
        return lambda *arguments, **options: self._remote.call(self._module, name, arguments, options)


def _text(value):
    return value if type(value) is str else ""
