"""Data sets by name, and the folder in which their files are looked for."""

import os
from pathlib import Path

from minifl import own
from minifl.data import embedded, own_data
from minifl.data.dataset import Dataset, make_dataset
from minifl.data.files import read_dataset
from minifl.data.known import DATASETS, command, is_plain
from minifl.errors import InputError

LOADERS = {}        # FILE.py:name, or the name of an entry point -> function that returns a data set
own.kind("data", LOADERS, own_data.check, "minifl.data",
         others=lambda name: not own.is_file(name) and (name in names() or not own.installed("minifl.data", name)))


def names() -> tuple:
    """The names that minifl knows. `load` takes others too: those of files that are in the folder."""
    return ("auto", *DATASETS)


def data_folder(data_dir: str | Path | None = None) -> tuple:
    """(folder, what named it): the argument, else the environment variable MINIFL_DATA, else ./data."""
    if data_dir is not None:
        return Path(data_dir), "--data-dir"
    if os.environ.get("MINIFL_DATA"):
        return Path(os.environ["MINIFL_DATA"]), "MINIFL_DATA"
    return Path("data"), None


def check_name(name: str, option: str) -> None:
    """Raise InputError unless `name` can be that of a file in any folder."""
    if not is_plain(name):
        raise InputError(f"{option} {name!a}: a name has letters, digits, - _ and . only, and begins with a letter or "
                         "digit; folders are named by --data-dir")


def check_own_name(name: str) -> None:
    """Raise InputError unless `name` can be that of a set of the user's own."""
    if name in names():
        raise InputError(f"--name {name}: is the name of a set that minifl knows, take another")
    check_name(name, "--name")


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """The `Dataset` of that name, from <folder>/<name>.npz; "embedded" is generated, and "auto" is cifar10 where its
    file is there, else the embedded set; one's own, FILE.py:name, is what the function returns.

    `source` of what is returned says which it was. Raises InputError for a name that is neither known nor that of a
    file in the folder, a folder that was named and does not exist, and a file that is missing or damaged (under
    "auto" too: a damaged file is no reason to train on something else).
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"--data {name!r} is invalid; it must be one of {', '.join(names())}, or the name of your own")
    if name in LOADERS:
        with own.running("data", name):
            made = LOADERS[name]()
        return own_data.made_by(name, made)
    if own.is_file(name):
        raise own.unnamed("data", name)
    check_name(name, "--data")
    folder, named_by = data_folder(data_dir)
    needs_folder = name != "embedded" or data_dir is not None
    if needs_folder and named_by and not os.path.isdir(folder):
        raise InputError(f"{named_by} {folder}: no such folder")
    if name == "auto":
        name = "cifar10" if os.path.lexists(folder / "cifar10.npz") else "embedded"
    return _embedded() if name == "embedded" else _from_file(name, folder / f"{name}.npz")


def _from_file(name, path):
    if not os.path.lexists(path):
        if name in DATASETS:
            script = command(name, path.parent)
            both = f"download it with: {script}, or make it from what you have with: {script} --from FILE_OR_FOLDER"
            remedy = f"make it from what you have with: {script}" if "--from" in script else both
            raise InputError(f"--data {name}: {path} does not exist; {remedy}")
        found = sorted(p.stem for p in path.parent.glob("*.npz") if p.stem not in names() and is_plain(p.stem))
        raise InputError(f"--data {name}: unknown, must be one of {', '.join(names())}, or your own: in the folder "
                         f"{path.parent} there is {', '.join(found) or 'none'}; {command(name, path.parent)} makes one")
    dataset = read_dataset(path)
    if dataset.name != name:
        raise InputError(f"{path}: holds the data set {dataset.name!r}, not {name}; name the file so, or make it anew "
                         f"with: {command(name, path.parent)} --force")
    return dataset


def _embedded():
    e = embedded.generate()
    source = (f"generated images of minifl ({len(e.x_train)} for training, {len(e.x_test)} for testing), "
              f"{len(embedded.CLASS_NAMES)} shapes in {len(embedded.DOMAIN_NAMES)} rendering styles")
    return make_dataset("embedded", e.x_train, e.y_train, e.x_test, e.y_test, embedded.CLASS_NAMES, source,
                        e.domain_train, e.domain_test, embedded.DOMAIN_NAMES)
