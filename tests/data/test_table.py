"""A partition's table as text: hash, CSV file, the table for people."""

import codecs

import numpy as np
import pytest

from minifl.data.partition import make_partition
from minifl.data.splits import label_counts
from minifl.data.table import format_table, partition_hash, read_csv, write_csv
from minifl.errors import InputError

CIFAR = np.full(10, 5000)


def test_hashes_are_stable():
    small = partition_hash(np.array([[1, 20], [0, 3]]))
    assert small == "24d8159eaac94ebe46093a9d824e049eb0aadd5e04b17c75448ed2baa4fbab32"  # sha256sum
    preset = partition_hash(label_counts("paper-dir0.1", CIFAR, 10, 0))
    assert preset == "537876886a9cbb7da6ae0f87762231a87767332235189eed09cbb11888f8362b"
    assert preset != partition_hash(label_counts("paper-2class", CIFAR, 10, 0))


@pytest.mark.parametrize("names", [["cat", "dog, wild", " a \"q\""], 3])
def test_csv_round_trip_gives_the_same_partition(tmp_path, names):
    y_train, y_test = np.repeat(np.arange(3), [50, 60, 70]), np.repeat(np.arange(3), [10, 11, 12])
    first = make_partition("dirichlet", y_train, y_test, 3, 6, 4)
    path = tmp_path / "table.csv"
    write_csv(path, first.counts, names if isinstance(names, list) else ["a", "b", "c"])
    counts = read_csv(path, names)
    assert counts.dtype == np.int64 and partition_hash(counts) == partition_hash(first.counts)
    again = make_partition(counts, y_train, y_test, 3, 6, 4)
    for a, b in zip(first.train + first.test, again.train + again.test):
        np.testing.assert_array_equal(a, b)
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_csv_text(tmp_path):
    write_csv(tmp_path / "t.csv", np.array([[1, 20], [0, 3]]), ["cat", "dog"])
    assert (tmp_path / "t.csv").read_bytes() == b"client,cat,dog\n0,1,20\n1,0,3\n"


