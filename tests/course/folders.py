"""What comes of a student's folder, in processes of its own: of each test, and of grade.py."""

import json
import re
import subprocess
import sys

RUN = """
import json, sys, warnings
from importlib import import_module
from minifl.course import running
warnings.simplefilter("error")
settings = json.loads(sys.argv[1])
tests = running.tests_in(import_module(f"minifl.course.{settings['name']}.tests"))
found = {}
for seed in settings["seeds"]:
    given = running.Given(f"somebody {seed}" if seed else "", settings["variant"], seed)
    for outcome in (running.run(test, running.local, given) for test in tests):
        if outcome.message:
            found[outcome.name] = [outcome.part, outcome.message]
print(json.dumps(found))
"""


def failed(name, folder, variant, seeds=(0,)):
    """name -> [part, message] of an assignment's tests that fail in a folder."""
    done = subprocess.run([sys.executable, "-B", "-c", RUN, json.dumps({"name": name, "variant": variant, "seeds": list(seeds)})],
                          cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def graded(folder):
    """What grade.py says: the parts with full points, "3.0 of 5 points", the exit code."""
    done = subprocess.run([sys.executable, "-B", "grade.py"], cwd=folder, env={}, capture_output=True, text=True, encoding="utf-8",
                          timeout=60)
    points = re.findall(r"[\d.]+ of \d+ points", done.stdout)
    assert points, done.stdout + done.stderr
    return set(re.findall(r"^(.*?) +\[#{20}\]", done.stdout, re.M)), points[-1], done.returncode
