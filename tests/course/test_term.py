"""docs/teaching.md tells the truth: its commands run in their order, from an empty folder, and print what the page says."""

import re
import subprocess
import sys
from pathlib import Path

from minifl.commands.course import course_group
from minifl.course import assignments

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/teaching.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```bash\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.S)
ELSEWHERE = ("pip install", "course check")     # needs a network; test_private.py has it


def unsaid(said, printed):
    """The lines of the page that are not in what was printed; "..." is anything. Submissions end in any order."""
    printed = [line.strip() for line in printed.splitlines()]
    return [line for line in said.splitlines() if not any(
        re.fullmatch(r"\s*.*".join(re.escape(part.strip()) for part in line.split("...")), text) for text in printed)]


def test_what_the_page_names_is_there():
    paths = set(re.findall(r"`(?:minifl/)?((?:minifl|examples)/[\w/.]+)`", PAGE)) | set(re.findall(r"\]\((?!http)([^)#]+)\)", PAGE))
    assert paths and [path for path in paths if not (ROOT / path).exists() and not (ROOT / "docs" / path).exists()] == []


def test_what_later_assignments_hand_out_of_earlier_ones():
    loaded, said = {name: assignments.load(name) for name in assignments.NAMES}, []
    for later in loaded.values():
        earlier = [one.name for one in loaded.values() if set(one.files) & {*later.given, *later.files} and one != later]
        if earlier:
            said.append(f"{later.name} of {', '.join(earlier[:-1])} and {earlier[-1]}")
    assert f"which they build on: {'; '.join(said)}. " in " ".join(PAGE.split())


def test_the_commands_and_options_that_the_page_names_are_there():
    """Also those in sentences, which are not run."""
    sentences = re.sub(r"```(?:sh|text)\n.*?```", "", PAGE, flags=re.S)
    named = set(re.findall(r"minifl course (\w+)", sentences)) | set(re.findall(r"`course (\w+)`", sentences))
    assert {"carve", "grade", "update"} <= named <= set(course_group.commands)
    options = {option for command in course_group.commands.values() for each in command.params for option in each.opts}
    assert set(re.findall(r"[`( ](--[a-z-]+)", sentences)) <= options


def test_a_term(tmp_path):
    (tmp_path / "minifl").symlink_to(ROOT)
    (tmp_path / "env/bin").mkdir(parents=True)
    for name, command in (("minifl", f"-X utf8 {ROOT / 'cli.py'}"), ("python", "-X utf8")):
        (tmp_path / "env/bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        (tmp_path / "env/bin" / name).chmod(0o755)
    blocks = BLOCK.findall(PAGE)
    assert len(blocks) == PAGE.count("```bash")
    for commands, said in blocks:
        if any(word in commands for word in ELSEWHERE):
            continue
        done = subprocess.run(["bash", "-c", commands], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                              timeout=120)
        assert unsaid(said, done.stdout) == [], f"{commands}\n{done.stdout}"
        assert done.returncode == 0 or "grade.py" in commands, f"{commands}\n{done.stdout}"
