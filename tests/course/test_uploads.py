"""Archives as learning platforms hand them out, and as nobody should: what is found in them, and what is never done."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from minifl.course import uploads
from minifl.errors import InputError

SETTINGS = "minifl/course/settings.json"


def archive(files):
    """The bytes of a zip: name -> content, text, bytes or a dict of an archive within."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, archive(content) if isinstance(content, dict) else content)
    return data.getvalue()


@pytest.fixture
def found(tmp_path):
    """What uploads finds in a zip of these files: name, after that of the zip, -> the files, path -> bytes."""
    def look(files):
        path = tmp_path / "s.zip"
        path.write_bytes(files if isinstance(files, bytes) else archive(files))
        with uploads.submissions(path) as submissions:
            return {name.removeprefix(str(path)).lstrip("/"): {
                str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
                for name, folder in submissions}
    return look


ONE = {"minifl/layers/norm.py": "n", SETTINGS: "{}"}
BYTES = {name: text.encode() for name, text in ONE.items()}
JUNK = {"__MACOSX/._norm.py": "j", ".DS_Store": "j", ".ipynb_checkpoints/norm.py": "j", "__pycache__/norm.pyc": "j"}


def inside(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def test_of_one_student(found):
    assert found(ONE) == found(ONE | JUNK) == found({"minifl\\layers\\norm.py": "n", SETTINGS: "{}"}) == {"": BYTES}
    assert found({"norm.py": "n"}) == {"": {"norm.py": b"n"}}
    assert found(inside("hw2-ada", ONE) | JUNK) == {"hw2-ada": BYTES}
    assert found(inside("a/b", ONE)) == {"a/b": BYTES} and found({"a.zip": ONE}) == {"a.zip": BYTES}
    assert found({}) == found({"essay.pdf": "x"}) == {"": {}}


def test_of_many_as_moodle_does(found):
    ada, emmy, empty = (f"{name}_{number}_assignsubmission_file_" for number, name in enumerate(("Ada Ä", "Emmy", "Zoe"), 11))
    assert found({**inside(ada, ONE), f"{emmy}/hw2.zip": inside("hw2", ONE) | JUNK, f"{empty}/essay.pdf": "x"}) == {
        ada: BYTES, f"{emmy}/hw2.zip/hw2": BYTES, empty: {}}


def test_of_many_as_canvas_does(found):
    assert found({"adaada_1_2_hw2.zip": ONE, "emmyemmy_LATE_3_4_hw2-1.ZIP": inside("hw2", ONE)}) == {
        "adaada_1_2_hw2.zip": BYTES, "emmyemmy_LATE_3_4_hw2-1.ZIP/hw2": BYTES}


def test_a_broken_archive_of_one_keeps_no_other_from_a_mark(found):
    submissions = found({"ada.zip": ONE, "emmy.zip": "PK no archive"})
    assert submissions.pop("ada.zip") == BYTES
    (name, files), = submissions.items()
    assert name.startswith("emmy.zip (cannot be unpacked: ") and files == {}


def test_nothing_outside_and_no_links(found, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    link = zipfile.ZipInfo("minifl/layers/loss.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    evil = {"../norm.py": "e", "/tmp/minifl-evil.py": "e", "minifl/../../norm.py": "e", "..\\..\\norm.py": "e", link: "/etc/passwd",
            "a\0b.py": "e"}
    assert set(found(ONE | evil)[""]) <= {*ONE, "a", "a\0b.py"}
    assert [file for file in sorted(tmp_path.rglob("*")) if file.name != "s.zip"] == before
    assert not Path("/tmp/minifl-evil.py").exists()


def test_names_that_no_terminal_should_see(found):
    name, = found(inside("ada\x1b[2J", ONE))
    assert name == "ada?[2J"


def test_sizes_are_bounded(found, monkeypatch):
    size = uploads.LARGEST
    assert {len(data) for data in found({"norm.py": "#" * 3 * size})[""].values()} == {size + 1}    # refused as too large
    assert len(found({"bomb.zip": inside("a", {f"{i}.py": b"#" * size for i in range(10)})})["bomb.zip/a"]) == 10
    monkeypatch.setattr(uploads, "MOST_BYTES", 5 * size)
    with pytest.raises(InputError, match="unpacks to more than .* 5 MB of .py, .json, .zip; give folders"):
        found({"bomb.zip": inside("a", {f"{i}.py": b"#" * size for i in range(10)})})
    monkeypatch.setattr(uploads, "MOST_FILES", 10)
    with pytest.raises(InputError, match="more than 10 files"):
        found({f"{i}.txt": "" for i in range(11)})


def test_a_header_that_lies_about_a_size(found):
    """The size that counts is what comes out."""
    data = archive({"norm.py": b"#" * 3 * uploads.LARGEST})
    real = (3 * uploads.LARGEST).to_bytes(4, "little")
    assert data.count(real) == 2
    try:
        assert len(found(data.replace(real, (10).to_bytes(4, "little")))[""].get("norm.py", b"")) <= uploads.LARGEST + 1
    except InputError as error:
        assert "cannot be unpacked" in str(error)


def test_archives_in_archives_end(found):
    nested = ONE
    for _ in range(20):
        nested = {"a.zip": nested}
    (name, files), = found(nested).items()
    assert name.count("a.zip") == uploads.DEEPEST and set(files) == {"a.zip"}


@pytest.mark.parametrize("spoil", [lambda data: data[:len(data) // 2], lambda data: data[:40] + b"\xff" * 20 + data[60:],
                                   lambda data: data.replace(b"\x08\x00", b"\x63\x00"), lambda data: b"PK\x05\x06" + b"\0" * 18,
                                   lambda data: data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")])
def test_damaged_archives(found, spoil):
    data = archive({"norm.py": "".join(map(str, range(1000)))})
    assert spoil(data) != data
    try:
        assert list(found(spoil(data))) == [""]
    except InputError as error:
        assert "s.zip: cannot be unpacked" in str(error) or "no zip archive" in str(error)


def test_a_folder_is_itself_and_other_files_are_refused(tmp_path):
    with uploads.submissions(tmp_path) as submissions:
        assert submissions == [(str(tmp_path), tmp_path)]
    (tmp_path / "s.tar.gz").write_bytes(os.urandom(100))
    with pytest.raises(InputError, match="is not a folder, and no zip archive"):
        with uploads.submissions(tmp_path / "s.tar.gz"):
            pass


def test_what_was_unpacked_goes(tmp_path):
    path = tmp_path / "s.zip"
    path.write_bytes(archive(ONE))
    with uploads.submissions(path) as ((_, folder),):
        assert folder.is_dir()
    assert not folder.exists()
