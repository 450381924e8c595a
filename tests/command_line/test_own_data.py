"""A data set and a split in files of one's own, in every command; the examples; what is wrong with them."""

import ast
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from owning import bits, forget

from minifl.data import registry
from minifl.errors import InputError
from minifl.runs.settings import settings_for

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MOONS, SPLIT = f"{EXAMPLES / 'moons.py'}:load", f"{EXAMPLES / 'label_and_domain.py'}:split"
HALVES = """import numpy as np

def split(labels, num_clients, rng):
    print("loud")
    return np.array_split(rng.permutation(len(labels)), num_clients)

def table(sizes, num_clients):
    return np.tile(sizes // num_clients, (num_clients, 1))
"""
DATA = """import numpy as np
x = np.random.default_rng(0).random((40, 6, 6))

def load():
    return dict(x_train=x, y_train=np.arange(40) % 3, x_test=x[:9], y_test=np.arange(9) % 3)
"""


def config(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def test_both_examples_in_every_command(run):
    chosen = ("--data", MOONS, "--setting", SPLIT, "--num-clients", "10", "--min-size", "1", "--augment", "none")
    run("train", *chosen, "--out", "run")
    assert config("run")["own"].keys() == {"data", "setting"} and config("run")["data"]["name"] == MOONS
    printed = run("partition", *chosen[:-2], "--json", "split.json")
    assert config("run")["partition"]["sha256"] in printed and "upper" in printed
    lists = json.loads(Path("split.json").read_text())["clients"]
    dataset = registry.load(MOONS)
    for k, client in enumerate(lists):      # one user each, in training and test
        assert {*dataset.domain_train[client["train"]], *dataset.domain_test[client["test"]]} == {k % 5}
    named = ("--data", MOONS, "--setting", SPLIT)
    assert "Test accuracy" in run("eval", "run", *named)
    assert "every bit" in run("replay", "run", *named)
    run("train", "--resume", "run", *named, "--rounds", "4", "--device", "cpu")
    assert "moons" in run("compare", "run") and "label_and_domain" in run("compare", "run")
    described = run("describe", "--data", MOONS, "--model", "mlp")
    assert "| 2 " in described and "| 256 " in described
    run("sweep", *chosen, "--lr", "0.1,0.01", "--jobs", "2", "--out", "grid")
    assert len({str(bits(path)) for path in Path("grid").iterdir()}) == 2
    assert "complete" in run("sweep", *chosen, "--lr", "0.1,0.01", "--jobs", "2", "--out", "grid")


@pytest.mark.parametrize("command", [line.split("python cli.py ")[1] for file in sorted(EXAMPLES.glob("*.py"))
                                     for line in ast.get_docstring(ast.parse(file.read_text())).splitlines()
                                     if "python cli.py " in line])
def test_what_the_examples_say_runs_as_it_is_said(cli, command, monkeypatch):
    forget()
    Path("examples").symlink_to(EXAMPLES)
    quickly = ("--rounds", "1", "--local-steps", "1") if command.startswith("train") else ()
    code, _, errors = cli(*command.split(), *quickly)
    assert code == 0, errors


def test_the_same_split_by_seed_and_another_by_another(run, data_dir):
    Path("mine.py").write_text(HALVES)
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        run("train", "--setting", "mine.py:split", "--data-seed", seed, "--out", out)
    assert bits("a") == bits("b") != bits("c")
    run("train", "--partition", "a/partition.json", "--out", "d")       # what it was, without the file
    assert bits("d") == bits("a")
    run("train", "--setting", "mine.py:table", "--out", "e")
    assert not Path("e/partition.json").exists()
    assert "Test accuracy" in run("eval", "e", "--setting", "mine.py:table", "--data-dir", data_dir)


def test_nothing_is_run_that_is_not_named_and_a_changed_file_is_refused(run, data_dir):
    for kind, name, text in (("setting", "split", HALVES), ("data", "load", DATA)):
        Path("x.py").write_text("from pathlib import Path\nPath('ran').touch()\n" + text)
        run("train", f"--{kind}", f"x.py:{name}", "--out", kind, *(["--num-clients", "2"] if kind == "data" else []))
        Path("ran").unlink()
        for command in (("eval", kind), ("replay", kind), ("train", "--resume", kind, "--rounds", "4")):
            said = run(*command, "--data-dir", data_dir, code=2)
            assert f"add --{kind} x.py:{name}" in said
        assert "x.py" in run("compare", kind) and not Path("ran").exists()
        Path("x.py").write_text(text + "\n# changed\n")
        for command in (("eval", kind), ("replay", kind), ("train", "--resume", kind, "--rounds", "4")):
            said = run(*command, f"--{kind}", f"x.py:{name}", "--data-dir", data_dir, code=2)
            assert f"x.py is not what {kind} was made with, or a file that it imports: the sha256 was" in said


def test_another_path_to_the_same_file(run):
    Path("x.py").write_text(DATA)
    run("train", "--data", "x.py:load", "--num-clients", "2", "--out", "run")
    shutil.move("x.py", "y.py")
    assert "every bit" in run("replay", "run", "--data", "y.py:load")


WRONG_SPLITS = {
    "split = 3": "is int; it must be a function of labels, domains, sizes",
    "class split: pass": "is a class; it must be a function",
    "def split(labels, weights): pass": "asks for weights; a split can ask by name for labels, domains",
    "def split(labels, /): pass": "asks for labels; a split can ask by name",
    "def split(labels): return 1/0": "raises ZeroDivisionError (division by zero), line 1: def split(labels): return 1/0",
    "def split(labels): return [[0]]": "returns 1 clients, and --num-clients is 10",
    "def split(domains): pass": "asks for domains, and these data have none",
    "other = 3": "x.py has no split",
}
WRONG_DATA = {
    "load = 3": "is int; it must be a function without arguments",
    "class load: pass": "is a class; it must be",
    "def load(seed): pass": "asks for seed; a function that returns a data set is called without arguments",
    "def load(): return 1/0": "raises ZeroDivisionError (division by zero), line 1",
    "def load(): return 3": "returns int; valid are a minifl.data.dataset.Dataset, or a dict with x_train, y_train, x_test",
    "def load(): return {'x_train': 3}": "its dict has no y_train; valid are",
    DATA.replace("x_test=", "images=0, x_test="): "its dict has images; valid are",
    DATA.replace("random((40, 6, 6))", "normal(size=(40, 6, 6))"): "x_train of float64 must lie in 0..1, found -",
    DATA.replace("x_train=x", "x_train=(300 * x).astype(int)"): "x_train of int64 must lie in 0..255",
    DATA.replace("(40, 6, 6)", "(40, 6)"): "x_train must be uint8 images (N, H, W, C), found uint8 (40, 6)",
    DATA.replace("x_train=x", "x_train='abc'"): "x_train must be images (N, H, W, C), whole from 0 to 255 or real from 0 to 1",
    DATA.replace("x_train=x", "x_train=x*np.nan"): "x_train of float64 must lie in 0..1, found nan",
    DATA.replace("y_train=np.arange(40) % 3", "y_train=np.arange(40) / 3"): "y_train must be whole numbers, found float64",
    DATA.replace("y_train=np.arange(40) % 3", "y_train=np.arange(39) % 3"): "y_train must be int64 (40,), one per image",
    DATA.replace("x_test=", "class_names='ab', x_test="): "y_train must lie in 0..1, found 0..2",
    DATA.replace("x_test=", "domain_train=np.zeros(40, int), x_test="): "domain_train, domain_test and domain_names must all",
    "": "x.py has no load",
}


@pytest.mark.parametrize("text", WRONG_SPLITS, ids=range(len(WRONG_SPLITS)))
def test_what_is_no_split_is_said_in_one_sentence(text, run):
    Path("x.py").write_text(text)
    said = run("train", "--setting", "x.py:split", code=2)
    assert f"--setting x.py:split: {WRONG_SPLITS[text]}" in said and said.startswith("Error: ") and said.count("\n") == 1


@pytest.mark.parametrize("text", WRONG_DATA, ids=range(len(WRONG_DATA)))
def test_what_is_no_data_set_is_said_in_one_sentence(text, run):
    Path("x.py").write_text(text)
    said = run("train", "--data", "x.py:load", code=2)
    assert f"--data x.py:load: {WRONG_DATA[text]}" in said and said.startswith("Error: ") and said.count("\n") == 1


def test_check_says_whether_it_has_the_form(run):
    assert "has what it needs." in run("check", "--data", MOONS, "--setting", SPLIT)
    Path("x.py").write_text("def split(weights): pass")
    assert "asks for weights" in run("check", "--setting", "x.py:split", code=2)


@pytest.mark.parametrize("x, expected", [
    (np.array([[[0, 255], [7, 8]]]), [0, 255, 7, 8]), (np.array([[[0, 1], [0.5, 0.25]]], np.float32), [0, 255, 128, 64])])
def test_images_of_every_form_become_bytes(x, expected, monkeypatch):
    monkeypatch.setitem(registry.LOADERS, "x.py:f", lambda: dict(x_train=x, y_train=[0], x_test=x, y_test=[1]))
    d = registry.load("x.py:f")
    assert d.x_train.dtype == np.uint8 and d.x_train.shape == (1, 2, 2, 1) and d.x_train.ravel().tolist() == expected
    assert (d.name, d.class_names, d.domain_names) == ("x.py:f", ("0", "1"), ())
    monkeypatch.setitem(registry.LOADERS, "x.py:g", lambda: d)
    again = registry.load("x.py:g")
    assert (again.name, again.sha256) == ("x.py:g", d.sha256)


def test_objects_in_python(tmp_path):
    from minifl import loading
    load, split = loading.load(EXAMPLES / "moons.py").load, loading.load(EXAMPLES / "label_and_domain.py").split
    settings = settings_for(load, {"setting": split})
    assert (settings.data, settings.setting) == (MOONS, SPLIT)
    assert registry.load(settings.data).num_classes == 2
    with pytest.raises(InputError, match="asks for weights"):
        settings_for("cifar10", {"setting": lambda weights: None})


def test_names_of_an_installed_package(run, monkeypatch, tmp_path):
    """By entry points of the groups minifl.data and minifl.settings."""
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs.py").write_text(DATA + HALVES)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text(
        "[minifl.data]\nnoise = theirs:load\ncifar10 = theirs:load\n[minifl.settings]\nshuffled = theirs:split\n")
    monkeypatch.syspath_prepend(str(site))
    run("train", "--data", "noise", "--setting", "shuffled", "--num-clients", "2", "--out", "run")
    assert config("run")["own"]["data"]["file"] == config("run")["own"]["setting"]["file"] == str(site / "theirs.py")
    run("train", "--out", "ours")
    assert "own" not in config("ours")
    sys.modules.pop("theirs")
