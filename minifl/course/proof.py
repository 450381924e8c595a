"""`course check`: that assignments are sound, by carving them, solving them, and handing in what is wrong.

Of each assignment: the stubs import; exactly the tests that give points fail on them, and with the reference all pass,
in every variant; a published solution is none in another variant, and no published one in a private variant; no text of a
solution is in a student's folder; each wrong submission loses points of its part and of no other; each function is needed
for points of its part, and has a test that needs no other one; and the points that texts name add up.
No cheat earns a point, and each is seen (cheats.py).
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from minifl.course import answers, assignments, carve, cheats, installed, regions, running
from minifl.course.wrong_submissions import mistakes_of, wrong_submissions

MOST_SECONDS = 60    # for all public tests of an assignment
AT_A_TIME = 12       # submissions that one process tries
TOO_LONG = 600       # for a process of the check itself: then it hangs
STUDENTS = ("ada", "emmy")
MORE = ("grace",)    # of these, too, the private variants are tried
SUFFIXES = {".py", ".md", ".json"}


class Row(NamedTuple):
    """One thing that has to hold."""
    assignment: str
    what: str
    passed: bool
    detail: str = ""   # what was found


def check(name: str, jobs: int | None = 1, private: str | Path | None = None) -> Iterator[Row]:
    """Yield the Rows of one assignment; `jobs` processes at a time. private: of the variants that this file draws for some
    students, instead of the published ones."""
    assignment = assignments.load(name, private)
    published = assignments.variant_of(assignment, "")
    tests, parts = running.tests_in(assignments.tests(assignment, published)), assignments.parts(assignment)
    points = {part: sum(test.points for test in tests if test.part == part) for part in parts}
    given = [test.__name__ for test in tests if test.part not in parts and test.points]
    yield Row(name, "points of tests are those of the sheet", points == parts and not given,
              f"{sum(parts.values())} points" if points == parts else f"tests {points}, sheet {parts}; {given}")
    wrong = list(_points_that_do_not_add_up(assignment, parts))
    yield Row(name, "points in what a student reads add up", not wrong, "; ".join(wrong))
    with ThreadPoolExecutor(jobs) as pool:      # each thread waits for a process
        tried = list(_variants(assignment))
        variants = [pool.submit(lambda *of: list(_one_variant(*of)), assignment, *of) for of in tried]
        wrong = [_wrong(assignment, pool, *of) for of in tried] if assignment.draw else [_wrong(assignment, pool)]
        cheating = pool.submit(lambda *of: list(_cheats(*of)), assignment, *tried[0])
        for rows in variants:
            yield from rows.result()
        for rows in wrong:
            yield from rows()
        yield from cheating.result()


def _points_that_do_not_add_up(assignment, parts):
    """Of each part the points that its tasks name; and every number of points that is in the texts otherwise."""
    sheet, total, named = assignments.sheet(assignment), sum(parts.values()), dict.fromkeys(parts, 0)
    stubs = [assignments.students(assignment, assignments.variant_of(assignment, ""), file) for file in assignment.files]
    for part, points in re.findall(r"Task \(\w+, (.+), (\d+) points?\)", "\n".join(stubs)):
        named[part] += int(points)
    yield from (f"the tasks of {part} name {named[part]} points of {points}" for part, points in parts.items()
                if named[part] != points)
    for where, text, right in (("the head", sheet.head, total), *((task.function, task.text, parts[task.part])
                                                                  for task in sheet.tasks)):
        yield from (f"{where} says {points} points, it should be {right}" for points in re.findall(r"(\d+) points?\b", text)
                    if int(points) != right)


def line(row: Row) -> str:
    """A Row as a line of the table."""
    detail = f": {row.detail}" if row.detail else ""
    return f"{row.assignment}  {'ok    ' if row.passed else 'FAILED'}  {row.what}{detail}"


def _variants(assignment):
    """(label, variant, student): the published one, each other value alone, and those of some students; of a private
    file's functions these alone."""
    if assignment.draw is None:
        yield from ((label, variant, "") for label, variant in _one_by_one(assignment))
    for student in (*STUDENTS, *(MORE if assignment.draw else ())):
        variant = assignments.variant_of(assignment, student)
        of = "" if assignment.draw else f", {','.join(f'{a}={v}' for a, v in variant.items())}"
        yield f"{student}'s{of}", variant, student


def _one_by_one(assignment):
    """(label, variant): the published one, and each other published value alone."""
    published = assignments.variant_of(assignment, "")
    yield "published", published
    for axis, values in assignment.choices.items():
        for value in list(values)[1:]:
            yield f"{axis}={value}", published | {axis: value}


