"""What an image set consists of before any image is read: which files, in which order, with which labels."""

from dataclasses import dataclass

import numpy as np

from minifl.data import images
from minifl.data.dataset import Dataset, make_dataset
from minifl.errors import InputError
from minifl.rng import SPLIT, address

SPLIT_SEED = 20260101    # of our divisions in train and test: one for everybody, so that results compare


@dataclass(frozen=True)
class Plan:
    """train and test: lists of (file name, label, domain or None), in the order in which images are stored."""
    train: list
    test: list
    class_names: tuple
    domain_names: tuple = ()
    remarks: tuple = ()    # for people: what was left out, and how the set was divided

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.train + self.test]


def divide(cells: dict, share: float) -> tuple:
    """(train, test) as in `Plan`, from cells {(label, domain or None): sorted file names}.

    Stratified: of each cell with n > 1 images round(share*n), at least one and at most n - 1, are for testing, those
    that come first in the order drawn at the address (SPLIT_SEED, SPLIT, label, domain). It depends on the number of
    images and on the order of their names only. A cell with one image is for training.
    """
    train, test = [], []
    for (label, domain), names in sorted(cells.items(), key=lambda item: (item[0][1] or 0, item[0][0])):
        n = len(names)
        count = min(max(int(share * n + 0.5), 1), n - 1)
        order = address(SPLIT_SEED, SPLIT, label, domain or 0).permutation(n)
        drawn = set(order[:count].tolist())
        for i, name in enumerate(names):
            (test if i in drawn else train).append((name, label, domain))
    return train, test


def assemble(name: str, plan: Plan, decoded: images.Decoded, source: str) -> Dataset:
    """The `Dataset` of a plan and the decoded images of its names; those that are bad are left out.

    Raises InputError where no training or no test image is left.
    """
    kept = [entry for entry, is_kept in zip(plan.train + plan.test, decoded.kept) if is_kept]
    n = int(decoded.kept[:len(plan.train)].sum())
    if n in (0, len(kept)):
        raise InputError(f"no {'training' if n == 0 else 'test'} image is left\n{images.bad_images(decoded.bad)}")
    labels = np.array([label for _, label, _ in kept], np.int64)
    domains: list = [None, None]
    if plan.domain_names:
        all_domains = np.array([domain for _, _, domain in kept], np.int64)
        domains = [all_domains[:n], all_domains[n:]]
    return make_dataset(name, decoded.pixels[:n], labels[:n], decoded.pixels[n:], labels[n:], plan.class_names,
                        source, *domains, plan.domain_names)
