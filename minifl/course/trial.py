"""Many submissions of one carved folder under its public tests, in one process: `python -I -B trial.py FOLDER < JSON`.

The JSON is {"path": folders of the modules besides, "submissions": [{"files": file -> text, "unwritten": name}]}; one
submission after the other is written over the folder's files, imported anew and run. A JSON line of outcomes for each goes
to stdout. For `course check`, whose submissions can be trusted; others are graded by judge.py.

unwritten, if it is not "", is the qualified name of a function that raises NotImplementedError when a test calls it; the
others go on with it as it is, so that what fails is what tests need it for.
"""

import importlib
import json
import os
import sys
import types

FOLDER = os.path.abspath(sys.argv[1])


def leave_out(name: str, files: list[str]) -> None:
    """Let a function of the files be not written for who asks for its module from now on; a method for everybody."""
    def unwritten(*arguments, **options):
        raise NotImplementedError(f"{name} is not written")

    modules = [file.removesuffix(".py").replace("/", ".") for file in files]
    module = next(module for module in modules if name.startswith(f"{module}."))
    owner, _, last = name.removeprefix(f"{module}.").rpartition(".")
    if owner:
        setattr(getattr(sys.modules[module], owner), last, unwritten)
    else:
        copy = types.ModuleType(module)
        copy.__dict__.update(vars(sys.modules[module]), **{last: unwritten})
        sys.modules[module] = copy


def outcomes(submission: dict[str, str], unwritten: str, assignment: str, settings: dict) -> list[list]:
    """[name, part, points, earned, message] of every public test on the files as they are."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "minifl"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        for name in submission:
            importlib.import_module(name.removesuffix(".py").replace("/", "."))
        if unwritten:
            leave_out(unwritten, list(submission))
        running = importlib.import_module("minifl.course.running")
        tests = running.tests_in(importlib.import_module(f"minifl.course.{assignment}.tests"))
        given = running.Given(settings["student"], settings["variant"])
        found = [running.run(test, running.local, given) for test in tests]
    finally:
        strangers = [name for name, module in sys.modules.items() if name.partition(".")[0] == "minifl"
                     and not str(getattr(module, "__file__", FOLDER)).startswith(FOLDER)]
    if strangers:
        raise ImportError(f"from outside the folder: {', '.join(strangers)}")
    return [[o.name, o.part, o.points, o.earned, o.message] for o in found]


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    given = json.load(sys.stdin)
    sys.path[:] = [FOLDER, *given["path"]]      # the folder's minifl comes before one that is installed
    sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in f"{f!r} {type(f).__module__}"]
    with open(os.path.join(FOLDER, "minifl", "course", "settings.json"), encoding="utf-8") as file:
        settings = json.load(file)
    for submission in given["submissions"]:
        for name, text in submission["files"].items():
            with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
                file.write(text)
        try:
            found = outcomes(submission["files"], submission["unwritten"], settings["assignment"], settings)
            print(json.dumps(found), flush=True)
        except Exception as error:
            print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)
