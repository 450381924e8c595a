"""The data sets that minifl knows, each declared once: what it is, where it comes from, who makes its file, and what a run
takes for it where nothing is chosen."""

import re
import shlex
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Known:
    """image_shape (H, W, C); num_classes; images (training, test) or together, as published.

    script    what comes after data_scripts/ to make its file; None: it is generated
    title     with its authors, for people and the source in every record
    url, md5  of the official archive, or the folder and its files in their order; None: there is no address that stays
    defaults  of a run, as far as they differ from COMMON
    """
    image_shape: tuple
    num_classes: int
    images: tuple | int
    script: str | None
    title: str
    url: str | None = None
    md5: str | tuple | None = None
    defaults: dict = field(default_factory=dict)


# First as it is for CIFAR-10: the paper's (lr, local steps, batch, width); 400 rounds are the first point of its Figure 4,
# the paper's final numbers take 10 000. Testing the models of 10 clients takes ten times as long as testing the global one:
# every 50 rounds that is a fifth of the time on CIFAR-10.
COMMON = {"rounds": 400, "lr": 0.01, "width": 1.0, "local_eval_every": 50, "model": "cnn", "augment": "crop-flip",
          "setting": "oneclass", "num_clients": 10, "classes_per_client": 2, "dirichlet_alpha": 0.1, "by_domain": False}
OTHERS = COMMON | {"setting": "dirichlet"}      # a user's own set: it fits any number of classes

_CIFAR100 = dict(image_shape=(32, 32, 3), images=(50_000, 10_000), title="CIFAR-100",
                 url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", md5="03b5dce01913d631647c71ecec9e9cb8")
DATASETS = {
    "embedded": Known(      # the learning rate at which the plain and the FN network both do best (results/
        (32, 32, 3), 10, (10_000, 2_000), None, "generated images of minifl",   # embedded-lr-grid), a minute on 2 cores
        defaults={"rounds": 100, "lr": 0.05, "width": 0.25, "local_eval_every": 10}),
    "cifar10": Known(
        (32, 32, 3), 10, (50_000, 10_000), "cifar10.py", "CIFAR-10",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar100": Known(      # the paper has lr 0.1 in a table and 0.01 in its text, which is taken
        num_classes=100, script="cifar100.py", defaults={"setting": "nclass", "num_clients": 50}, **_CIFAR100),
    "cifar100-coarse": Known(
        num_classes=20, script="cifar100.py --labels coarse", defaults={"num_clients": 20}, **_CIFAR100),
    "tinyimagenet": Known(
        (64, 64, 3), 200, (100_000, 10_000), "tinyimagenet.py", "TinyImageNet-200 (Stanford CS231n, 2015)",
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de",
        {"model": "resnet18", "setting": "dirichlet", "num_clients": 200, "dirichlet_alpha": 0.02, "local_eval_every": 0}),
    "pacs": Known(          # 224 pixels as in the paper
        (224, 224, 3), 7, 9_991, "pacs.py --from FILE_OR_FOLDER", "PACS (D. Li et al., 2017)",
        defaults={"model": "resnet18", "setting": "disjoint", "by_domain": True, "num_clients": 12, "lr": 0.001,
                  "augment": "resized-crop"}),
    "mnist": Known(
        (28, 28, 1), 10, (60_000, 10_000), "mnist.py", "MNIST (Y. LeCun, C. Cortes, C. Burges, 1998)",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
         "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
        {"augment": "crop"}),       # a mirrored digit is none
    "fashionmnist": Known(
        (28, 28, 1), 10, (60_000, 10_000), "fashionmnist.py", "Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017)",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
         "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310")),
}
DEFAULTS = {name: COMMON | known.defaults for name, known in DATASETS.items()}


def is_plain(name: str) -> bool:
    """Whether `name` can be that of a set: no path, no hidden file, nothing that a shell would take apart."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None


def command(name: str, folder: object) -> str:
    """The command that makes <folder>/<name>.npz; --from has to be filled in where there is nothing to download."""
    script = DATASETS[name].script if name in DATASETS else None
    script = script or f"folder.py --from FOLDER --name {shlex.quote(name)}"
    return f"python data_scripts/{script} --data-dir {shlex.quote(str(folder))}"
