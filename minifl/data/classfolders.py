"""A user's own images in the usual form: a folder for each class, divided in train and test or not.

    train/<class>/<image>, and test/<class>/<image> or val/<class>/<image> (or valid/, validation/): the division is the
        user's
    <class>/<image>: divided here, see `plan.divide`
"""

import unicodedata

from minifl.data.plan import Plan, divide
from minifl.data.tree import Tree, shown
from minifl.errors import InputError

TEST_SHARE = 0.2
TESTED = "test", "val", "valid", "validation"      # what is tested with: the first that is there
FORMS = "needed are train/<class>/<image> and test/<class>/<image> (or val/, valid/, validation/), or <class>/<image>"


def plan(tree: Tree, share: float | None = None) -> Plan:
    """`Plan` of the images in the `Tree`. `share`: of an undivided set, what is for testing, 0 < share < 1.

    A zip may have it all in one folder. Raises InputError for images at other places, less than two classes, a test
    class without training images, a class name that cannot be printed, and `share` for a set that is divided.
    """
    where = {name: name.split("/") for name in tree.images()}
    if tree.zip and len({parts[0] for parts in where.values()}) == 1 and all(len(p) > 2 for p in where.values()):
        where = {name: parts[1:] for name, parts in where.items()}
    where, remarks = _one_form(where)
    folders = {parts[0] for parts in where.values() if len(parts) == 3}
    divided = "train" in folders and bool(folders & set(TESTED))
    depth = 3 if divided else 2
    wrong = [name for name, parts in where.items() if len(parts) != depth or divided and parts[0] not in
             ("train", *TESTED)]
    if wrong or not where:
        found = f"{len(wrong)} images elsewhere, as {shown(wrong[0])}" if wrong else "no images"
        raise InputError(f"{tree.path}: {found}; {FORMS}")
    class_names = _classes({parts[-2] for parts in where.values()}, tree)
    label = {class_name: y for y, class_name in enumerate(class_names)}
    if divided:
        if share is not None:
            raise InputError(f"--test-share {share:g}: {tree.path} is divided in train and test already")
        entries = {folder: [] for folder in ("train", *TESTED)}
        for name, (folder, class_name, _) in where.items():
            entries[folder].append((name, label[class_name], None))
        return _divided(entries, class_names, tree, remarks)
    cells = {(y, None): [] for y in label.values()}
    for name, (class_name, _) in where.items():
        cells[label[class_name], None].append(name)
    share = TEST_SHARE if share is None else share
    train, test = divide(cells, share)
    if not test:
        raise InputError(f"{tree.path}: no class has two images, one to train and one to test with")
    remarks += (*tree.others(), f"divided here: about {share:g} of each class for testing")
    return Plan(train, test, class_names, remarks=remarks)


def _one_form(where):
    """{file name: parts of its path}, all parts in one form of Unicode (NFC), and remarks.

    Systems differ in how they write one and the same name: é as one character or as e with an accent.
    """
    composed = {name: [unicodedata.normalize("NFC", part) for part in parts] for name, parts in where.items()}
    forms = {}
    for name, parts in composed.items():
        forms.setdefault("/".join(parts[:-1]), set()).add("/".join(where[name][:-1]))
    twice = sorted(folder for folder, spelled in forms.items() if len(spelled) > 1)
    return composed, tuple(f"{shown(folder)} is there in {len(forms[folder])} forms of Unicode; they are one class here"
                           for folder in twice)


def _divided(entries, class_names, tree, remarks):
    tested, *others = (folder for folder in TESTED if entries[folder])
    untrained = {y for folder in TESTED for _, y, _ in entries[folder]} - {y for _, y, _ in entries["train"]}
    if untrained:
        names = ", ".join(class_names[y] for y in sorted(untrained))
        raise InputError(f"{tree.path}: no images in train/ of the classes {names}")
    remarks += tuple(f"{other}/ with its {len(entries[other])} images is left out, as there is {tested}/"
                     for other in others)
    remarks += tree.others()
    return Plan(entries["train"], entries[tested], class_names, remarks=remarks)


def _classes(names, tree):
    for name in sorted(names):
        if not name.isprintable():
            raise InputError(f"{tree.path}: the class name {shown(name)} cannot be printed")
    if len(names) < 2:
        raise InputError(f"{tree.path}: the only class is {', '.join(names)}; {FORMS}")
    return tuple(sorted(names))
