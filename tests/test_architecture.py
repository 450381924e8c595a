"""The rules of the layout: dependencies point downwards, layers name no array library and no dtype."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minifl
from minifl.course import assignments
from minifl.gradcheck.networks import networks
from minifl.models import MODELS, build

PACKAGE = Path(minifl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
BASE = {"backend", "blas", "errors", "params", "rng", "atomic", "reading", "checked_npz", "processes", "loading", "declared", "own"}
MAY_IMPORT = {                                   # part of the package -> parts below it
    "base": BASE,
    "layers": {"backend"},
    "fast": {"backend", "layers"},
    "models": BASE | {"layers", "fast"},
    "data": BASE,
    "fl": BASE | {"layers", "models", "data"},
    "gradcheck": BASE | {"layers", "fast", "models"},
    "runs": BASE | {"layers", "models", "data", "fl"},
    "paper": BASE | {"layers", "models", "data", "fl", "gradcheck", "runs"},
    "flower": BASE | {"models", "data", "fl", "runs"},
    "course": BASE | {"layers", "models", "data", "fl", "gradcheck", "paper"},
}
ON_TOP = {"__main__.py", "cli.py"}               # with commands/, the command line, which may import everything
LIBRARIES = {"numpy", "scipy", "cupy", "cupyx"}           # click besides, but only on top
EXTRAS = {"images.py": {"PIL"}, "plots.py": {"matplotlib"}, "sweeps.py": {"hypothesis"}, "pytest.py": {"pytest"},
          "worker.py": {"json_lines"},   # where it says what is missing; and the worker has a copy of json_lines.py beside it
          **{name: {"flwr"} for name in ("client.py", "server.py", "strategy.py", "nodes.py", "packing.py")},
          "closed.py": {"flwr", "starlette"},
          "certificates.py": {"cryptography"}}     # which comes with flwr
STANDARD = set(sys.stdlib_module_names)


def part(file):
    """Which part of the package a file belongs to."""
    relative = file.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else "base"


def imports(file):
    """(module, top-level name) of every import in a file, those inside functions, too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [f"{node.module}.{alias.name}" if node.module == "minifl" else node.module
                     for alias in node.names]
        else:
            continue
        yield from names


def own(file):
    """Parts of minifl that a file imports."""
    return {name.split(".")[1] for name in imports(file) if name.startswith("minifl.")}


