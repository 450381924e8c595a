"""Archives as learning platforms hand them out, and as nobody should: what is found in them, and what is never done."""

import io
import os
import stat
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from minifl.course import uploads

SETTINGS = "minifl/course/settings.json"


def archive(files):
    """The bytes of a zip: name -> content, text, bytes or a dict of an archive within."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, archive(content) if isinstance(content, dict) else content)
    return data.getvalue()


def files_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def gathered(entry):
    """The files of an entry's submission, or why it is none, as the process that grades it finds them."""
    with TemporaryDirectory() as folder:
        try:
            return entry.why or files_of(uploads.gathered(entry.paths, Path(folder)))
        except uploads.Broken as error:
            return str(error)


@pytest.fixture
def found(tmp_path):
    """What uploads finds in a zip of these files: the entry's first name -> its files, path -> bytes, or why it is none."""
    def look(files, name="s.zip", one=False):
        path = tmp_path / name
        path.write_bytes(files if isinstance(files, bytes) else archive(files))
        with uploads.entries(path, one) as entries:
            return {entry.names[0]: gathered(entry) for entry in entries}
    return look


ONE = {"minifl/layers/norm.py": "n", SETTINGS: "{}"}
BYTES = {name: text.encode() for name, text in ONE.items()}
NEITHER = "is not a folder, and no zip archive either"
JUNK = {"__MACOSX/._norm.py": "j", ".DS_Store": "j", ".ipynb_checkpoints/norm.py": "j", "__pycache__/norm.pyc": "j"}


