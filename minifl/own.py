"""One's own: FILE.py:name, or a name from an installed package, in the place of a registered name.

Each kind of choice (method, norm, model, data set, setting) has its registry, a plain dict: name -> thing. What a user
names on the command line, or hands over in Python, is loaded, checked and put into that dict under the text that names
it; from there on it is looked up as ours are.

A record holds the text, the file and its sha256. Nothing that a record names is ever run: `recognize` takes only what the
user named in this command, and only if the file is what it was.
"""

import contextlib
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from minifl import loading, reading
from minifl.declared import Choice, choices_of
from minifl.errors import InputError


class Kind(NamedTuple):
    """A kind of choice: the field of Settings, and the option, of that name."""
    registry: dict                   # name -> thing
    check: Callable[[Any], Any]      # InputError, "is no class", for a wrong one; its entry, if not itself
    group: str                       # of entry points
    others: Callable[[str], bool]    # whether a name is valid that the registry has not


class Own(NamedTuple):
    """A thing that was loaded."""
    thing: Any     # its entry in the registry
    file: str      # where its code is
    name: str      # in that file
    sha256: str    # of the file


KINDS: dict[str, Kind] = {}
LOADED: dict[tuple[str, str], Own] = {}      # (kind, text) -> what the user named in this process
RECORDED: set[tuple[str, str]] = set()       # (kind, text) that a record holds; to be read, not to be run


def kind(name: str, registry: dict, check: Callable[[Any], None], group: str, *,
         others: Callable[[str], bool] = lambda name: False) -> None:
    """Let a kind of choice have one's own things besides its registered ones."""
    KINDS[name] = Kind(registry, check, group, others)


def named(kind_: str, text: str) -> str:
    """What a user named: a registered name, FILE.py:name, or the name of an entry point. The text is a name of the registry
    then. Raises InputError for what is not there, cannot be run or has the wrong form."""
    registry, _, group, others = KINDS[kind_]
    if text in registry and (kind_, text) not in LOADED or others(text):
        return text
    if is_file(text):
        path, name = loading.split(text)
        if not name:
            raise InputError(f"{option(kind_)} {text}: which of its things? Give {text}:NAME.")
        found = LOADED.get((kind_, text))
        if found and found.sha256 == _hash(path):       # it need not be run again
            return text
        with contextlib.redirect_stdout(sys.stderr):    # what it prints is no output of ours
            module = loading.load(path)
        if not hasattr(module, name):
            theirs = [each for each, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
            raise InputError(f"{option(kind_)} {text}: {path} has no {name}; it has {', '.join(theirs) or 'nothing'}.")
        return _put(kind_, text, Own(getattr(module, name), str(path.resolve()), name, _hash(path)))
    for entry in metadata.entry_points(group=group, name=text):
        try:
            thing = entry.load()
        except Exception as error:
            raise InputError(f"{option(kind_)} {text}: the entry point {entry.value} cannot be loaded: "
                             f"{type(error).__name__} ({error}).") from error
        return _put(kind_, text, _in_file(thing))
    raise InputError(f"{option(kind_)} {text!r} is unknown; valid are {', '.join(registry)}, or one of your own, "
                     f"FILE.py:NAME.")


def handed(kind_: str, thing: Any) -> str:
    """The text that stands for an object of the Python interface, by which it is in the registry from now on."""
    registry = KINDS[kind_].registry
    for text, known in registry.items():
        if known is thing:
            return text
    own = _in_file(thing)
    return _put(kind_, f"{own.file}:{own.name}", own)


def choices(kind_: str, text: str) -> list[Choice]:
    """What a thing declares of itself (minifl/declared.py), where it is a dataclass."""
    thing = KINDS[kind_].registry.get(text)
    return list(choices_of(thing).values()) if isinstance(thing, type) and is_dataclass(thing) else []


def texts(chosen: dict[str, Any]) -> dict[str, Any]:
    """The settings that were chosen, objects replaced by the texts that stand for them."""
    return {name: handed(name, value) if name in KINDS and callable(value) else value for name, value in chosen.items()}


def _put(kind_, text, own):
    registry, check, *_ = KINDS[kind_]
    try:
        entry = check(own.thing)
    except InputError as error:
        raise InputError(f"{option(kind_)} {text}: {error}") from error
    except Exception as error:      # of its own code
        raise _raised(kind_, text, own, error) from error
    own = own if entry is None else own._replace(thing=entry)
    registry[text], LOADED[kind_, text] = own.thing, own
    return text


def _raised(kind_, text, own, error):
    """The InputError for an exception of one's own code."""
    return InputError(f"{option(kind_)} {text}: raises {loading.told(_path(text, own), error)}.")


def _path(text, own):
    """The file of one's own code by the name that a traceback has for it."""
    return loading.split(text)[0] if is_file(text) else own.file


@contextlib.contextmanager
def running(kind_: str, text: str) -> Iterator[None]:
    """Inside, a function of one's own is called: what it prints is no output of ours, what it raises is an InputError."""
    if (kind_, text) not in LOADED:
        yield
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except InputError:
        raise
    except Exception as error:
        raise _raised(kind_, text, LOADED[kind_, text], error) from error


def blamed(error: BaseException) -> InputError | None:
    """What an exception says where code of one's own raised it; None where it was ours."""
    for (kind_, text), own in LOADED.items():
        if loading.line(_path(text, own), error):
            return _raised(kind_, text, own, error)
    return None


def installed(group: str, name: str) -> bool:
    """Whether an installed package has an entry point of that group and name."""
    return bool(metadata.entry_points(group=group, name=name))


def _in_file(thing):
    """The Own of a class or function that is there already."""
    name = getattr(thing, "__qualname__", type(thing).__name__)
    try:
        file = inspect.getsourcefile(thing) or ""
        known = hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()      # of a notebook's cell there is no more
    except (TypeError, OSError) as error:
        raise InputError(f"{name}: its source is not to be found, so no record could say what it is; write it into a "
                         f"file.") from error
    with contextlib.suppress(InputError):
        known = _hash(file)
    return Own(thing, file, name, known)


def _hash(path):
    """The sha256 of a file; where it imports files beside it, of their sha256s, its own first."""
    try:
        found = [hashlib.sha256(reading.whole(file)).hexdigest() for file in (path, *loading.helpers(path))]
        return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); it should be a Python file.") from error