def _one_variant(assignment, label, variant, student):
    name = assignment.name
    with tempfile.TemporaryDirectory(prefix="minifl-check-") as folder:
        folder = Path(folder)
        carve.write_tree(assignment, folder, student=student, variant=variant)
        stray = _stray(assignment, folder)
        yield Row(name, f"{label}: the folder holds what is on the allowlist", not stray, ", ".join(stray or (
            f"{axis}={value}" for axis, value in variant.items() if assignment.draw and axis not in assignment.choices)))
        leaks = list(_leaks(assignment, variant, folder))
        yield Row(name, f"{label}: no text of a solution in it", not leaks, "; ".join(leaks[:5]))
        stubs = {file: (folder / file).read_text(encoding="utf-8") for file in assignment.files}
        reference = _reference(assignment, variant)
        public = [other for _, other in _one_by_one(assignment)][:None if assignment.draw else 1]
        published = [_reference(assignment, other) for other in public if other != variant]
        begin = time.perf_counter()
        on_stubs, solved, *copied = _trial(folder, [stubs, reference, *published])
        seconds = time.perf_counter() - begin
        imported = isinstance(on_stubs, list)
        yield Row(name, f"{label}: stubs import", imported, "" if imported else on_stubs)
        if imported:
            wrong = [f"{test} {message}" for test, _, points, _, message in on_stubs
                     if message.startswith(running.NOT_WRITTEN) != (points > 0) or (not points and message)]
            yield Row(name, f"{label}: exactly the tests with points fail on them", not wrong, "; ".join(wrong))
        failed = solved if isinstance(solved, str) else "; ".join(f"{o[0]}: {o[4]}" for o in solved if o[4])
        yield Row(name, f"{label}: with the reference all pass", not failed, failed or f"{seconds:.1f} s")
        yield Row(name, f"{label}: in less than {MOST_SECONDS} s", seconds < MOST_SECONDS)
        if assignment.draw:
            earned = [0 if isinstance(copy, str) else sum(outcome[3] for outcome in copy) for copy in copied]
            most, points = max(earned), sum(assignments.parts(assignment).values())
            yield Row(name, f"{label}: no published solution is one", most < points,
                      f"{len(copied)} have at most {most} of {points} points")
        elif published:
            lost = _lost(*copied)
            yield Row(name, f"{label}: the published solution is none", isinstance(lost, set) and bool(lost),
                      f"loses {_parts(lost)}")
        if student or label == "published":     # the tests of the others have passed above, in the same folder
            alone = _stand_alone(folder, reference)
            yield Row(name, f"{label}: grade.py alone gives full marks", not alone, alone)


def _wrong(assignment, pool, label="", variant=None, student=""):
    """Try the wrong submissions, of a variant the mistakes that it leaves possible, and those in which one function is not
    written; returns what yields their Rows."""
    wrong = list(mistakes_of(assignment, variant) if variant else wrong_submissions(assignment))
    everything, variant = variant is None, variant or assignments.variant_of(assignment, "")
    reference = _reference(assignment, variant)
    unwritten = list(_one_unwritten(assignment, variant))
    submissions = [({**reference, one.file: one.text}, "") for one in wrong]
    submissions += [(reference, task.function) for task, _ in unwritten]

    def tried(some):
        with tempfile.TemporaryDirectory(prefix="minifl-check-") as folder:
            carve.write_tree(assignment, Path(folder), student=student, variant=variant)
            return _trial(Path(folder), *zip(*some))

    results = [pool.submit(tried, submissions[i:i + AT_A_TIME]) for i in range(0, len(submissions), AT_A_TIME)]

    def rows():
        found = [one for some in results for one in some.result()]
        # a function that others call, and no test: it costs them their tests
        again = [number for number, (task, _) in enumerate(unwritten, len(wrong)) if task.part not in _lost(found[number])]
        if again:
            inside = tried([(reference | unwritten[number - len(wrong)][1], "") for number in again])
            for number, result in zip(again, inside):
                found[number] = result
        yield from _rows_of_wrong(assignment, f"{label}: " if label else "", everything, wrong,
                                  [task for task, _ in unwritten], found)

    return rows


def _cheats(assignment, label, variant, student):
    """Hand in cheats, in one variant."""
    found = list(cheats.tried(assignment, student, variant))
    wrong = [f"{cheat}: {what}" for cheat, what in found if what]
    yield Row(assignment.name, f"{label}: no cheat earns a point or goes unseen", not wrong,
              "; ".join(wrong) or f"{len(found)} cheats")
    constant = dict(cheats.constant(assignment, variant, _reference(assignment, variant)))
    with tempfile.TemporaryDirectory(prefix="minifl-check-") as folder:
        carve.write_tree(assignment, Path(folder), student=student, variant=variant)
        results = _trial(Path(folder), list(constant.values()))
    wrong = [f"{answer}: {outcome if isinstance(result, str) else outcome[0]}" for answer, result in zip(constant, results)
             for outcome in ([result] if isinstance(result, str) else result)
             if isinstance(result, str) or outcome[3] and outcome[0] not in cheats.HONEST]
    yield Row(assignment.name, f"{label}: no answer that is the same for every question earns a point", not wrong,
              "; ".join(wrong) or ", ".join(constant))


