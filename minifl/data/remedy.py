"""Which script makes which file: the command that error messages offer."""

import re
import shlex

SCRIPTS = {    # name of the set -> what comes after data_scripts/
    "cifar10": "cifar10.py",
    "cifar100": "cifar100.py",
    "cifar100-coarse": "cifar100.py --labels coarse",
    "tinyimagenet": "tinyimagenet.py",
    "pacs": "pacs.py --from FILE_OR_FOLDER",    # there is no address to download it from
    "mnist": "mnist.py",
    "fashionmnist": "fashionmnist.py",
}


def is_plain(name):
    """Whether `name` can be that of a set: no path, no hidden file, nothing that a shell would take apart."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None


def command(name, folder):
    """The command that makes <folder>/<name>.npz; --from has to be filled in where there is nothing to download."""
    script = SCRIPTS.get(name, f"folder.py --from FOLDER --name {shlex.quote(name)}")
    return f"python data_scripts/{script} --data-dir {shlex.quote(str(folder))}"
