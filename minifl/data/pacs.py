"""PACS (D. Li, Y. Yang, Y.-Z. Song, T. Hospedales, "Deeper, Broader and Artier Domain Generalization", ICCV 2017).

9 991 images of 227x227 pixels in folders domain/class, which come from many places, often below PACS/ or kfold/. No
division in train and test comes with them, and the one of the federated experiments here, 7 907 and 1 920 images, was
published without a list. Ours is `plan.divide`: a fifth of each class of each domain is for testing.
"""

from minifl.data.plan import Plan, divide
from minifl.data.tree import Tree, shown
from minifl.errors import InputError

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
TEST_SHARE = 0.2
NEEDED = f"needed are folders domain/class of images, domains {', '.join(DOMAINS)}, classes {', '.join(CLASSES)}"


def plan(tree: Tree) -> Plan:
    """`Plan` of the set in the `Tree`, at its top or in a folder of it. Raises InputError for what does not fit."""
    cells, tops = {}, set()
    names = tree.images()
    for name in names:
        *above, domain, label, _ = ["", "", *name.split("/")]
        if domain in DOMAINS and label in CLASSES:
            tops.add("/".join([*above[2:], ""]))
            cells.setdefault((CLASSES.index(label), DOMAINS.index(domain)), []).append(name)
    if len(tops) > 1:
        raise InputError(f"{tree.path}: domains in several places, {', '.join(map(shown, sorted(tops)))}; "
                         "give the one to read")
    missing = [f"{domain}/{label}" for d, domain in enumerate(DOMAINS) for c, label in enumerate(CLASSES)
               if (c, d) not in cells]
    if missing:
        raise InputError(f"{tree.path}: no images in {', '.join(missing[:3])}{', ...' if missing[3:] else ''} "
                         f"({len(missing)} of {len(DOMAINS) * len(CLASSES)} folders); {NEEDED}")
    train, test = divide(cells, TEST_SHARE)
    rest = len(names) - len(train) - len(test)
    remarks = (f"{rest} images elsewhere are left out",) if rest else ()
    remarks += (*tree.others(), "divided here, as no division is published: about a fifth of each class of each domain "
                                "for testing")
    return Plan(train, test, CLASSES, DOMAINS, remarks)
