"""Data sets by name: what is found where, and what is said when it is not."""

import re
from pathlib import Path

import numpy as np
import pytest

from minifl.data import cifar, embedded, idx, pacs, registry
from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.data.known import DATASETS
from minifl.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def small(seed=0, name="cifar10"):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (7, 5, 4, 3), np.uint8), rng.integers(0, 4, 7)
    return make_dataset(name, x, y, x, y, "abcd", "From a test.")


@pytest.fixture
def tiny_embedded(monkeypatch):
    """The embedded set with few images: how it is drawn is tested elsewhere."""
    whole = registry.embedded.generate
    monkeypatch.setattr(registry.embedded, "generate", lambda: whole(n_train=80, n_test=40))


@pytest.fixture(autouse=True)
def no_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIFL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_embedded(tiny_embedded):
    d = registry.load("embedded")
    assert d.name == "embedded" and "generated" in d.source
    assert d.x_train.shape == (80, 32, 32, 3) and d.x_test.shape == (40, 32, 32, 3)
    assert d.num_classes == 10 and len(d.domain_names) == 4
    assert d.domain_train.shape == (80,) and d.domain_test.shape == (40,)


def test_folder_argument_before_environment_before_data(tmp_path, monkeypatch):
    for seed, folder in enumerate(["data", "environment", "argument"]):
        write_dataset(tmp_path / folder / "cifar10.npz", small(seed=seed))
    assert registry.load("cifar10").sha256 == small(0).sha256
    monkeypatch.setenv("MINIFL_DATA", "environment")
    assert registry.load("cifar10").sha256 == small(1).sha256
    assert registry.load("cifar10", "argument").sha256 == small(2).sha256


def test_auto_takes_cifar10_only_where_it_is(tmp_path, tiny_embedded):
    assert registry.load("auto").name == "embedded"
    write_dataset(tmp_path / "data" / "cifar10.npz", small())
    assert registry.load("auto").name == "cifar10"


@pytest.mark.parametrize("name", ["auto", "cifar10"])
def test_damaged_file_is_an_error_and_no_reason_for_another_set(tmp_path, name):
    path = tmp_path / "data" / "cifar10.npz"
    write_dataset(path, small())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cifar10.npz: damaged.*--force"):
        registry.load(name)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match="No such file"):
        registry.load(name)


def test_file_of_another_set(tmp_path):
    write_dataset(tmp_path / "data" / "cifar10.npz", small(name="pacs"))
    with pytest.raises(InputError, match="'pacs'"):
        registry.load("cifar10")


def test_missing_file_names_both_ways_to_get_it(tmp_path):
    with pytest.raises(InputError) as caught:
        registry.load("cifar10", tmp_path)
    command = f"python data_scripts/cifar10.py --data-dir {tmp_path}"
    assert f"{command}, " in str(caught.value) and f"{command} --from FILE_OR_FOLDER" in str(caught.value)


BUILT_IN = ("cifar10", "cifar100", "cifar100-coarse", "tinyimagenet", "pacs", "mnist", "fashionmnist")


def test_what_is_declared_of_a_set_is_what_its_format_says():
    """The scripts' tests and the generator's say how large images are; here numbers of classes, and that all are there."""
    assert (*DATASETS,) == ("embedded", *BUILT_IN)
    classes = {"embedded": embedded.CLASS_NAMES, "pacs": pacs.CLASSES, **idx.CLASS_NAMES}
    assert {name: DATASETS[name].num_classes for name in classes} == {name: len(of) for name, of in classes.items()}
    for labels in (*cifar.CIFAR10.labels.values(), *cifar.CIFAR100.labels.values()):
        assert DATASETS[labels.name].num_classes == labels.classes
    assert DATASETS["embedded"].images == (embedded.N_TRAIN, embedded.N_TEST)
    assert DATASETS["embedded"].image_shape == (embedded.SIDE, embedded.SIDE, 3)


def test_unknown_name_lists_the_valid_ones_and_the_files(tmp_path):
    assert registry.names() == ("auto", "embedded", *BUILT_IN)
    valid = "cifar11: unknown, must be one of auto, embedded, cifar10, .* fashionmnist, or your own"
    with pytest.raises(InputError, match=f"{valid}: in the folder data there is none; python data_scripts/folder.py"):
        registry.load("cifar11")
    for name in ("cifar10", "mine", "cats-and-dogs_2.0", ".hidden", "odd name"):
        write_dataset(tmp_path / "data" / f"{name}.npz", small(name=name))
    with pytest.raises(InputError, match=f"{valid}: in the folder data there is cats-and-dogs_2.0, mine; python"):
        registry.load("cifar11")


def test_own_sets_by_their_files(tmp_path):
    write_dataset(tmp_path / "data" / "cats-and-dogs_2.0.npz", small(name="cats-and-dogs_2.0"))
    assert registry.load("cats-and-dogs_2.0").sha256 == small().sha256
    (tmp_path / "data" / "mine.npz").write_bytes(b"damaged")
    with pytest.raises(InputError, match="folder.py --from FOLDER --name mine --data-dir data --force"):
        registry.load("mine")


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", ".", "..", ".x", "-x", "a b", "a\\b", "x\n",
                                  "\x1b[m"])
def test_names_are_no_paths(tmp_path, name):
    with pytest.raises(InputError, match="--data '.*': a name has letters, digits") as caught:
        registry.load(name)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", 3, ["cifar10"]])
def test_what_is_no_name_is_told_the_names(name):
    with pytest.raises(InputError, match="--data .* is invalid; it must be one of auto, embedded, cifar10, .* your own"):
        registry.load(name)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_remedy_names_a_script_that_makes_this_file(name):
    with pytest.raises(InputError) as caught:
        registry.load(name)
    script, *options = re.search(r"data_scripts/(.*?) --data-dir data", str(caught.value))[1].split()
    source = (ROOT / "data_scripts" / script).read_text()
    expected = {"cifar100-coarse": ["--labels", "coarse"], "pacs": ["--from", "FILE_OR_FOLDER"]}
    assert options == expected.get(name, []) and ("--labels" in options) <= ('"--labels"' in source)
    assert ("download it" in str(caught.value)) == (name != "pacs")


@pytest.mark.parametrize("name", ["auto", "embedded", "cifar10"])
def test_named_folder_must_exist(name):
    with pytest.raises(InputError, match="--data-dir nowhere: no such folder"):
        registry.load(name, "nowhere")


def test_environment_folder_must_exist_where_it_is_used(monkeypatch, tiny_embedded):
    monkeypatch.setenv("MINIFL_DATA", "nowhere")
    for name in ("auto", "cifar10"):
        with pytest.raises(InputError, match="MINIFL_DATA nowhere: no such folder"):
            registry.load(name)
    assert registry.load("embedded").name == "embedded"