@pytest.mark.parametrize("file", [f for f in FILES if f.name not in ON_TOP and part(f) != "commands"], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_dependencies_point_downwards(file):
    assert own(file) - {part(file)} <= MAY_IMPORT[part(file)]
    others = {name.split(".")[0] for name in imports(file)} - {"minifl"}
    assert others - STANDARD <= LIBRARIES | EXTRAS.get(file.name, set())


@pytest.mark.parametrize("file", [*(PACKAGE / "layers").glob("*.py"), *(PACKAGE / "fast").glob("*.py")],
                         ids=lambda f: str(f.relative_to(PACKAGE)))
def test_layers_take_their_array_library_and_dtype_from_their_arrays(file):
    tree = ast.parse(file.read_text())
    assert {name for name in imports(file) if not name.startswith("minifl")} == set()
    for node in ast.walk(tree):                     # what is said of types computes nothing
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"np", "numpy", "cp", "cupy", "float", "complex"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not {name for name in attributes if name.startswith(("float", "complex"))}
    assert not {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def test_flower_is_imported_by_its_part_alone():
    assert {part(file) for file in FILES if "flower" in own(file)} == {"flower", "commands"}
    assert {part(file) for file in FILES if any(name.split(".")[0] == "flwr" for name in imports(file))} == {"flower"}


def test_the_command_line_starts_without_flower():
    code = "import sys, minifl.cli; sys.exit(any(name.split('.')[0] == 'flwr' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_builds_on_the_course():
    assert {part(file) for file in FILES if "course" in own(file)} == {"course", "commands"}


def test_every_model_is_under_the_gradient_checks():
    families = {type(build(name, 10, (32, 32, 3))) for name in MODELS}
    assert families == {type(model) for model in networks().values()}


def test_the_walk_sees_what_it_should():
    assert own(PACKAGE / "fl" / "evaluate.py") >= {"layers", "data", "backend"}
    assert "click" in {name.split(".")[0] for name in imports(PACKAGE / "cli.py")}
    assert "layers" in {part(file) for file in FILES} and part(PACKAGE / "rng.py") == "base"


# ---- files that a user names are opened in two modules only: atomic.py writes them, reading.py reads them

OPENS = {"open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "load", "loadtxt", "genfromtxt",
         "fromfile", "memmap", "savetxt", "tofile", "savefig", "dump", "ZipFile", "copyfile", "copy", "copy2", "copytree"}
OWNERS = {"load": {"np", "json", "pickle", "tomllib"}, "dump": {"json", "pickle"},     # else the name is another's
          "copy": {"shutil"}, "copy2": {"shutil"}, "open": None}
MAY_OPEN = {    # file -> the calls, and why they may
    "commands/streams.py": ({"os.open"}, "/dev/null"),
    "runs/record.py": ({"touch"}, "in a directory that was made or checked to be empty"),
    "runs/locking.py": ({"os.open", "read_bytes", "read_text"}, "a directory, to lock it; of the kernel"),
    "runs/memory.py": ({"open"}, "of the kernel, not of a user"),
    "blas.py": ({"open"}, "of the kernel"),
    "flower/closed.py": ({"read_text"}, "of the kernel"),
    "flower/leftovers.py": ({"read_bytes"}, "of the kernel"),
    "flower/certificates.py": ({"os.open", "fdopen"}, "a new file in a folder of ours: a secret one is never readable by others"),
    "flower/deployment.py": ({"shutil.copyfile"}, "between files that were just made"),
    "data/files.py": ({"ZipFile", "np.memmap"}, "of a file that reading.py opened"),
    "data/images.py": ({"np.memmap", "Image.open"}, "of a temporary file, and of bytes"),
    "data/tree.py": ({"ZipFile"}, "checked to be a regular file just before, and open as long as the archive"),
    "data/cifar.py": ({"tarfile.open"}, "of a file that reading.py opened"),
    "runs/plots.py": ({"figure.savefig"}, "into memory"),
    "course/update.py": ({"read_text", "shutil.copytree"}, "of a folder that it has just made; a copy of the user's, links and all"),
    "course/installed.py": ({"read_text"}, "of the kernel"),
    "course/uploads.py": ({"ZipFile", "zipped.open", "write_bytes"}, "of a file that reading.py opened, to a new folder of ours"),
}
OF_THE_COURSE = {   # these open the package's own sources and folders that they have just made, in the worker's limits
    "assignments.py", "carve.py", "gradescope.py", "limits.py", "proof.py", "remote.py", "trial.py", "worker.py",
    "wrong_submissions.py", "judge.py", "installed.py", "batch.py", "one.py", "rewriting.py", "process.py", "readme.py",
    "sandbox.py", "attempts.py", "cheats.py",      # in a folder of their own, what should be refused
    "uploads.py",       # archives of strangers, under limits of its own, into a folder that it has just made
    "submission.py"}    # a submission's: never through a link, which reading.py follows


def opening(file):
    """The calls in a file that open, read or write files, as they are written."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last, owner = name.rpartition(".")[2], name.rpartition(".")[0]
            if last in OPENS and (OWNERS.get(last) is None or owner in OWNERS[last]) and owner not in ("reading", "webbrowser"):
                yield name


def shortened(name):
    """Of a method of any path its own name; of a function its module, too."""
    owner, _, last = name.rpartition(".")
    return last if last in ("read_text", "read_bytes", "write_text", "write_bytes", "touch", "fdopen", "ZipFile") else name


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_that_users_name_are_opened_in_two_modules_only(file):
    name = str(file.relative_to(PACKAGE))
    if name in ("atomic.py", "reading.py") or part(file) == "course" and file.name in OF_THE_COURSE:
        return
    assert {shortened(call) for call in opening(file)} == MAY_OPEN.get(name, (set(), ""))[0]


def test_the_walk_sees_what_opens_files():
    assert set(MAY_OPEN) <= {str(file.relative_to(PACKAGE)) for file in FILES}
    assert {"open"} < set(opening(PACKAGE / "atomic.py"))
    assert {"open", "np.load", "zipfile.ZipFile"} <= set(opening(PACKAGE / "reading.py"))
    assert "os.open" in set(opening(PACKAGE / "course" / "submission.py"))


# ---- what the source speaks of: the mathematics and the paper itself, not the course, no paper that its readers do not have

ROOT = PACKAGE.parent
OURS = [ROOT / "cli.py", *FILES, *(file for room in ("tests", "benchmarks", "data_scripts") for file in (ROOT / room).rglob("*.py"))]
NOT_TO_CITE = re.compile("# (course|task)" + ":|PAPER" + ",? section|PAPER" + r"\.md|PAPER" + "'s")


def test_sources_are_cited_as_their_readers_find_them():
    for wrong in ("# PAPER" + " section 3", "shared/PAPER" + ".md", "# task" + ": hw1", "(PAPER" + ", section 2)"):
        assert NOT_TO_CITE.search(wrong), wrong
    assert [f"{file.relative_to(ROOT)}: {line}" for file in OURS for line in file.read_text(encoding="utf-8").splitlines()
            if NOT_TO_CITE.search(line)] == []


# ---- types

def unannotated(file):
    """Public functions of a file, and public methods of its classes, that lack an annotation of an argument or result."""
    def of(nodes, method):
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                yield from of(node.body, True)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                static = any(getattr(decorator, "id", "") == "staticmethod" for decorator in node.decorator_list)
                given = node.args.posonlyargs + node.args.args
                given = given[1 if method and not static else 0:] + node.args.kwonlyargs
                given += [one for one in (node.args.vararg, node.args.kwarg) if one]
                if node.returns is None or any(one.annotation is None for one in given):
                    yield node.name
    return list(of(ast.parse(file.read_text(encoding="utf-8")).body, False))


HANDED_OUT = {PACKAGE.parent / file for name in assignments.NAMES for assignment in [assignments.load(name)]
              for file in (*assignment.files, *assignment.given)}      # in which the same words again would look like a leak
ANNOTATED = [file for file in FILES if file not in HANDED_OUT]


@pytest.mark.parametrize("file", ANNOTATED, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_every_public_function_is_annotated(file):
    assert unannotated(file) == []


def test_the_walk_sees_what_is_not_annotated(tmp_path):
    file = tmp_path / "file.py"
    file.write_text("def a(x) -> int: ...\ndef b(x: int): ...\ndef c(*x: int, y=1) -> int: ...\ndef d() -> int: ...\n"
                    "class E:\n    def f(self) -> int: ...\n    def g(self, x) -> int: ...\ndef _h(x): ...\n")
    assert unannotated(file) == ["a", "b", "c", "g"]
    assert (PACKAGE / "py.typed").exists()
