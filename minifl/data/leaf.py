"""Images by user in LEAF's form (Caldas et al. 2018, https://leaf.cmu.edu): FEMNIST and what is made like it.

    FOLDER/train/*.json, FOLDER/test/*.json      or both in FOLDER/data/
    {"users": [name, ...], "num_samples": [n, ...], "user_data": {name: {"x": [pixels, ...], "y": [label, ...]}, ...}}

pixels: numbers in a row, line by line, or nested (H, W) or (H, W, C); all from 0 to 1, or all whole and from 0 to 255.
Users become what a data set calls its domains: those of train in the order of the files, then those of test alone.
"""

import hashlib
import math
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.data.dataset import Dataset, make_dataset
from minifl.data.tree import shown
from minifl.errors import InputError

FORM = 'needed is {"users": [...], "num_samples": [...], "user_data": {user: {"x": [...], "y": [...]}}}'
LARGEST = 1 << 32   # bytes of a file; LEAF's own have 100 users each, of FEMNIST 0.2 GB
CLASSES = 1000      # at most


def find(folder: str | Path) -> dict[str, list]:
    """{"train": files, "test": files} below a folder, each sorted by name. Raises InputError if one of them is missing."""
    for top in (Path(folder), Path(folder) / "data"):
        found = {part: sorted((top / part).glob("*.json")) for part in ("train", "test")}
        if all(found.values()):
            return found
    raise InputError(f"{folder}: needed are train/*.json and test/*.json, as LEAF's preprocess.sh makes them with -t sample "
                     f"(or -t user) in data/")


def read(name: str, folder: str | Path, shape: tuple | None = None) -> Dataset:
    """The Dataset `name` of a folder. shape (H, W, C) of flat pixels; default: square, grey or RGB. Raises InputError."""
    parts, users, scales, digest, files = {}, {}, {}, hashlib.sha256(), 0
    for part, found in find(folder).items():
        images, labels, owners, seen = [], [], [], set()
        for file in found:
            try:
                content = reading.whole(file, LARGEST)
                read_users = list(_users(reading.parsed(content.decode())))
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
            except ValueError as error:
                raise InputError(f"{file}: {error}; {FORM}") from error
            digest.update(content)
            files += 1
            for user, x, y in read_users:
                where = f"{file}: user {shown(user)}"
                if user in seen:
                    raise InputError(f"{where}: is in {part}/ twice")
                seen.add(user)
                if len(x):
                    images.append(_pixels(x, shape, scales, where))
                    labels.append(_labels(y, len(x), where))
                    owners.append(np.full(len(x), users.setdefault(user, len(users))))
        if not images:
            raise InputError(f"{folder}: no example in {part}/")
        sizes = {x.shape[1:] for x in images}
        if len(sizes) > 1:
            raise InputError(f"{folder}: images of different shapes in {part}/: {', '.join(map(str, sorted(sizes)))}")
        parts[part] = np.concatenate(images), np.concatenate(labels), np.concatenate(owners)
    (x_train, y_train, of_train), (x_test, y_test, of_test) = parts["train"], parts["test"]
    classes = [str(c) for c in range(max(y_train.max(), y_test.max()) + 1)]
    source = f"{name} in LEAF's form, {len(users)} users, from {files} JSON files with the sha256 {digest.hexdigest()}"
    return make_dataset(name, x_train, y_train, x_test, y_test, classes, source, of_train, of_test, list(users))


def _users(content):
    """[(user, x, y)] of a file; ValueError for another form."""
    if not isinstance(content, dict) or not isinstance(content.get("user_data"), dict) or \
            not isinstance(content.get("users"), list) or not isinstance(content.get("num_samples"), list):
        raise ValueError("not a file of LEAF's form")
    users, counts, data = content["users"], content["num_samples"], content["user_data"]
    if sorted(map(str, users)) != sorted(data) or len(counts) != len(users):
        raise ValueError("users, num_samples and user_data are not of the same users")
    for user, count in zip(map(str, users), counts):
        own = data[user]
        x, y = (own.get("x"), own.get("y")) if isinstance(own, dict) else (None, None)
        if not isinstance(x, list) or not isinstance(y, list) or not len(x) == len(y) == count:
            raise ValueError(f"user {shown(user)} must have {count} x and y, found {_length(x)} and {_length(y)}")
        yield user, x, y


def _length(value):
    return len(value) if isinstance(value, list) else "none"


def _pixels(x, shape, scales, where):
    """x as uint8 (N, H, W, C). scales: largest pixel -> where it was met first; it must be one for the whole set."""
    try:
        values = np.array(x)
    except ValueError:
        raise InputError(f"{where}: x are of different lengths") from None
    if values.dtype.kind not in "fiu" or not values.size:
        raise InputError(f"{where}: x are no pixels but {'texts' if values.dtype.kind == 'U' else values.dtype}; minifl has "
                         f"networks for images (FEMNIST; of CelebA, LEAF's files have the names of images only)")
    if not (values.min() >= 0 and values.max() <= 255):     # NaN is neither
        raise InputError(f"{where}: pixels from {values.min():g} to {values.max():g}; valid are 0 to 1, or 0 to 255")
    if values.max() > 1 and (values != np.rint(values)).any():
        raise InputError(f"{where}: pixels up to {values.max():g} that are not whole; valid are 0 to 1, or whole 0 to 255")
    largest = 255 if values.max() > 1 else 1
    if values.any():
        scales.setdefault(largest, where)
    if len(scales) > 1:
        other = next(iter(scales))
        raise InputError(f"{where}: pixels from 0 to {largest}, and from 0 to {other} at {scales[other]}; make them alike")
    values = np.rint(values * (255 / largest))
    return values.astype(np.uint8).reshape(len(x), *_shape(values.shape[1:], shape, where))


def _shape(found, wanted, where):
    """(H, W, C) of pixels of shape `found`."""
    if wanted is not None:
        if math.prod(found) != math.prod(wanted):
            raise InputError(f"{where}: {math.prod(found)} pixels, --shape {'x'.join(map(str, wanted))} has "
                             f"{math.prod(wanted)}")
        return wanted
    if len(found) == 1:
        for channels in (1, 3):
            side = math.isqrt(found[0] // channels)
            if side * side * channels == found[0]:
                return side, side, channels
    if len(found) == 2 or len(found) == 3 and found[-1] in (1, 3):
        return (*found, 1)[:3]
    raise InputError(f"{where}: pixels of shape {found} are no square image, grey or RGB; --shape HxWxC says what they are")


def _labels(y, count, where):
    bad = [label for label in y if type(label) is not int or not 0 <= label < CLASSES]
    if bad:
        raise InputError(f"{where}: label {str(bad[0])[:40]!a}, must be a whole number from 0 to {CLASSES - 1}")
    return np.array(y, np.int64)