def is_file(text: Any) -> bool:
    """Whether it has the form FILE.py:name, or FILE.py."""
    return isinstance(text, str) and (f"{loading.ENDING}:" in text or text.endswith(loading.ENDING))


def option(kind_: str) -> str:
    """The option of the command line."""
    return f"--{kind_.replace('_', '-')}"


def label(text: Any) -> str:
    """A choice as a part of a file's name: feddyn.FedDyn for path/to/feddyn.py:FedDyn."""
    file, colon, name = str(text).rpartition(":")
    return f"{Path(file).stem}.{name}" if colon and file.endswith(loading.ENDING) else str(text)


def used(settings: Any) -> Iterator[tuple[str, str]]:
    """(kind, text) of one's own things in Settings."""
    return ((name, getattr(settings, name)) for name in KINDS if (name, getattr(settings, name)) in LOADED)


def arguments(settings: Any) -> list[str]:
    """How a command line names them."""
    return [part for name, text in used(settings) for part in (option(name), text)]


def entries(settings: Any) -> dict[str, dict[str, str]]:
    """What a record holds of them: kind -> text, file, name in it, sha256."""
    return {kind_: {"text": text, **{field: getattr(LOADED[kind_, text], field) for field in ("file", "name", "sha256")}}
            for kind_, text in used(settings)}


def read(config: dict) -> None:
    """Remember what a record names, so that its settings can be read."""
    RECORDED.update((name, entry["text"]) for name, entry in config.get("own", {}).items())


def unloaded(chosen: dict[str, Any]) -> set[str]:
    """The kinds of which something was chosen that a record holds and nobody named in this process."""
    return {name for name, content in KINDS.items() if isinstance(chosen.get(name), str)
            and (name, chosen[name]) in RECORDED and chosen[name] not in content.registry}


def require(chosen: dict[str, Any]) -> None:
    """InputError if something was chosen that a record holds and nobody named in this process."""
    for name in unloaded(chosen):
        raise unnamed(name, chosen[name])


def unnamed(kind_: str, text: str) -> InputError:
    """The error for something of a record that has to be run, and was not named."""
    return InputError(f"{option(kind_)} {text} is not one of ours, and nothing that a record names is run unless you name "
                      f"it in the same command: add {option(kind_)} {text}.")


def renamed(settings: dict[str, Any], config: dict, known: Iterable[str]) -> dict[str, Any]:
    """Settings of a run's config with the texts by which the user named the same things, under whatever path. Where nobody
    named them, without what is known to them alone."""
    entries_ = config.get("own")
    for name, entry in entries_.items() if isinstance(entries_, dict) else ():
        found = [text for (other, text), own in LOADED.items() if other == name and isinstance(entry, dict)
                 and (own.name, own.sha256) == (entry.get("name"), entry.get("sha256"))]
        settings = settings | {name: found[-1]} if found else {key: settings[key] for key in settings if key in known}
    return settings


def recognize(where: Any, config: dict) -> None:
    """Let the texts of a record in `where` stand for what the user named, under whatever path. InputError, with the option
    to add, for what was not named, and for a file that is not what it was."""
    for name, entry in config.get("own", {}).items():
        text = entry["text"]
        named_ = [own for (other, _), own in LOADED.items() if other == name and own.name == entry["name"]]
        same = [own for own in named_ if own.sha256 == entry["sha256"]]
        if same:
            KINDS[name].registry[text] = same[-1].thing
            LOADED[name, text] = same[-1]
        elif named_:
            raise InputError(f"{named_[-1].file} is not what {where} was made with, or a file that it imports: the sha256 "
                             f"was {entry['sha256'][:16]}, is {named_[-1].sha256[:16]}; bring that back, or begin anew.")
        else:
            raise unnamed(name, text)


def same(kind_: str, text: Any, other: Any) -> bool:
    """Whether two texts of a kind stand for the same thing."""
    mine, theirs = LOADED.get((kind_, text)), LOADED.get((kind_, other))
    return text == other or None not in (mine, theirs) and mine[2:] == theirs[2:]
