"""TinyImageNet-200 as Stanford's course cs231n distributes it: JPEG files of 64x64 pixels in folders, in a zip.

Below tiny-imagenet-200: wnids.txt with a class (a WordNet id) per line, in the order of the labels here; words.txt
with `wnid<tab>name, name, ...`; train/<wnid>/images/*.JPEG, 500 for each class; val/images/*.JPEG, 50 for each class,
with val/val_annotations.txt, `file<tab>wnid<tab>box`. The labels of test/ were never published; val is the test set
here, as everywhere.

Many reorganize it, so that libraries find a folder for each class: val/<wnid>/*.JPEG or val/<wnid>/images/*.JPEG, and
train/<wnid>/*.JPEG. Both are taken, with the same images in the same order: that of the numbers in the names of val.
"""

import posixpath
import re

from minifl.data.plan import Plan
from minifl.data.tree import Tree, shown
from minifl.errors import InputError

NEEDED = ("needed is the unpacked zip or the zip: wnids.txt, words.txt, train/<wnid>/images, val/val_annotations.txt and "
          "val/images, or val/<wnid>")


def plan(tree: Tree) -> Plan:
    """`Plan` of the set in the `Tree`, at its top or in a folder of it. Raises InputError for what does not fit."""
    tops = [name.removesuffix("wnids.txt") for name in tree.names if posixpath.basename(name) == "wnids.txt"]
    if len(tops) != 1:
        raise InputError(f"{tree.path}: {len(tops) or 'no'} wnids.txt; {NEEDED}")
    top, present = tops[0], set(tree.images())
    wnids = tree.text(f"{top}wnids.txt").split()
    label = {wnid: i for i, wnid in enumerate(wnids)}
    if len(label) < 2 or len(label) != len(wnids):
        raise InputError(f"{tree.path}: {top}wnids.txt must have a class per line, each once; found {len(wnids)} "
                         f"lines, {len(label)} different ones")
    train = [(name, label[wnid], None) for name in sorted(present)
             if (wnid := _class_folder(name, f"{top}train/")) in label]
    test = sorted(((name, label[wnid], None) for name in present if (wnid := _class_folder(name, f"{top}val/")) in label),
                  key=lambda entry: _number(entry[0]))
    published = [name for name in present if name.startswith(f"{top}val/images/")]
    if test and published:
        raise InputError(f"{tree.path}: {shown(published[0])} and {shown(test[0][0])}: {top}val/ has images both as they "
                         f"were published and in a folder for each class; remove one of them")
    if not test:
        test = _annotated(tree, top, label)
    missing = [name for name, _, _ in test if name not in present]
    if missing:
        raise InputError(f"{tree.path}: {len(missing)} images of {top}val/val_annotations.txt are not there, "
                         f"the first is {shown(missing[0])}")
    empty = set(wnids) - {wnids[y] for _, y, _ in train}
    if empty or not test:
        what = f"training images of {len(empty)} classes ({', '.join(sorted(empty)[:3])})" if empty else "test images"
        raise InputError(f"{tree.path}: no {what}; {NEEDED}")
    train.sort(key=lambda entry: entry[1])    # by class; within one the names stay sorted
    rest = len(present) - len(train) - len(test)
    remarks = (f"{rest} other images are left out (those in test/ have no labels)",) if rest else ()
    return Plan(train, test, _class_names(tree, top, wnids), remarks=remarks)


def _class_folder(name, begin):
    """<wnid> of `begin`<wnid>/images/<file> or `begin`<wnid>/<file>, else None."""
    parts = name.removeprefix(begin).split("/")
    return parts[0] if name.startswith(begin) and (len(parts) == 2 or len(parts) == 3 and parts[1] == "images") else None


def _number(name):
    """What sorts val_2 before val_10, in whatever folder."""
    file = posixpath.basename(name)
    return [int(digits) for digits in re.findall("[0-9]+", file)], file


def _annotated(tree, top, label):
    where = f"{top}val/val_annotations.txt"
    if where not in tree.names:
        raise InputError(f"{tree.path}: {where} missing; {NEEDED}")
    entries = {}
    for number, line in enumerate(tree.text(where).splitlines(), 1):
        file, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in label or "/" in file or file in entries:
            raise InputError(f"{tree.path}: {where}, line {number}: '{shown(line[:60].expandtabs(1))}', must be a file "
                             "not named above, a tab, a class of wnids.txt")
        entries[file] = (f"{top}val/images/{file}", label[wnid], None)
    return list(entries.values())


def _class_names(tree, top, wnids):
    """The first name of each class in words.txt; its WordNet id where there is none, and added where two agree."""
    words = tree.text(f"{top}words.txt") if f"{top}words.txt" in tree.names else ""
    first = dict(line.split("\t", 1) for line in words.splitlines() if "\t" in line)
    names = [first.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    return tuple(name if names.count(name) == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids))
