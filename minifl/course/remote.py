"""`student` of the grader: a submission's functions in a process of their own, worker.py, over json_lines.py.

Arguments are copies: what a function does to its input does not reach the test's. What comes back is plain data or a Handle.
Functions that are handed over are called here, when the student's code calls what stands for them there. A function
that raises, takes too long, or ends its process raises here what `running.run` says to the student; a process that does not
answer as it should is replaced, so that the next test finds none of this.
"""

import json
import os
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
MOST_EVIDENCE = 100    # lines

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


class Handle:
    """A module or an object of the student's that stays in its process: its attributes can be asked for and set, it can
    be called and handed over; for anything else it is no number, array, tuple, list or dict."""

    def __init__(self, remote, of, path):
        vars(self).update(_Handle__remote=remote, _Handle__of=of, _Handle__path=path)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__remote.ask(self.__named() | {"get": name}, f"{self.__path}.{name}")

    def __setattr__(self, name, value):
        self.__remote.ask(self.__named() | {"set": name, "value": value}, f"{self.__path}.{name}")

    def __call__(self, *arguments, **options):
        return self.__called(arguments, options, False)[0]

    def __with_arguments__(self, *arguments, **options):
        return self.__called(arguments, options, True)

    def __called(self, arguments, options, look):
        """(result, arguments and options as they are afterwards)."""
        found, changed = self.__remote.call(
            self.__named() | {"arguments": arguments, "options": options, "look": look}, self.__path)
        return found, *(changed or (list(arguments), options))

    def __named(self):
        return {"of": self} if self.__of is None else {"module": self.__of}

    def __repr__(self):
        return f"<{self.__path} of the student's>"

    def _opaque(self, *_, **__):
        raise TypeError(f"a function returned an object of type {self.__path}, where numbers, arrays, or tuples, lists or "
                        "dicts of these are expected")

    __array__ = __iter__ = __len__ = __getitem__ = __bool__ = __float__ = __int__ = __index__ = _opaque
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = _opaque
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __abs__ = __contains__ = _opaque


