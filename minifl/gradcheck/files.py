"""The layers of a file that a user names on the command line: which there are, and a check of each."""

from pathlib import Path

from minifl import loading
from minifl.errors import InputError

FORM = 'write shapes = {{"{name}": {{"x": "K N D", ...}}}} into the file'


def layers(path: str | Path, name: str = "") -> list:
    """A list of (name, (forward, backward), shapes) of a file's layers, or of one. Its dictionary `shapes` has what
    `modules.swept` takes for each. Raises InputError for what is missing: a pair, its shapes, hypothesis."""
    try:
        from minifl.gradcheck import modules
    except ImportError as error:
        raise InputError(f"{error}.") from error
    module = loading.load(path)
    shapes = getattr(module, "shapes", {})
    if not isinstance(shapes, dict):
        raise InputError(f"shapes in {path} is {type(shapes).__name__}; it should be a dictionary, such as "
                         '{"scale": {"x": "K N D", "gain": "K D"}}.')
    found = modules.pairs(module, [name] if name else shapes)
    if not found:
        raise InputError(f"{path} has no layer, a pair of functions name, name{modules.BACKWARD} or name{modules.FORWARD}, "
                         f"name{modules.BACKWARD}{_classes(module)}.")
    chosen = [name] if name else list(found)
    lacking = [said for each in chosen if (said := modules.missing(found, shapes, each, FORM))]
    if lacking:
        known = [each for each in modules.pairs(module, shapes) if each != name]
        others = f" Its layers are {', '.join(known)}." if name and known else ""
        raise InputError(f"{path}: {'; '.join(lacking)}.{others}")
    return [(each, found[each], shapes[each]) for each in chosen]


def checked(path: str | Path, name: str, pair: tuple, shapes: dict, options: dict) -> tuple[bool, bool, str]:
    """(whether a pair passed, whether something was compared, what to print); options: of `strategies.sweep`. What the pair
    raises is in what to print; InputError if the file's code that draws inputs raises."""
    from minifl.gradcheck import modules
    try:
        found = modules.swept(pair, shapes, {}, (), options)
    except InputError as error:
        raise InputError(f"{path}, {name}: {error}") from error
    except Exception as error:
        if not loading.line(path, error):
            raise
        raise InputError(f"{path}, {name}: drawing its inputs raises {loading.told(path, error)}.") from error
    said = f"{len(found.reports)} examples, all right" if found.passed else modules.verdict(found)
    said += f"; {found.budget}" if found.passed and found.budget else ""
    return found.passed, bool(found.reports), said


def _classes(module):
    """What to do with a class that has forward and backward."""
    names = [name for name, value in vars(module).items() if isinstance(value, type) and hasattr(value, "backward")
             and value.__module__ == module.__name__]
    if not names:
        return ""
    name = names[0].lower()
    return (f"; of a class, from_object makes one: {name}, {name}_backward = "
            f"minifl.gradcheck.from_object({names[0]}, \"W\", ...) with the names of its parameters")
