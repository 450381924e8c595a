"""What a student reads: no word before it is said, READER.md's example and numbers are right, its links are what it says."""

import ast
import re
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest

from minifl.commands.grade import grade_command
from minifl.course import answers, assignments, readme
from minifl.paper.tables import TABLES

# A word that is a field's, and how it is recognized in what a student reads. Where it is used it has to be explained.
WORDS = {
    "client": r"\bclients?\b", "server": r"\bservers?\b", "round": r"(?<!way )(?<!way\n)\brounds?\b", "local steps": r"\blocal steps?\b",
    "message": r"\bmessages?\b", "FedAvg": r"\bFedAvg\b", "drift": r"\bdrift", "control": r"\bcontrols?\b",
    "proximal term": r"\bproximal\b", "moments": r"\bmoments?\b", "identity": r"\bsuch an identity\b",
    "one-class": r"\bone[- ]class\b(?! in)", "collapse": r"\bcollapse", "label counts": r"\blabel counts\b",
    "momentum": r"\bmomentum\b", "weight decay": r"\bweight[_ ]decay\b", "running statistics": r"\brunning statistics\b",
    "address": r"\baddress", "effective rank": r"\beffective rank\b", "margin": r"\bmargins?\b", "logits": r"\blogits\b",
    "classifier": r"\bclassifier\b", "feature": r"\bfeatures?\b(?! ?_?norm)", "feature norm": r"\bfeature norm\b|\bFN\b",
    "softmax": r"\bsoftmax\b(?! ?cross)", "cross-entropy": r"\bcross[- ]entropy\b", "cotangent": r"\bcotangent\b|\bdL/dy\b",
    "cache": r"\bcache\b", "Jacobian": r"\bJacobians?\b", "complex step": r"\bcomplex step\b", "analytic": r"\banalytic f\b",
    "central difference": r"\bcentral difference\b", "kink": r"\bkinks?\b", "radial": r"\bradial\b",
    "eps": r"\beps\b", "gain": r"\bgain\b", "channel": r"\bchannels?\b", "map": r"\b(?:a|the|padded|whole|of a) map\b",
    "convolution": r"\bconvolutions?\b", "kernel": r"\bkernels?\b", "stride": r"\bstride\b", "padding": r"\bpadding\b",
    "window": r"\bwindows?\b", "tie": r"\bties?\b", "activation": r"\bactivations?\b", "unit": r"\bunits?\b(?! vector| cotangent)",
    "shortcut": r"\bshortcuts?\b", "branch": r"\bbranch", "projected": r"\bprojected\b", "residual block": r"\bresidual block",
    "leaky ReLU": r"\bleaky ReLU\b", "GELU": r"\bGELU\b", "Proposition 1": r"\bProposition 1\b", "Theorem 1": r"\bTheorem 1\b",
    "n_MV": r"\bn_MV\b", "floor": r"\bfloor\b"}
SAME = {"client": ("client", "one-class client"), "activation": ("activation", "activations"), "one-class": ("one-class", "one-class client"), "feature": ("feature", "features"), "channel": ("channel", "channels"),
        "window": ("window", "windows"), "moments": ("moments", "moment")}


def read_by_a_student(assignment):
    """The tasks, with what the docstrings of their functions state, the questions and the variants."""
    texts = [answers.form(assignment, {}), *(choice.what for values in assignment.choices.values() for choice in values.values())]
    for file in assignment.files:
        names = [task.function.rsplit(".", 1)[1] for task in assignments.tasks(assignment, {}, file)]
        tree = ast.parse(assignments.students(assignment, assignments.variant_of(assignment, ""), file))
        texts += [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    return "\n".join(texts)


def explained(text):
    return {" ".join(word.split()) for word in re.findall(r"\*\*([^*]+)\*\*", text)}


@pytest.mark.parametrize("name", assignments.NAMES)
def test_each_word_is_explained_before_it_is_used(name):
    assignment = assignments.load(name)
    head, text = explained(assignments.sheet(assignment).head), read_by_a_student(assignment)
    used = [word for word, pattern in WORDS.items() if re.search(pattern, text)]
    assert len(used) > 8
    assert [word for word in used if not head & set(SAME.get(word, (word,)))] == []


def test_the_page_explains_the_field():
    assert {"client", "server", "rounds", "local steps", "label skew", "one-class", "normalization", "cotangent", "cache",
            "Jacobian", "gradient check"} <= explained(readme.READER)


def test_the_example_of_the_page():
    """Its code runs; its numbers come out; and it is no layer of an assignment."""
    code = re.search(r"```python\n(.*?)```", readme.READER, re.S)[1]
    names = {}
    exec(code, names)
    y, cache = names["square"](np.array([3.0]))
    assert y == 9 and names["square_backward"](np.array([2.0]), cache) == 12
    moved = names["square"](3.001)[0]
    text = " ".join(readme.READER.split())
    assert f"y is {moved:.6f}, which is {moved - 9:.6f} more than 9" in text
    assert f"divided by 0.001 that is {2 * (moved - 9) / 0.001:.3f}" in text
    assert f"(10 * 1 + 30 * 3) / 40 = {(10 * 1 + 30 * 3) / 40}" in text
    assert not any("square" in task.function for name in assignments.NAMES for task in assignments.sheet(assignments.load(name)).tasks)


def test_the_accuracies_of_the_page_are_the_papers():
    paper = next(study for study in TABLES if study.name == "table1").paper
    plain, fn, ln = (f"{round(paper[method][0])} %" for method in ("FedAvg", "FedFN", "FedLN"))
    assert f"a test accuracy of {plain} without a norm, {fn} with feature norm and {ln} with layer norm" in " ".join(
        readme.READER.split())


def test_what_is_installed_is_what_the_package_needs():
    config = ConfigParser()
    config.read(assignments.ROOT / "setup.cfg")
    needed = [line for line in config["options"]["install_requires"].split() if not line.startswith("click")]
    installed = " ".join(f'"{package}"' for package in needed)
    assert readme.WORKING.count(f"python -m pip install {installed}\n") == 2
    assert f"Python {config['options']['python_requires'].removeprefix('>=')} or newer" in readme.WORKING


def test_the_readme():
    limits = {option.name: option.default for option in grade_command.params}
    said = (f"may take {limits['seconds']:g} seconds, all of grading {limits['total']:g} seconds, with "
            f"{limits['memory'] / 1024:g} GB of memory")
    for name in assignments.NAMES:
        assignment = assignments.load(name)
        text = readme.readme(assignment, assignments.variant_of(assignment, "ada"))
        assert all(f"- `{file}`" in text for file in (*assignment.files, answers.FILE))
        assert said in " ".join(text.split())
        assert text.endswith(readme.POLICY) and not re.search(r"{\w+}", text)
        assert len({Path(file).name for file in assignment.files}) == len(assignment.files)    # may be handed in one by one
