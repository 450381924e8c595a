"""A data set that a function of somebody's own returns: what the function has to be, and what it may return."""

import inspect

import numpy as np

from minifl.backend import Array
from minifl.data.dataset import Dataset, make_dataset
from minifl.errors import InputError

NEEDED = "x_train", "y_train", "x_test", "y_test"
BESIDES = "class_names", "domain_train", "domain_test", "domain_names", "source"
KEYS = f"{', '.join(NEEDED)} and, where there are such, {', '.join(BESIDES)}"


def check(function: object) -> None:
    """Raises InputError for what cannot be called without arguments; the message goes on after its name."""
    if not callable(function) or isinstance(function, type):
        what = "a class" if isinstance(function, type) else type(function).__name__
        raise InputError(f"is {what}; it must be a function without arguments that returns a data set")
    asked = [name for name, parameter in inspect.signature(function).parameters.items() if parameter.default is
             parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)]
    if asked:
        raise InputError(f"asks for {', '.join(asked)}; a function that returns a data set is called without arguments")


def made_by(name: str, made: object) -> Dataset:
    """The `Dataset` called `name` of what a function returned: one already, or a dict of NEEDED and maybe BESIDES.

    Images are (N, H, W, C) or (N, H, W): whole numbers from 0 to 255, or real ones from 0 to 1, which are rounded to whole
    255ths. Labels and domains are whole numbers from 0; without names they are their own. Raises InputError.
    """
    if isinstance(made, Dataset):
        made = {key: getattr(made, key) for key in (*NEEDED, *BESIDES) if getattr(made, key) is not None}
    if not isinstance(made, dict):
        raise InputError(f"--data {name}: returns {type(made).__name__}; valid are a minifl.data.dataset.Dataset, or a dict "
                         f"with {KEYS}")
    missing, others = [key for key in NEEDED if key not in made], [key for key in made if key not in (*NEEDED, *BESIDES)]
    if missing or others:
        raise InputError(f"--data {name}: its dict has {f'no {missing[0]}' if missing else others[0]}; valid are {KEYS}")
    try:
        images = {key: _images(key, made[key]) for key in ("x_train", "x_test")}
        y_train, y_test, domain_train, domain_test = (
            _whole(key, made.get(key)) for key in ("y_train", "y_test", "domain_train", "domain_test"))
        class_names = made.get("class_names", _numbers(y_train, y_test))
        domain_names = made.get("domain_names", _numbers(domain_train, domain_test))
        return make_dataset(name, images["x_train"], y_train, images["x_test"], y_test, class_names,
                            str(made.get("source", f"made by {name}")), domain_train, domain_test, domain_names)
    except InputError as error:
        raise InputError(f"--data {name}: {error}") from error


def _images(key: str, images: object) -> Array:
    """Images in any of the forms that `made_by` takes, as uint8 (N, H, W, C)."""
    x = np.asarray(images)
    x = x[..., None] if x.ndim == 3 else x
    if x.dtype.kind not in "uif" or not x.size:
        raise InputError(f"{key} must be images (N, H, W, C), whole from 0 to 255 or real from 0 to 1, found {x.dtype} "
                         f"{x.shape}")
    highest = 1 if x.dtype.kind == "f" else 255
    if not (x.min() >= 0 and x.max() <= highest):       # NaN is neither
        raise InputError(f"{key} of {x.dtype} must lie in 0..{highest}, found {x.min():g}..{x.max():g}")
    return x if x.dtype == np.uint8 else np.rint(x * (255 // highest)).astype(np.uint8)


def _whole(key, labels):
    """Labels as int64; None stays."""
    if labels is None:
        return None
    y = np.asarray(labels)
    if y.dtype.kind not in "ui":
        raise InputError(f"{key} must be whole numbers, found {y.dtype} {y.shape}")
    return y.astype(np.int64)


def _numbers(*labels):
    """The numbers up to the highest label as texts."""
    highest = max((int(y.max()) for y in labels if y is not None and y.size), default=-1)
    return tuple(map(str, range(highest + 1)))