class Remote:
    """The `student` of tests; the worker is started when it is needed. secret: folders that it cannot read."""

    def __init__(self, tree, limits, secret=()):
        self.tree, self.limits = Path(tree).resolve(), limits
        self.secret = [str(PACKAGE), *(str(Path(folder).resolve()) for folder in secret)]
        self.process = self.channel = None
        self.objects = _Objects(lambda number, kind: Handle(self, None, self.path or kind))
        self.test_ends = self.all_ends = time.monotonic() + limits.total
        self.loaded, self.broken, self.slow = set(), {}, {}      # modules; module -> why not; function -> how often
        self.told, self.evidence, self.generation = [], [], 0    # of this test; of all; of processes
        self.until, self.path, self.missing = "", "", []         # missing: layers of the sandbox

    def __call__(self, module):
        return Handle(self, module, module)

    def begin_test(self) -> None:
        """A test begins: its time, and nothing that the one before has left."""
        own = time.monotonic() + PER_TEST * self.limits.seconds
        self.test_ends, self.told = min(self.all_ends, own), []
        self.until = (f"the test took longer than {PER_TEST * self.limits.seconds:g} s" if own < self.all_ends else
                      f"the {self.limits.total:g} s for the whole submission are used up")
        if self.process is not None:
            self.objects.clear()
            with suppress(running.Wrong, NotImplementedError):
                self._ask({"begin": True}, "the submission")

    def left(self) -> float:
        """Seconds that the test has left."""
        return max(0.0, self.test_ends - time.monotonic())

    def ask(self, request: dict, path: str) -> Any:
        """The result of a request that may need a module. Wrong, or NotImplementedError as the student's code raised it."""
        if "module" in request and request["module"] not in self.loaded:
            self.load(request["module"])
        return self._ask(request, path).get("result")

    def call(self, request: dict, path: str) -> tuple[Any, Any]:
        """The result of a call, and [arguments, options] afterwards if it has changed them."""
        name = path.rpartition(".")[2]
        if self.slow.get(path, 0) >= PATIENCE:
            raise running.Wrong(f"{name} took longer than {self.limits.seconds:g} s before: an infinite loop? "
                                "It is not called any more")
        try:
            reply = self._ask(request, path)
        except Late:
            self.slow[path] = self.slow.get(path, 0) + (time.monotonic() < self.test_ends)
            raise
        return reply.get("result"), reply.get("changed")

    def stop(self) -> int | None:
        """End the process and what it started; its exit code."""
        ended, self.process, self.loaded = self.process, None, set()
        if ended is None:
            return None
        code = process.end(ended, self.channel)
        self._drain(ended)
        ended.stderr.close()
        return code

    def load(self, module: str) -> None:
        """Import a module in the worker. Wrong or NotImplementedError if that fails; it is not tried a second time."""
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

    def _ask(self, request, path):
        """The reply to a request; the last word of `path` is what is to blame."""
        number, name = secrets.token_hex(8), path if "." not in path or len(request) == 1 else path.rpartition(".")[2]
        if self.process is None:
            self.start()
        ends = min(time.monotonic() + self.limits.seconds, self.test_ends)
        try:
            text = self._exchange(f"{number} {json_lines.dumps(request, self.objects)}", number, ends)
            self.path = path if "get" in request else ""
            reply = json_lines.loads(text, self.objects)
            if type(reply) is not dict:
                raise json_lines.Malformed("no answer")
        except TimeoutError:
            self.stop()
            if ends == self.test_ends:
                raise Late(self.until) from None
            raise Late(f"{name} took longer than {self.limits.seconds:g} s: an infinite loop?") from None
        except OSError:
            raise running.Wrong(f"{name} {self._ending()}") from None
        except (json_lines.Malformed, json_lines.Gone) as error:
            self.stop()
            raise running.Wrong(f"{name} gave back what cannot be read: {error}") from None
        self._drain(self.process)
        printed = _text(reply.get("printed")).strip()
        if printed:
            self.told.append(f"printed: {printed[:300]}")
        if "error" not in reply:
            return reply
        error, message, where = (_text(reply.get(key)) for key in ("error", "message", "where"))
        if error == "NotImplementedError":
            raise NotImplementedError(message)
        if error == "Gone":
            raise running.Wrong(message)
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
            said = self._exchange(json.dumps(config), "ready", time.monotonic() + STARTING)
            said = json_lines.loads(said)["layers"]
        except (OSError, json_lines.Malformed):
            self.stop()
            text = "\n".join(self.told)[-1000:]
            raise InputError(f"--memory {self.limits.megabytes}: the grader's process does not start; give more. "
                             f"{text}") from None
        self.missing = layers.missing(said)
        if self.missing and not self.limits.weak:
            self.stop()
            raise InputError(f"the sandbox has holes here: {'; '.join(self.missing)}. {layers.ADVICE}")

    def _exchange(self, line, number, ends):
        """Send a line; the text of the reply that carries its number. What is asked for in between is answered.
        TimeoutError, OSError if the worker has gone, Malformed."""
        self._send(line, ends)
        while True:
            data = bytearray()
            while not data.endswith(b"\n"):
                self._wait(ends)
                part = self.channel.recv(2**20)
                if not part:
                    raise ConnectionError
                data += part
                if len(data) > json_lines.MOST_BYTES + 1:
                    raise json_lines.Malformed(f"more than {json_lines.MOST_BYTES >> 20} MB of data")
            word, _, text = data.decode(errors="replace").partition(" ")
            if word == number:
                return text
            if word != "ask":
                raise json_lines.Malformed("an answer to another question")
            self._send(f"answer {json_lines.dumps(self._answer(text), self.objects)}", ends)

    def _answer(self, text):
        """What a function that was handed over returns, or raises: that is the student's to deal with."""
        asked = json_lines.loads(text, self.objects)
        try:
            of, handed = asked["of"], [list(asked["arguments"]), dict(asked["options"])]
            if isinstance(of, Handle) or not callable(of):
                raise TypeError(f"an object of type {type(of).__name__} was called")
            before = json_lines.dumps(handed, self.objects)
            reply = {"result": of(*handed[0], **handed[1])}
            return reply | ({} if json_lines.dumps(handed, self.objects) == before else {"changed": handed})
        except running.Wrong:
            self.stop()     # it waits for an answer
            raise
        except Exception as error:
            return {"error": type(error).__name__, "message": str(error)[:300]}

    def _send(self, line, ends):
        self._wait(ends)
        self.channel.sendall(line.encode() + b"\n")

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
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"ended its process ({name}): a crash, or more time or memory than allowed?"
        return f"ended its process (exit code {code}): os._exit?"

    def _drain(self, worker):
        """Keep what a worker has told of what was refused."""
        os.set_blocking(worker.stderr.fileno(), False)
        with suppress(BlockingIOError):
            while part := os.read(worker.stderr.fileno(), 2**16):
                for line in part.decode(errors="replace").splitlines():
                    self._keep(line[:400])
            if worker.poll() is None:
                self._keep("your code closed what the grader is told by of what was refused")

    def _keep(self, line):
        if len(self.told) < MOST_EVIDENCE and line not in self.told:
            self.told.append(line)
        if len(self.evidence) <= MOST_EVIDENCE and line not in self.evidence:
            self.evidence.append(line if len(self.evidence) < MOST_EVIDENCE else "and more: evidence ends here")


class _Objects(json_lines.Objects):
    """The judge's: a Handle of a test that is over stands for nothing."""

    def told(self, value: Any) -> dict:
        if isinstance(value, Handle) and id(value) not in self.theirs:
            raise running.Wrong(f"{value} is not kept any more")
        return super().told(value)


def _text(value):
    return value if type(value) is str else ""