def test_csv_from_a_spreadsheet(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffclient, cat, dog\r\n0, 1, 20\r\n\r\n1,0,3\r\n".encode())
    np.testing.assert_array_equal(read_csv(tmp_path / "t.csv", ["cat", "dog"]), [[1, 20], [0, 3]])


EXCEL = {
    "semicolons": b"client;cat;dog\r\n0;1;20\r\n1;0;3\r\n",
    "semicolons and quotes": b'client;"cat";"dog"\r\n"0";"1";"20"\r\n1;0;3\r\n',
    "CSV UTF-8": "\ufeffclient;cat;dog\r\n0;1;20\r\n1;0;3\r\n".encode(),
    "Unicode Text": "client\tcat\tdog\r\n0\t1\t20\r\n1\t0\t3\r\n".encode("utf-16"),
    "UTF-16, the other way round": codecs.BOM_UTF16_BE + "client;cat;dog\r\n0;1;20\r\n1;0;3\r\n".encode("utf-16-be"),
    "empty columns": b"client,cat,dog,,\r\n0,1,20,,\r\n1,0,3,,\r\n",
    "some empty columns": b"client,cat,dog\r\n0,1,20,,,\r\n1,0,3,\r\n",
    "empty rows": b"client;cat;dog;\r\n0;1;20;\r\n;;;\r\n1;0;3;\r\n;;;\r\n;;;\r\n\r\n",
    "decimal commas": b"client;cat;dog\r\n0;1,0;20,00\r\n1,0;0;3,\r\n",
    "decimal points": b"client,cat,dog\n0,1.0,20.00\n1.0,0.0,3\n",
    "sep": b"sep=;\r\nclient;cat;dog\r\n0;1;20\r\n1;0;3\r\n",
    "carriage returns": b"client;cat;dog\r0;1;20\r1;0;3\r",
}


@pytest.mark.parametrize("content", EXCEL.values(), ids=EXCEL)
def test_csv_from_excel(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    counts = read_csv(tmp_path / "t.csv", ["cat", "dog"])
    np.testing.assert_array_equal(counts, [[1, 20], [0, 3]])
    assert counts.dtype == np.int64


def test_csv_with_names_that_have_separators(tmp_path):
    names = ["dog, wild", "a;b", "Äpfel"]
    for content in ('client;dog, wild;"a;b";Äpfel\n0;1;2;3\n'.encode(), 'client,"dog, wild",a;b,Äpfel\n0,1,2,3\n'.encode("utf-16")):
        (tmp_path / "t.csv").write_bytes(content)
        np.testing.assert_array_equal(read_csv(tmp_path / "t.csv", names), [[1, 2, 3]])


@pytest.mark.parametrize("content, words", [
    ("client;Äpfel;dog\n0;1;2\n".encode("cp1252"), "not a text file in UTF-8 or UTF-16.*Excel saves them as 'CSV UTF-8"),
    ("client;cat;dog\n0;1;2\n".encode("utf-16-le"), "not a text file in UTF-8 or UTF-16"),     # without its mark
    (b"\xff\xfec", "not a text file in UTF-8 or UTF-16"),
    (b"client;cat;dog\n0;1,000;2\n", "line 2: '1,000'; .* without separators of thousands"),
    (b"client,cat,dog\n0,1.000,2\n", "line 2: '1.000'"),
    (b"client;cat;dog\n0;1.5;2\n", "line 2: '1.5'"),
    (b"client;cat;dog\n0;12,5;2\n", "line 2: '12,5'"),
    (b"sep=;\nclient;cat;dog\n0;12,5;2\n", "line 3: '12,5'"),
    (b"client;cat;dog\n0;1;2;;3\n", "line 2: 5 columns"),
    (b"client;cat;dog\n0;1;\n", "line 2: ''"),
    (b"client;cat;dog\n0;1\n", "line 2: 2 columns"),
    (b"client|cat|dog\n0|1|2\n", "line 1: starts with 'client|cat|dog'"),
    (b"client;cat;dog\n;;;\n0;1;2\n2;1;2\n", "line 4: client 2"),
])
def test_csv_from_excel_that_is_none(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=words.replace("|", "[|]")):
        read_csv(tmp_path / "t.csv", ["cat", "dog"])


@pytest.mark.parametrize("text, line, found", [
    (b"", 1, "starts with ''"),
    (b"client,cat,dog\n", 1, "without any count"),
    (b"client,cat,dog\n0,0,0\n", 2, "without any count"),
    (b"client,cat,cow\n0,1,2\n", 1, "class 'cow'"),
    (b"client,cat\n0,1\n", 1, "2 columns"),
    (b"round,loss\n1,2.5\n", 1, "starts with 'round'"),
    (b"client,cat,dog\n0,1,2\n1,1\n", 3, "2 columns"),
    (b"client,cat,dog\n0,1,2\n\n1,-1,3\n", 4, "'-1'"),
    (b"client,cat,dog\n0,1,2.5\n", 2, "'2.5'"),
    (b"client,cat,dog\n0,1,nan\n", 2, "'nan'"),
    (b"client,cat,dog\n0,1,\n", 2, "''"),
    (b"client,cat,dog\n0,1,\xc2\xb2\n", 2, "'\u00b2'"),
    (b"client,cat,dog\n0,1,99999999999999999999\n", 2, "12 digits"),
    (b"client,cat,dog\n0,1,2\n2,1,2\n", 3, "client 2"),
    (b"client,cat,dog\n0,1,2\ntotal,1,2\n", 3, "'total'"),
])
def test_csv_errors_name_file_and_line(tmp_path, text, line, found):
    path = tmp_path / "bad.csv"
    path.write_bytes(text)
    with pytest.raises(InputError) as error:
        read_csv(path, ["cat", "dog"])
    assert str(error.value).startswith(f"{path}, line {line}: ") and found in str(error.value)


def test_csv_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\xff\xfe")
    for name in ("image.png", "missing.csv", "."):
        with pytest.raises(InputError, match=r"not a text file|cannot be read \((No such|Is a)"):
            read_csv(tmp_path / name, 2)


def test_csv_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    for name in ("file/t.csv", "folder"):
        with pytest.raises(InputError, match="cannot be written"):
            write_csv(tmp_path / name, np.ones((1, 1), int), ["a"])
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_format_table():
    assert format_table(np.array([[1, 20], [0, 3]]), ["cat", "dog"]).splitlines() == [
        "client  cat  dog  total",
        "     0    1   20     21",
        "     1    0    3      3",
        " total    1   23     24"]
