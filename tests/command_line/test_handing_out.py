"""`course carve --roster`: a class's folders and archives, the rules of working together; what was handed in so is found."""

import json
import zipfile

import pytest
from click.testing import CliRunner

from minifl.cli import main
from minifl.course import assignments, carve, submission, uploads

CLASS = "id,name\nada,Ada Lovelace\n emmy@uni.example ,Emmy Noether\n"


def course(*arguments):
    result = CliRunner().invoke(main, ["course", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture
def roster(tmp_path):
    (tmp_path / "class.csv").write_text(CLASS)
    return tmp_path / "class.csv"


def test_a_class_is_carved_in_one_command_and_who_comes_later_too(roster, tmp_path):
    out = tmp_path / "handed-out"
    code, said = course("carve", "hw2", "--roster", roster, "--out", out, "--zip")
    assert code == 0 and "hw2 for 2 students" in said and "2 new, 0 were there" in said, said
    assert sorted(path.name for path in out.iterdir()) == ["ada", "ada.zip", "emmy@uni.example", "emmy@uni.example.zip"]
    settings = json.loads((out / "emmy@uni.example" / carve.SETTINGS).read_text())
    assert {key: settings[key] for key in ("assignment", "student", "variant")} == {
        "assignment": "hw2", "student": "emmy@uni.example",
        "variant": assignments.variant_of(assignments.load("hw2"), "emmy@uni.example")}
    with zipfile.ZipFile(out / "ada.zip") as zipped:
        assert {name.removeprefix("ada/"): zipped.read(name) for name in zipped.namelist()} == {
            str(path.relative_to(out / "ada")): path.read_bytes() for path in (out / "ada").rglob("*") if path.is_file()}
    (out / "ada/minifl/layers/norm.py").write_text("work")
    roster.write_text(CLASS + "sofia,Sofia\n")
    code, said = course("carve", "hw2", "--roster", roster, "--out", out, "--zip")
    assert code == 0 and "1 new, 2 were there" in said and (out / "sofia.zip").exists()
    assert (out / "ada/minifl/layers/norm.py").read_text() == "work"


def test_another_private_file_for_the_same_folders(roster, tmp_path):
    """Half a class with one salt and half with another would be graded wrongly."""
    out = tmp_path / "handed-out"
    for salt, code in (("one", 0), ("two and more", 2)):
        (tmp_path / f"{salt}.py").write_text(f'SALT = "{salt}"\n')
        found, said = course("carve", "hw3", "--roster", roster, "--out", out, "--private", tmp_path / f"{salt}.py")
        assert found == code, said
    assert "ada is there and was not carved so" in said


def test_what_does_not_go_with_a_roster(roster, tmp_path):
    for option in ("--student", "ada"), ("--variant", "eps=added"):
        code, said = course("carve", "hw2", "--roster", roster, "--out", tmp_path / "x", *option)
        assert code == 2 and "leave --student and --variant out" in said and not (tmp_path / "x").exists()


def test_rules_of_the_instructor(tmp_path):
    (tmp_path / "rules.md").write_text("Work in pairs.\n", encoding="utf-8")
    code, said = course("carve", "hw6", "--out", tmp_path / "a", "--policy", tmp_path / "rules.md")
    assert code == 0 and (tmp_path / "a/README.md").read_text().endswith("## Working together\n\nWork in pairs.\n")
    (tmp_path / "rules.md").write_bytes(b"\xff")
    for file in ("rules.md", "none.md"):
        code, said = course("carve", "hw6", "--out", tmp_path / "b", "--policy", tmp_path / file)
        assert code == 2 and f"--policy {tmp_path / file}: cannot be read" in said and not (tmp_path / "b").exists()


@pytest.mark.parametrize("packed", ["the folder", "what is in it", "single files", "with what a Mac adds"])
def test_a_folder_that_was_handed_out_is_found_however_it_is_packed(tmp_path, packed):
    """As README says under "Hand in"; answers.md, too."""
    assignment = assignments.load("hw6")
    carve.carve(assignment, tmp_path / "hw6")
    wanted = [*assignment.files, "answers.md"]
    with zipfile.ZipFile(tmp_path / "mine (1).zip", "w") as zipped:
        for path in (tmp_path / "hw6").rglob("*"):
            name = path.relative_to(tmp_path / "hw6").as_posix()
            if packed == "single files":
                if name in wanted:
                    zipped.write(path, path.name)
            else:
                zipped.write(path, f"hw6/{name}" if packed != "what is in it" else name)
            if packed == "with what a Mac adds":
                zipped.writestr(f"__MACOSX/hw6/{name.replace('/', '/._')}", "x")
    (tmp_path / "unpacked").mkdir()
    folder = uploads.gathered((tmp_path / "mine (1).zip",), tmp_path / "unpacked")
    for file in wanted:
        assert submission.read(folder, file, submission.LARGEST) == (tmp_path / "hw6" / file).read_bytes(), file