def inside(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def test_of_one_student(found):
    assert found(ONE) == found(ONE | JUNK) == found({"minifl\\layers\\norm.py": "n", SETTINGS: "{}"}) == {"s.zip": BYTES}
    assert found({"norm.py": "n"}) == found({"norm.py": "n"}, one=True) == {"s.zip": {"norm.py": b"n"}}
    assert found(inside("hw2-ada", ONE) | JUNK) == found(inside("a/b", ONE)) == found({"a.zip": ONE}) == {"s.zip": BYTES}
    assert found({}, one=True) == {"s.zip": {}} and found({}) == {}
    assert found({**inside("a", ONE), **inside("b", ONE)}, one=True) == {"s.zip": "holds 2 submissions (a, b); one is needed"}
    assert found({**inside("hw2", ONE), "venv/lib/six.py": "s"}, one=True) == {"s.zip": BYTES}


def test_of_many_as_moodle_does(found):
    ada, emmy, zoe, eve = (f"{name}_{number}_assignsubmission_file_" for number, name in
                           enumerate(("Ada \xc4", "Emmy", "Zoe", "Eve"), 11))
    submissions = found({**inside(ada, ONE), f"{emmy}/hw2.zip": inside("hw2", ONE) | JUNK, f"{zoe}/essay.pdf": "x",
                         f"{eve}norm.py": "n", f"{eve}settings.json": "{}"})
    assert list(submissions.values()) == [BYTES, BYTES, {"norm.py": b"n", "settings.json": b"{}"}, {"essay.pdf": b""}]
    assert list(submissions) == [ada, emmy, f"{eve}norm.py", zoe]


def test_of_many_as_canvas_does(found):
    assert found({"adaada_1_2_hw2.zip": ONE, "emmyemmy_LATE_3_4_hw2-1.ZIP": inside("hw2", ONE), "zoe_5_6_essay.pdf": "x",
                  "eve_7_9_norm-1.py": "new", "eve_7_8_norm.py": "old", "eve_7_8_loss.py": "l"}) == {
        "adaada_1_2_hw2.zip": BYTES, "emmyemmy_LATE_3_4_hw2-1.ZIP": BYTES, "zoe_5_6_essay.pdf": NEITHER,
        "eve_7_8_loss.py": {"loss.py": b"l", "norm.py": b"new"}}


def test_who_it_is_cannot_be_said_from_within(found):
    """A student's own archive has the name that the platform gave it, whatever folders are in it."""
    assert list(found({"ada.zip": inside("emmy_1_assignsubmission_file_", ONE), "eve.zip": ONE})) == ["ada.zip", "eve.zip"]
    assert list(found(inside("emmy", ONE), "ada.zip")) == ["ada.zip"]


def test_a_broken_archive_of_one_keeps_no_other_from_a_mark(found):
    assert found({"ada.zip": ONE, "emmy.zip": "PK no archive"}) == {"ada.zip": BYTES, "emmy.zip": NEITHER}


def test_nothing_outside_and_no_links(found, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    link = zipfile.ZipInfo("minifl/layers/loss.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    evil = {"../norm.py": "e", "/tmp/minifl-evil.py": "e", "minifl/../../norm.py": "e", "..\\..\\norm.py": "e", link: "/etc/passwd",
            "a\0b.py": "e"}
    assert set(found(ONE | evil)["s.zip"]) <= {*ONE, "a", "a\0b.py"}
    assert [file for file in sorted(tmp_path.rglob("*")) if file.name != "s.zip"] == before
    assert not Path("/tmp/minifl-evil.py").exists()


def test_links_in_a_folder_are_not_followed(tmp_path):
    """Not to another student's folder either."""
    (tmp_path / "class/emmy/minifl").mkdir(parents=True)
    (tmp_path / "class/emmy/minifl/norm.py").write_text("n")
    (tmp_path / "class/eve").mkdir()
    (tmp_path / "class/eve/hw2").symlink_to(tmp_path / "class/emmy")
    (tmp_path / "class/ada").symlink_to(tmp_path / "class/emmy")
    with uploads.entries(tmp_path / "class") as entries:
        assert [(entry.names, entry.why, gathered(entry)) for entry in entries] == [
            (("ada",), "is a link", "is a link"), (("emmy",), "", {"minifl/norm.py": b"n"}), (("eve",), "", {})]


def test_names_that_no_terminal_should_see(found):
    assert list(found({**inside("ada\x1b[2J", ONE), **inside("emmy", ONE)})) == ["ada?[2J", "emmy"]


def test_sizes_are_bounded(found, monkeypatch):
    size = uploads.LARGEST
    assert {len(data) for data in found({"norm.py": "#" * 3 * size})["s.zip"].values()} == {size + 1}    # refused as too large
    bomb = {"ada.zip": ONE, "bomb.zip": inside("a", {f"{i}.py": b"#" * size for i in range(10)})}
    assert len(found(bomb)["bomb.zip"]) == 10
    monkeypatch.setattr(uploads, "OWN_BYTES", 5 * size)
    assert found(bomb) == {"ada.zip": BYTES, "bomb.zip": "unpacks to more than 5,000 files or 5 MB"}
    monkeypatch.setattr(uploads, "OWN_FILES", 5)
    assert found(bomb) == {"ada.zip": BYTES, "bomb.zip": "unpacks to more than 5 files or 5 MB"}


def test_a_header_that_lies_about_a_size(found):
    """The size that counts is what comes out."""
    data = archive({"norm.py": b"#" * 3 * uploads.LARGEST})
    real = (3 * uploads.LARGEST).to_bytes(4, "little")
    assert data.count(real) == 2
    lied = found(data.replace(real, (10).to_bytes(4, "little")), one=True)["s.zip"]
    assert "cannot be unpacked" in lied or len(lied.get("norm.py", b"")) <= uploads.LARGEST + 1


def test_archives_in_archives_end(found):
    nested = ONE
    for _ in range(20):
        nested = {"a.zip": nested}
    assert found(nested) == {"s.zip": "holds archives or folders more than 4 deep"}


@pytest.mark.parametrize("spoil", [lambda data: data[:len(data) // 2], lambda data: data[:40] + b"\xff" * 20 + data[60:],
                                   lambda data: data.replace(b"\x08\x00", b"\x63\x00"), lambda data: b"PK\x05\x06" + b"\0" * 18,
                                   lambda data: data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")])
def test_damaged_archives(found, spoil):
    data = archive({"norm.py": "".join(map(str, range(1000)))})
    assert spoil(data) != data
    said, = found(spoil(data), one=True).values()
    assert said in ({}, NEITHER) or "norm.py" in said or "cannot be unpacked" in said


def test_a_class_is_unpacked_in_a_process_with_limits(found, monkeypatch):
    assert found(b"PK no archive") == {"s.zip": NEITHER}
    monkeypatch.setattr(uploads, "SECONDS", 0.01)
    assert found({"ada.zip": ONE, "emmy.zip": ONE}) == {"s.zip": "takes more than 0.01 s to unpack"}


def test_a_folder_is_itself_and_other_files_are_refused(tmp_path):
    (tmp_path / "minifl").mkdir()
    with uploads.entries(tmp_path) as entries:
        assert entries == [uploads.Entry((tmp_path.name,), (tmp_path,))]
    (tmp_path / "minifl/ada").symlink_to(tmp_path)
    with uploads.entries(tmp_path / "minifl/ada") as (entry,):      # the instructor's own link
        assert entry.names == ("ada",)
    (tmp_path / "s.tar.gz").write_bytes(os.urandom(100))
    with uploads.entries(tmp_path / "s.tar.gz") as (entry,):
        assert gathered(entry) == NEITHER


def test_what_was_unpacked_goes(tmp_path):
    path = tmp_path / "s.zip"
    path.write_bytes(archive(ONE))
    with uploads.entries(path) as (entry,):
        assert entry.paths[0].is_dir()
    assert not entry.paths[0].exists()