def _rows_of_wrong(assignment, label, everything, wrong, unwritten, results):
    covered = {submission.part for submission in wrong}
    if everything:
        yield Row(assignment.name, "every part has wrong submissions", covered == set(assignments.parts(assignment)),
                  f"{len(wrong)} of {len(covered)} parts")
    without = {task.function: result for task, result in zip(unwritten, results[len(wrong):])}
    untested = [task.function for task in unwritten if task.part not in _lost(without[task.function])]
    yield Row(assignment.name, f"{label}each function costs points of its part if it alone is not written", not untested,
              ", ".join(untested) or f"{len(unwritten)} functions")
    failing = {name: {outcome[0] for outcome in result if outcome[3] < outcome[2]} for name, result in without.items()
               if not isinstance(result, str)}
    joint = [name for name in failing if name not in untested and not failing[name].difference(*(
        tests for other, tests in failing.items() if other not in (name, name.removesuffix("_backward"))))]
    yield Row(assignment.name, f"{label}each function has a test that needs no other one, but for the forward pass of a "
              "backward pass", not joint, ", ".join(joint))
    for submission, result in zip(wrong, results):
        lost = _lost(result)
        what = lost if isinstance(lost, str) else f"lost {_parts(lost) or 'nothing'}"
        yield Row(assignment.name, f"{label}wrong submission, {submission.part}: {submission.what}",
                  lost == {submission.part}, what if lost != {submission.part} else "")


def _one_unwritten(assignment, variant):
    """(Task, the file in which it alone is not written), for each that is a student's to write."""
    for file in assignment.files:
        source, module = assignments.source(assignment, variant, file), assignments.module(file)
        for task in assignments.tasks(assignment, variant, file):
            yield task, {file: regions.cut(source, module, [task])}


def _reference(assignment, variant):
    return {file: assignments.source(assignment, variant, file) for file in assignment.files}


def _lost(result):
    """The parts that lost points; the message of a submission that could not be tried."""
    return result if isinstance(result, str) else {part for _, part, points, earned, _ in result if earned < points}


def _parts(lost):
    return lost if isinstance(lost, str) else ", ".join(sorted(lost))


def _trial(folder, submissions, unwritten=()):
    """For each submission its tests' outcomes, or a message; see trial.py. unwritten: of each what is not written, or ""."""
    submissions = [{"files": files, "unwritten": name} for files, name in zip_longest(submissions, unwritten, fillvalue="")]
    result = subprocess.run([sys.executable, "-I", "-B", str(Path(__file__).parent / "trial.py"), str(folder)],
                            input=json.dumps({"path": installed.path(), "submissions": submissions}),
                            capture_output=True, encoding="utf-8", errors="replace", timeout=TOO_LONG)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return lines + [f"the process ended: {result.stderr.strip()[-300:]}"] * (len(submissions) - len(lines))


def _stand_alone(folder, reference):
    """What is wrong with grade.py's run on the reference, as a student runs it."""
    for file, text in reference.items():
        (folder / file).write_text(text, encoding="utf-8")
    result = subprocess.run([sys.executable, "-B", "-X", "utf8", "grade.py"], cwd=folder, capture_output=True,
                            encoding="utf-8", errors="replace", timeout=TOO_LONG)
    return "" if result.returncode == 0 else (result.stdout + result.stderr)[-400:]


def _stray(assignment, folder):
    """Files of a carved folder that are not on its allowlist."""
    here = f"minifl/course/{assignment.name}"
    allowed = {*carve.ALWAYS, *assignment.given, *assignment.files, f"{here}/tests.py", carve.SETTINGS, "grade.py",
               "README.md", "READER.md", answers.FILE}
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}
    return [file for file, path in found.items() if path.suffix not in SUFFIXES or file not in allowed
            and not (path.name == "__init__.py" and not path.read_text(encoding="utf-8"))]


def _leaks(assignment, variant, folder):
    """Where a run of tokens of a solution, published or of the variant, stands in a carved folder, and what of its files
    only solutions use."""
    for file in assignment.files:
        source, students = (of(assignment, variant, file) for of in (assignments.source, assignments.students))
        for name in regions.left_over(source, students):
            yield f"{name} of {file}, which only solutions use and no task mentions"
    secret = {}
    for of in (variant, assignments.variant_of(assignment, "")):
        for file in assignment.files:
            secret |= dict.fromkeys(assignments.solutions(assignment, of, file), file)
    for words in answers.key(assignment, variant).values():
        secret |= dict.fromkeys(regions.shingles(words, python=False), answers.KEY)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            for shingle in sorted(regions.shingles(text, path.suffix == ".py") & set(secret)):
                yield f"{' '.join(shingle[1:])!r} of {secret[shingle]} in {path.relative_to(folder)}"
