"""A method in a file of one's own, FILE.py:Class, in every command; what is wrong with it is said in one sentence."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from owning import SMALL, bits

from minifl import own
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.runs.settings import Settings, settings_for

ROOT = Path(__file__).resolve().parents[2]
FEDDYN = ROOT / "examples/feddyn.py"
NAMED = f"{FEDDYN}:FedDyn"
METHOD = """from dataclasses import dataclass
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg

@dataclass(frozen=True)
class Mine(FedAvg):
    pull: float = hyperparameter(0.5, at_least=0, below=1, help="How far it is pulled.")

    def server(self, model, w, mean, state, share):
        return w + (1 - self.pull) * mean["update"], state
"""


def own_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())["own"]


def test_feddyn_as_a_file_gives_the_bits_of_ours_in_train_resume_sweep_and_replay(run, data_dir):
    ours, mine = ("--algorithm", "feddyn", "--feddyn-alpha", "0.3"), ("--algorithm", NAMED, "--alpha", "0.3")
    run("train", *ours, "--out", "ours")
    said = run("train", *mine, "--out", "mine")
    assert f"eval mine --data-dir {data_dir} --algorithm {NAMED}" in said
    assert bits("mine") == bits("ours")
    assert own_of("mine") == {"algorithm": {"text": NAMED, "file": str(FEDDYN), "name": "FedDyn", "sha256": own._hash(FEDDYN)}}
    run("train", *ours, "--out", "longer", "--rounds", "5")
    run("train", "--resume", "mine", *mine, "--rounds", "5", "--data-dir", data_dir, "--device", "cpu")
    assert bits("mine") == bits("longer")
    for command, said in (("replay", "every bit of its model are the same"), ("eval", "Test accuracy")):
        assert said in run(command, "mine", "--algorithm", NAMED, "--data-dir", data_dir)
    grid = ("sweep", "--algorithm", f"fedavg,{NAMED}", "--alpha", "0.1,0.3", "--jobs", "2", "--out", "grid")
    assert run(*grid).count(NAMED) == 2
    assert {path.name for path in Path("grid").iterdir()} == {"fedavg-none-oneclass-seed0", *(
        f"feddyn.FedDyn-none-oneclass-alpha{alpha}-seed0" for alpha in (0.1, 0.3))}
    run("train", *ours, "--out", "again")
    assert bits("grid/feddyn.FedDyn-none-oneclass-alpha0.3-seed0") == bits("again")
    assert "3 of them complete" in run(*grid)


def test_its_hyperparameters_are_options_of_that_command_line(run, cli):
    Path("mine.py").write_text(METHOD)
    said = run("train", "--algorithm", "mine.py:Mine", "--help")
    assert "--pull FLOAT How far it is pulled. [default: mine.py:Mine 0.5]" in " ".join(said.split())
    assert "--pull" not in run("train", "--help")
    run("train", "--algorithm=mine.py:Mine", "--pull", "0", "--out", "still")
    run("train", "--algorithm", "fedavg", "--out", "fedavg")
    run("train", "--algorithm", "mine.py:Mine", "--out", "half")
    assert bits("still") == bits("fedavg") != bits("half")
    assert json.loads(Path("half/config.json").read_text())["settings"]["pull"] == 0.5
    assert "--pull 1.0 is invalid; it must be a number of at least 0 and below 1" in run(
        "train", "--algorithm", "mine.py:Mine", "--pull", "1", code=2)
    assert "No such option '--pull'" in run("train", "--algorithm", "fedprox", "--pull", "0.1", code=2)
    assert "--mu belongs to --algorithm fedprox" in run("train", "--algorithm", "mine.py:Mine", "--mu", "0.1", code=2)


def test_records_are_read_without_the_file_and_nothing_of_them_is_run(run, data_dir):
    """The file leaves a trace whenever it is run; it is not there at the end."""
    Path("mine.py").write_text("from pathlib import Path\nPath('ran').touch()\n" + METHOD)
    run("train", "--algorithm", "mine.py:Mine", "--out", "mine")
    run("train", "--algorithm", "mine.py:Mine", "--pull", "0.25", "--out", "other")
    run("train", "--algorithm", "fedprox", "--out", "fedprox")
    Path("ran").unlink()
    table = run("compare", "mine", "other", "fedprox", "--mean")
    assert "mine.py:Mine" in table and "| pull |" in table and "| 0.25 |" in table
    for command in (("train", "--resume", "mine", "--rounds", "4"), ("eval", "mine"), ("replay", "mine")):
        said = run(*command, "--data-dir", data_dir, code=2)
        assert "--algorithm mine.py:Mine is not one of ours" in said and "add --algorithm mine.py:Mine" in said
        assert "add --algorithm mine.py:Mine" in run("train", "--config", "mine/config.json", code=2)
    assert not Path("ran").exists()
    run("train", "--config", "other/config.json", "--algorithm", "mine.py:Mine", "--out", "again")
    assert bits("again") == bits("other")
    run("train", "--config", "other/config.json", "--algorithm", "fedavg", "--out", "fedavg")
    Path("mine.py").unlink()
    assert "mine.py:Mine" in run("compare", "mine")


def test_a_changed_file_is_refused_with_the_reason(run, data_dir):
    Path("mine.py").write_text(METHOD)
    run("train", "--algorithm", "mine.py:Mine", "--out", "mine")
    run("sweep", "--algorithm", "mine.py:Mine", "--out", "grid", "--jobs", "1")
    Path("mine.py").write_text(METHOD.replace("(1 - self.pull)", "self.pull"))
    for command in (("train", "--resume", "mine", "--rounds", "4"), ("eval", "mine"), ("replay", "mine")):
        said = run(*command, "--algorithm", "mine.py:Mine", "--data-dir", data_dir, code=2)
        assert "mine.py is not what mine was made with, or a file that it imports: the sha256 was " in said and "bring that back" in said
    assert "is not what grid/" in run("sweep", "--algorithm", "mine.py:Mine", "--out", "grid", code=2)
    Path("mine.py").write_text(METHOD)
    run("train", "--resume", "mine", "--rounds", "4", "--algorithm", "mine.py:Mine", "--data-dir", data_dir, "--device", "cpu")


def test_another_path_to_the_same_file_from_another_folder(run, data_dir, monkeypatch):
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(METHOD)
    run("train", "--algorithm", "methods/mine.py:Mine", "--out", "mine")
    Path("elsewhere").mkdir()
    shutil.copy("methods/mine.py", "elsewhere/renamed.py")
    monkeypatch.chdir("elsewhere")
    for path in ("../methods/mine.py", "renamed.py", str(Path("../methods/mine.py").resolve())):
        assert "every bit" in run("replay", "../mine", "--algorithm", f"{path}:Mine", "--data-dir", data_dir)
    run("train", "--resume", "../mine", "--algorithm", "../methods/mine.py:Mine", "--rounds", "4", "--data-dir", data_dir,
        "--device", "cpu")


def test_two_files_of_one_name(run):
    for folder, text in (("a", METHOD), ("b", METHOD.replace("1 - self.pull", "2 - self.pull"))):
        Path(folder).mkdir()
        Path(folder, "mine.py").write_text(text)
        run("train", "--algorithm", f"{folder}/mine.py:Mine", "--out", f"{folder}-run")
    assert bits("a-run") != bits("b-run")
    both = "a/mine.py:Mine,b/mine.py:Mine"
    assert "two runs of the name mine.Mine-none-oneclass-seed0" in run("sweep", "--algorithm", both, "--out", "grid", code=2)
    Path("b/mine.py").rename("b/other.py")
    run("sweep", "--algorithm", "a/mine.py:Mine,b/other.py:Mine", "--out", "grid", "--jobs", "2")
    found = [bits(path) for path in sorted(Path("grid").iterdir())]
    assert found == [bits("a-run"), bits("b-run")]


def test_check_says_what_a_thing_has_or_lacks(run):
    Path("mine.py").write_text(METHOD)
    assert run("check", "--algorithm", "mine.py:Mine") == (
        "--algorithm mine.py:Mine has what it needs; its own options: --pull 0.5 (a number of at least 0 and below 1).\n")
    assert "has what it needs." in run("check", "--algorithm", "fednova")
    assert "nothing was named; give --" in run("check", code=2)
    Path("mine.py").write_text(METHOD.replace("mean, state, share", "mean, state"))
    assert "it must take (self, model, w, mean, state, share)" in run("check", "--algorithm", "mine.py:Mine", code=2)


WRONG = {       # a file's text -> what is said of x.py:Mine
    "x = 1/0": "x.py cannot be run: it raises ZeroDivisionError (division by zero), line 1: x = 1/0",
    "import sys; sys.exit(3)": "x.py cannot be run: it raises SystemExit",
    "def f(:": "x.py cannot be run: it raises SyntaxError",
    "class Other: pass": "x.py has no Mine; it has Other",
    "": "x.py has no Mine; it has nothing",
    "Mine = 3": "is int; it must be a class",
    "def Mine(): pass": "is a function; it must be a class",
    "class Mine: pass": "is not made from minifl.fl.algorithms.fedavg.FedAvg",
    METHOD.replace("@dataclass(frozen=True)", ""): "declares pull, but is no dataclass",
    METHOD.replace("mean, state, share", "mean, state"): "has server(self, model, w, mean, state); it must take (self, model, w, "
                                                         "mean, state, share)",
    METHOD.replace("float = hyper", "list = hyper"): "Mine.pull is declared as list; it must be int, float, str, bool",
    METHOD.replace("hyperparameter(0.5", "hyperparameter(1.5"): "--pull 1.5 is invalid; it must be a number of at least 0",
    METHOD.replace("hyperparameter(0.5, ", "hyperparameter("): "declares pull without a default",
    METHOD + "    def __post_init__(self):\n        raise KeyError(7)\n": "raises KeyError (7), line 12: raise KeyError(7)",
    METHOD.replace("pull", "rounds"): "its hyperparameter rounds has the name of",
    METHOD.replace("pull", "workers"): "its hyperparameter workers has the name of an option of this command",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_in_one_sentence(text, run):
    Path("x.py").write_text(text)
    said = run("train", "--algorithm", "x.py:Mine", code=2)
    assert WRONG[text] in said and said.startswith("Error: ") and said.count("\n") == 1


BROKEN = {      # in the place of a server's last line -> what is said of a round
    "1 / 0": "x.py:Mine: raises ZeroDivisionError (division by zero), line 10: 1 / 0",
    "raise SystemExit(0)": "x.py:Mine: raises SystemExit (0), line 10: raise SystemExit(0)",
    "return w": "x.py:Mine: raises ValueError",
    "return w[:3], state": "x.py:Mine: raises ValueError (cannot reshape",
}


@pytest.mark.parametrize("line", BROKEN)
def test_check_tries_a_round(line, run):
    Path("x.py").write_text(METHOD.replace('return w + (1 - self.pull) * mean["update"], state', line))
    said = run("check", "--algorithm", "x.py:Mine", code=2)
    assert BROKEN[line] in said and said.startswith("Error: ") and said.count("\n") == 1
    if "line 10" in BROKEN[line]:       # and a run says whose fault it was
        assert BROKEN[line] in run("train", "--algorithm", "x.py:Mine", code=2)


def test_check_says_what_train_refuses(run):
    for name in ("rounds", "workers", "help"):
        Path("x.py").write_text(METHOD.replace("pull", name))
        assert f"its hyperparameter {name} has the name of" in run("check", "--algorithm", "x.py:Mine", code=2)
    assert "--data nonsense is no file of yours" in run("check", "--data", "nonsense", code=2)


def test_what_a_file_imports_is_a_part_of_it(run):
    """One's helper: its change is one of the file; of two folders' helpers of one name Python would take the first."""
    for folder, pull in (("a", "0.5"), ("b", "0.25")):
        Path(folder).mkdir()
        Path(folder, "consts_of_mine.py").write_text(f"PULL = {pull}\n")
        Path(folder, f"{folder}.py").write_text("from consts_of_mine import PULL\n" + METHOD.replace("0.5,", "PULL,"))
    run("train", "--algorithm", "a/a.py:Mine", "--out", "run")
    Path("a/consts_of_mine.py").write_text("PULL = 0.125\n")
    for command in (("eval", "run"), ("train", "--resume", "run", "--rounds", "5")):
        assert "or a file that it imports" in run(*command, "--algorithm", "a/a.py:Mine", code=2)
    assert "another file of that name is loaded" in run("check", "--algorithm", "b/b.py:Mine", code=2)


@pytest.mark.parametrize("named, said", [
    ("x.py:Mine", "x.py cannot be read (No such file or directory)"), ("folder.py:Mine", "cannot be read (Is a directory"),
    ("x.py", "which of its things? Give x.py:NAME"), ("x.py:", "which of its things"), ("x.py:a b", "FILE.py:name"),
    ("fedavgg", "'fedavgg' is unknown; valid are fedavg, "), ("", "'' is unknown"),
])
def test_what_is_no_file_or_no_name(named, said, run):
    Path("folder.py").mkdir()
    found = run("train", "--algorithm", named, code=2)
    assert said in found and found.startswith("Error: ")


def test_what_a_file_prints_is_no_output_of_the_command(cli, small):
    Path("x.py").write_text("print('loud')\n" + METHOD)
    code, out, err = cli("train", *small, *SMALL, "--algorithm", "x.py:Mine", "--out", "run")
    assert code == 0 and "loud" not in out and err.count("loud") == 1


def test_a_damaged_record_of_a_file(run):
    Path("mine.py").write_text(METHOD)
    run("train", "--algorithm", "mine.py:Mine", "--out", "mine")
    content = json.loads(Path("mine/config.json").read_text())
    for own_ in (3, {"algorithm": 3}, {"algorithm": {"text": "mine.py:Mine"}}, []):
        Path("mine/config.json").write_text(json.dumps(content | {"own": own_}))
        assert "own is not what a run writes" in run("compare", "mine", code=2)
        run("train", "--config", "mine/config.json", code=2)


def test_federate_takes_none(run, small):
    pytest.importorskip("flwr")
    Path("mine.py").write_text(METHOD)
    # federate has neither --device nor --checkpoint-every
    said = run("federate", *small[:4], *small[6:], *SMALL[:-2], "--algorithm", "mine.py:Mine", code=2)
    assert "nodes of a federation run nothing that its server names" in said


def test_an_object_in_python(tmp_path, data_dir):
    """The class itself; it is named by its file."""
    (tmp_path / "mine.py").write_text(METHOD)
    from minifl import loading
    mine = loading.load(tmp_path / "mine.py").Mine
    settings = settings_for("cifar10", {"algorithm": mine, "pull": 0.25})
    assert settings.algorithm == f"{tmp_path / 'mine.py'}:Mine" and settings.method() == mine(pull=0.25)
    assert own.entries(settings)["algorithm"]["sha256"] == own._hash(tmp_path / "mine.py")
    assert settings_for("cifar10", {"algorithm": ALGORITHMS["fedprox"]}).algorithm == "fedprox"
    assert settings_for("cifar10", {"algorithm": settings.algorithm, "pull": 0.25}) == settings
    assert Settings(**asdict(settings) | {"algorithm": mine}) == settings
    other = Settings(**asdict(settings_for("cifar10", {})) | {"algorithm": mine})
    assert asdict(other)["pull"] == 0.5 and other.method() == mine()
    with pytest.raises(InputError, match="is a function; it must be a class"):
        settings_for("cifar10", {"algorithm": bits})
    with pytest.raises(InputError, match="its source is not to be found"):
        settings_for("cifar10", {"algorithm": eval("lambda: 3")})


def test_a_method_of_an_installed_package(run, monkeypatch, tmp_path):
    """By an entry point of the group minifl.algorithms; it is looked up only where no name of ours fits."""
    package = tmp_path / "site" / "theirs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(METHOD)
    about = tmp_path / "site" / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[minifl.algorithms]\npulled = theirs:Mine\nbroken = theirs:Nothing\n"
                                            "fedavg = theirs:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    run("train", "--algorithm", "pulled", "--pull", "0.25", "--out", "theirs")
    assert own_of("theirs")["algorithm"]["file"] == str(package / "__init__.py")
    assert "add --algorithm pulled" in run("eval", "theirs", code=2)
    assert "the entry point theirs:Nothing cannot be loaded: AttributeError" in run("train", "--algorithm", "broken", code=2)
    run("train", "--algorithm", "fedavg", "--out", "ours")
    assert "own" not in json.loads(Path("ours/config.json").read_text())
    sys.modules.pop("theirs")
