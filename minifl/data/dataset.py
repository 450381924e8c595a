"""What every data set is here: images in uint8, labels in int64, a name, and where the bytes came from."""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minifl.backend import Array
from minifl.errors import InputError


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled set of images, split in train and test by whoever published it.

    x_train, x_test            (N, H, W, C) uint8; may be memory-mapped, read only
    y_train, y_test            (N,) int64, 0 <= y < num_classes
    class_names                tuple of str, one per class
    source                     one sentence for people: where the bytes came from
    sha256                     of the arrays, see `content_hash`; the identity of the data in every record
    domain_train, domain_test  (N,) int64 or None: which of domain_names an image belongs to
    """
    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple
    source: str
    sha256: str
    domain_train: np.ndarray | None = None
    domain_test: np.ndarray | None = None
    domain_names: tuple = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple:
        """(H, W, C)"""
        return self.x_train.shape[1:]


def make_dataset(name: str, x_train: Array, y_train: Array, x_test: Array, y_test: Array, class_names: Iterable[str],
                 source: str, domain_train: Array | None = None, domain_test: Array | None = None,
                 domain_names: Iterable[str] = ()) -> Dataset:
    """A checked `Dataset` with its hash computed from the arrays. Raises InputError as `check` does."""
    sha256 = content_hash(x_train, y_train, x_test, y_test, domain_train, domain_test)
    dataset = Dataset(name, x_train, y_train, x_test, y_test, tuple(class_names), source, sha256,
                      domain_train, domain_test, tuple(domain_names))
    check(dataset)
    return dataset


def content_hash(*arrays: Array | None) -> str:
    """sha256 (hexadecimal) over dtype, shape and bytes of the arrays, in order; None is passed over."""
    digest = hashlib.sha256()
    for a in arrays:
        if a is not None:
            digest.update(f"{a.dtype.str}{a.shape}".encode())
            digest.update(np.ascontiguousarray(a))
    return digest.hexdigest()


class Shared(NamedTuple):
    """count: test images that are among the training images, pixel by pixel; a pair of them: indices into the data set."""
    count: int
    train: int
    test: int


def shared_images(dataset: Dataset) -> Shared | None:
    """The Shared of a data set, with the first such test image; None if there is none. A test accuracy that counts them says
    less than it seems to."""
    first = {}
    for i, image in enumerate(dataset.x_train):
        first.setdefault(content_hash(image), i)
    found = [(i, first[digest]) for i, image in enumerate(dataset.x_test) if (digest := content_hash(image)) in first]
    return Shared(len(found), found[0][1], found[0][0]) if found else None


def check(dataset: Dataset) -> None:
    """Raise InputError, saying what does not fit, unless shapes, dtypes, lengths and label ranges agree."""
    check_names(dataset.class_names, "class_names")
    check_names(dataset.domain_names, "domain_names")
    parts = [("train", dataset.x_train, dataset.y_train, dataset.domain_train),
             ("test", dataset.x_test, dataset.y_test, dataset.domain_test)]
    if not (dataset.domain_train is None) == (dataset.domain_test is None) == (not dataset.domain_names):
        raise InputError("domain_train, domain_test and domain_names must all be given, or none of them")
    for part, x, y, domain in parts:
        if x.dtype != np.uint8 or x.ndim != 4 or x.size == 0:
            raise InputError(f"x_{part} must be uint8 images (N, H, W, C), found {x.dtype} {x.shape}")
        _check_labels(f"y_{part}", y, len(x), len(dataset.class_names))
        if domain is not None:
            _check_labels(f"domain_{part}", domain, len(x), len(dataset.domain_names))
    if dataset.x_train.shape[1:] != dataset.x_test.shape[1:]:
        raise InputError(f"train images are {dataset.image_shape}, test images {dataset.x_test.shape[1:]}")


def check_names(names: Iterable[str], what: str) -> None:
    """Raise InputError unless all names are texts that can be printed, and different ones in whatever form of Unicode."""
    seen = {}
    for name in names:
        if not isinstance(name, str) or not name.isprintable():
            raise InputError(f"{what} must be texts that can be printed, found {name!a:.80}")
        composed = unicodedata.normalize("NFC", name)
        if composed in seen:
            raise InputError(f"{what} must differ, found {name} twice, as {seen[composed]!a} and {name!a}")
        seen[composed] = name


def _check_labels(name, y, length, names):
    if y.dtype != np.int64 or y.shape != (length,):
        raise InputError(f"{name} must be int64 ({length},), one per image, found {y.dtype} {y.shape}")
    if y.min() < 0 or y.max() >= names:
        raise InputError(f"{name} must lie in 0..{names - 1}, found {y.min()}..{y.max()}")
