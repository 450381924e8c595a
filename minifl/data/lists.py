"""Which client holds which examples, said example by example, in a file of JSON.

    {"clients": [{"train": [0, 5, 7], "test": [2]}, {"train": [1, 3]}, ...]}

A client is its place in the list. Indices count from 0, in the order of the data set's training and test images, in any
order; an example belongs to one client at most. Without `test` a client has no test examples of its own. `text` writes
it one client to a line, ascending, and the sha256 of these bytes is the identity of such a partition.
"""

import hashlib
import json
from pathlib import Path

from minifl import atomic, reading
from minifl.data.dataset import Dataset
from minifl.data.own_split import checked_lists
from minifl.data.partition import Listed, Partition, of_lists
from minifl.data.table import partition_hash
from minifl.errors import InputError

FORM = 'valid is {"clients": [{"train": [0, 5, 7], "test": [2]}, {"train": [1, 3]}, ...]}'


def is_lists(path: str | Path) -> bool:
    """Whether the file at `path` begins like JSON: a table of label counts does not."""
    try:
        with reading.opened(path) as file:
            return file.read(100).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
    except OSError:
        return False    # who reads it says why


def read(path: str | Path, dataset: Dataset) -> Listed:
    """The Listed of the data set that the file at `path` lists.

    Raises InputError, naming file and client, for what is not such a file, an index that the data set does not have, one
    that comes twice, a client without any example, and where nobody holds training examples.
    """
    def fail(found):
        raise InputError(f"{path}: {found}; {FORM}") from None

    try:
        content = reading.json_file(path, reading.LARGEST)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        fail(f"no lists of examples in JSON ({error})")
    clients = content.get("clients") if isinstance(content, dict) else None
    if not isinstance(clients, list) or not clients or not all(isinstance(client, dict) for client in clients):
        fail("no list of clients")
    for k, client in enumerate(clients):
        if client.keys() - {"train", "test"}:
            fail(f"client {k} has {', '.join(sorted(client.keys() - {'train', 'test'}))!a:.60}")
        if not client.get("train") and not client.get("test"):
            fail(f"client {k} has no examples")
    train = _checked(clients, "train", len(dataset.y_train), fail)
    test = _checked(clients, "test", len(dataset.y_test), fail)
    if not any(map(len, train)):
        fail("no client has training examples")
    return of_lists(train, test, dataset.y_train, dataset.y_test, dataset.num_classes, Listed)


def _checked(clients, part, size, fail):
    """K ascending int64 arrays of the indices of `part`, of which the data set has `size`."""
    given = [client.get(part, []) for client in clients]
    for k, indices in enumerate(given):
        if not isinstance(indices, list) or not set(map(type, indices)) <= {int}:
            fail(f"client {k}: {part} is not a list of whole numbers")
        outside = [i for i in indices if not 0 <= i < size]     # of any length, where NumPy's numbers end
        if outside:
            fail(f"client {k}: {part} has the index {outside[0]}, and the data set's {part} images are 0 to {size - 1}")
    return checked_lists(given, size, lambda k, found: fail(f"client {k}: {part} {found}"))


def text(partition: Partition) -> bytes:
    """The lists of a Partition as such a file, in bytes."""
    rows = (json.dumps({"train": train.tolist(), "test": test.tolist()})
            for train, test in zip(partition.train, partition.test))
    return ('{"clients": [\n' + ",\n".join(rows) + "\n]}\n").encode()


def write(path: str | Path, partition: Partition) -> None:
    """Write the lists of a Partition, whoever made it. InputError if the file cannot be written."""
    atomic.write(path, text(partition))


def identity(partition: Partition) -> str:
    """SHA-256, in hex, of what a partition is known by: its table of label counts, or its lists if these were given."""
    return hashlib.sha256(text(partition)).hexdigest() if isinstance(partition, Listed) else partition_hash(partition.counts)
