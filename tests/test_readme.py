"""README tells the truth: its commands run (here or in .ci/run), its tables come from records, its links exist."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))     # for `python tests/test_readme.py`, too

import checkers
import tables as bench

from minifl.course import assignments
from minifl.data.known import DATASETS
from minifl.data.partition import SETTINGS
from minifl.data.registry import load
from minifl.data.splits import OPTIONS, asked_for, told
from minifl.declared import choices_of
from minifl.fl.algorithms import ALGORITHMS
from minifl.gradcheck.mutants import MUTANTS
from minifl.models import MODELS, build
from minifl.models.norms import NORMS
from minifl.paper import STUDIES as STUDIES_OF_PAPER
from minifl.paper import claims, collapse, report
from minifl.paper.study import cells
from minifl.runs import summary
from minifl.runs.record import read_config, read_end

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "results/README.md", "benchmarks/README.md")}
README = DOCUMENTS["README.md"]
CI = (ROOT / ".ci" / "run").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line]


def run(command, folder, **environment):
    """A README command in `folder`, with this Python instead of the virtual environment's."""
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    for script in ("cli.py", "data_scripts/cifar10.py"):
        command = command.replace(f" {script}", f" {shlex.quote(str(ROOT / script))}")
    environment = {**os.environ, **environment}
    return subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)


def in_ci(command):
    """Whether .ci/run holds the command word for word, maybe inside quotes or with another virtual environment."""
    return command in CI or command in CI.replace('"', "'")


def test_every_command_is_run_here_or_in_ci():
    elsewhere = [command for command in COMMANDS if not in_ci(command)]
    assert [command for command in elsewhere if "partition" not in command] == [CIFAR10, SWEEP, DESCRIBE, *LAYERS]


CIFAR10 = next(command for command in COMMANDS if "cifar10.py" in command)
SWEEP = next(command for command in COMMANDS if "sweep" in command)
DESCRIBE = next(command for command in COMMANDS if "describe" in command)
LAYERS = [command for command in COMMANDS if "gradcheck scale.py" in command]


def test_describe_command(tmp_path):
    result = run(DESCRIBE, tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"flatten +\| +\| 2048 ", result.stdout)     # the paper's ResNet-18: 2 048 for 64 px
    assert re.search(r"classifier +\| linear +\| 200 +\| 409,600 ", result.stdout)


@pytest.mark.parametrize("command", LAYERS)
def test_gradcheck_commands_of_a_users_file(tmp_path, command):
    (tmp_path / "scale.py").write_text(re.search(r"```python\n# scale.py.*?\n(.*?)```", README, re.S)[1])
    result = run(command, tmp_path)
    assert result.returncode == 1 and "1 layer: 1 FAILED." in result.stdout, result.stderr
    assert "gain: off by the factor 0.5" in result.stdout


def test_partition_commands(tmp_path):
    commands = [command for command in COMMANDS if "cli.py partition" in command]
    assert len(commands) == 2
    first, second = [run(command, tmp_path) for command in commands]
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    hashes = [re.findall("sha256 ([0-9a-f]{64})", result.stdout) for result in (first, second)]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 1


def test_cifar10_command(tmp_path):
    """README's line, on a small archive in the genuine format instead of the network, and one short round."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(20) % 10
        (folder / name).write_bytes(records.tobytes())
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    command = CIFAR10.replace("cifar10.py", f"cifar10.py --from {shlex.quote(str(folder))}", 1)
    result = run(command + " --rounds 1 --local-steps 1 --width 0.05", tmp_path, MINIFL_DATA="")
    assert result.returncode == 0, result.stderr
    assert "Test accuracy" in result.stdout and (tmp_path / "data" / "cifar10.npz").exists()


def test_sweep_command(tmp_path, data_dir):
    """README's line; runs of a moment, on data that need not be drawn twelve times."""
    small = f" --data cifar10 --data-dir {shlex.quote(str(data_dir))} --rounds 1 --local-steps 1 --model mlp --width 0.01"
    result = run(SWEEP + small, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "12 runs in runs/first-sweep" in result.stdout and result.stdout.count("| cifar10") == 4


def methods_table():
    """A line for each method: what its file says it is, its hyperparameters with defaults, its tests."""
    rows = [("`--algorithm`", "method", "options", "tests")]
    for name, method in ALGORITHMS.items():
        said = " ".join(sys.modules[method.__module__].__doc__.split("\n\n")[0].split())
        said = re.sub(', "[^"]*"', "", said)        # the paper's title
        options = ", ".join(f"`{choice.option} {choice.default}`" for choice in choices_of(method).values())
        tests = ROOT / f"tests/fl/algorithms/test_{name}.py"
        assert tests.exists()
        rows.append((f"`{name}`", said, options or "-", f"[`{tests.name}`]({tests.relative_to(ROOT)})"))
    return summary.markdown(rows) + "\n"


def models_table():
    """A line for each network: what `describe` says of it."""
    rows = [("--model", "what", "parameters", "MFLOP")]
    for name, what in {"cnn": "the paper's CNN as released", "cnn-table7": "as printed in its Table 7",
                       "mlp": "two hidden layers of 200", "resnet8": "16-32-64, a block each",
                       "resnet18": "64-128-256-512, two blocks each", "resnet20": "16-32-64, three blocks each",
                       "vit": "4x4 patches, 4 blocks of 4 heads, width 128"}.items():
        model = build(name, 10, (32, 32, 3))
        rows.append((f"`{name}`", what, f"{model.spec.size:,}", f"{model.flops / 1e6:.1f}"))
    assert [row[0] for row in rows[1:]] == [f"`{name}`" for name in MODELS]
    return summary.markdown(rows) + "\n"


def settings_table():
    """A line for each split: the first sentence of its function, and the options that it asks for."""
    return summary.markdown([("--setting", "who holds what", "options")] + [
        (f"`{name}`", told(split), ", ".join(f"`{OPTIONS[option].option}`" for option in asked_for(split) if option in OPTIONS))
        for name, split in SETTINGS.items()]) + "\n"


def datasets_table():
    """A line for each data set as it is declared; of the defaults those that are not CIFAR-10's."""
    rows = [("--data", "made by data_scripts/", "images", "classes", "defaults where they differ")]
    for name, known in DATASETS.items():
        images = " + ".join(f"{n:,}" for n in np.atleast_1d(known.images))
        own = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in known.defaults.items())
        rows.append((f"`{name}`", f"`{known.script}`" if known.script else "nothing: it is generated",
                     f"{images} of {'x'.join(map(str, known.image_shape))}", str(known.num_classes), own))
    return summary.markdown(rows) + "\n"


def norms_table():
    """A line for each norm: where it puts what."""
    return summary.markdown([("--norm", "main path", "last", "branches", "what")] + [
        (f"`{name}`", *(kind.replace("identity", "-") for kind in norm[:3]), norm.help) for name, norm in NORMS.items()]) + "\n"


def checkers_table():
    """The rules of other checkers and all of our instruments together; those of ours alone are in the record."""
    found = json.loads((ROOT / "results/gradcheck/checkers.json").read_text())
    header, *rows = checkers.table_rows(found)
    return summary.markdown([header, *(row for row in rows if row[0] == checkers.SUITE
                                       or not row[0].startswith(checkers.OURS))]) + "\n"


def false_alarms_table():
    found = json.loads((ROOT / "results/gradcheck/false_alarms.json").read_text())
    rows = [("right cases", "layers", *found["by instrument"], "false alarms", "drawn anew: nothing to compare"),
            (f"{found['cases']:,}", str(len(found["by layer"])), *map(str, found["by instrument"].values()),
             str(len(found["alarms"])), str(found["inconclusive"]))]
    return summary.markdown(rows) + "\n"


def trials_table():
    """What tests/flower/trials.py found over real connections."""
    found = json.loads((ROOT / "results/federation/trials.json").read_text())["trials"]
    rows = [("trial", "same bits", "seconds", "what happened")]
    rows += [(name, "yes" if trial["passed"] else "**NO**", str(trial["seconds"]), trial["said"] or "-")
             for name, trial in found.items()]
    return summary.markdown(rows) + "\n"


def assignments_table():
    """A line for each assignment: its title, parts with points, variants."""
    rows = [("", "title", "parts and points", "by hand", "variants", "hours")]
    for name in assignments.NAMES:
        assignment = assignments.load(name)
        sheet = assignments.sheet(assignment)
        parts = ", ".join(f"{part} {points}" for part, points in assignments.parts(assignment).items())
        axes = " × ".join(f"{axis} {len(values)}" for axis, values in assignment.choices.items())
        by_hand = sum(question.points for question in sheet.questions)
        rows.append((name, sheet.title, parts, str(by_hand), axes, sheet.hours))
    return summary.markdown(rows) + "\n"


def user_layer():
    """What pytest says of README's layer as it stands there: a mean for a sum."""
    blocks = dict(re.findall(r"```python\n# (\w+\.py): [^\n]*\n(.*?)```", README, re.S))
    with tempfile.TemporaryDirectory() as folder:
        for file, text in blocks.items():
            (Path(folder) / file).write_text(text)
        result = subprocess.run([sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"], cwd=folder,
                                capture_output=True, text=True)
    assert result.returncode == 1, result.stdout + result.stderr
    said = re.search(r"^_+ test_gradients\[scale\] _+\n(.*?)^=+ short test summary", result.stdout, re.S | re.M)[1]
    return f"```\n{said.strip()}\n```\n"


MADE = {"methods": methods_table, "models": models_table, "norms": norms_table, "settings": settings_table,
        "data sets": datasets_table, "checkers": checkers_table, "false alarms": false_alarms_table,
        "trials": trials_table, "assignments": assignments_table, "user layer": user_layer}
RUNS = {     # tables with a line for each run
    "headline": [f"paper/cifar10-cnn-oneclass-fedavg-{norm}-rounds400-seed0" for norm in ("none", "fn", "ln")],
    "all": sorted(path.parent.name for path in (ROOT / "results").glob("*/config.json")),
    "diagnose": sorted(f"diagnose/{path.parent.name}" for path in (ROOT / "results" / "diagnose").glob("*/config.json")),
    "grid": sorted(f"embedded-lr-grid/{path.parent.name}" for path in
                   (ROOT / "results" / "embedded-lr-grid").glob("*/config.json")),
}
STUDIES = ("methods-oneclass", "methods-dir0.1", "datasets", "batchnorm")     # folders of results: a line for equal runs
PAPER = ROOT / "results" / "paper"
REPRODUCED = {   # what `reproduce` prints: study, --rounds, --seeds, --only
    "figure4": ("figure4", 400, [0, 1], ()),
    "figure5": ("figure5", 100, [0], ("0.02", "0.1", "0.5", "2")),
    "figure7": ("figure7", 100, [0], ()),
    "figure7 after 2000 rounds": ("figure7", 2000, [0], ("vanilla", "0.1")),
    **{name: (name, 100, [0], ("1 class",)) for name in ("table3", "table4", "table6", "table12")},
}
CLOSEUPS = {file.stem: file for file in sorted(PAPER.glob("figure[23]-*.json"))}
TABLES = ({f"compare: {name}" for name in (*RUNS, *STUDIES)} | {f"paper: {name}" for name in (*REPRODUCED, *CLOSEUPS)} |
          MADE.keys() | {"claims", "learning rates"} | bench.TABLES.keys())
BLOCK = re.compile(r"(?<=<!-- )(?!end)([\w:.+ -]+)( -->\n)(.*?)(?=<!-- end -->)", re.S)


def table(name):
    """What belongs between the lines `<!-- name -->` and `<!-- end -->`."""
    if name in MADE:
        return MADE[name]()
    if name in bench.TABLES:
        return bench.TABLES[name]()
    if name == "claims":
        return claims.table(PAPER) + "\n"
    if name == "learning rates":
        return report.rates_table(*reproduced("figure7")) + "\n"
    if name.startswith("paper: "):
        return paper_table(name.removeprefix("paper: ")) + "\n"
    name = name.removeprefix("compare: ")
    if name in STUDIES:
        return summary.mean_table(sorted((ROOT / "results" / name).iterdir())) + "\n"
    return summary.table([ROOT / "results" / run for run in RUNS[name]]) + "\n"


def reproduced(name):
    study, rounds, seeds, only = REPRODUCED[name]
    return STUDIES_OF_PAPER[study], cells(STUDIES_OF_PAPER[study], rounds=rounds, seeds=seeds, only=only), PAPER


def paper_table(name):
    if name in REPRODUCED:
        return report.table(*reproduced(name))
    study = STUDIES_OF_PAPER[name.split("-")[0]]
    shown = report.overfitting_table if study.name == "figure2" else report.features_table
    return shown(study, collapse.read(CLOSEUPS[name]))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_made_from_the_records(document):
    """Out of date? `python tests/test_readme.py` writes them anew."""
    for name, _, content in BLOCK.findall(DOCUMENTS[document]):
        assert content == table(name), name


@pytest.mark.parametrize("seed", range(3))
def test_fn_is_20_points_above_the_plain_network_on_the_embedded_set(seed):
    none, fn = (ended(f"embedded-oneclass-{norm}-seed{seed}") for norm in ("none", "fn"))
    assert fn - none >= 0.2


def test_the_embedded_set_can_be_learned():
    """By the CNN trained centrally, which is one client with all the data."""
    settings = read_config(ROOT / "results" / "embedded-centralized-none-seed0")["settings"]
    assert (settings["data"], settings["model"], settings["num_clients"]) == ("embedded", "cnn", 1)
    assert ended("embedded-centralized-none-seed0") >= 0.95


def ended(run):
    """The accuracy at the end of a recorded run on the embedded set."""
    end = read_end(ROOT / "results" / run)
    assert end["status"] == "finished" and read_config(ROOT / "results" / run)["data"]["sha256"] == embedded_sha256()
    return end["last_evaluation"]["accuracy"]


@cache
def embedded_sha256():
    return load("embedded").sha256


def test_every_table_is_shown():
    assert {name for text in DOCUMENTS.values() for name, _, _ in BLOCK.findall(text)} == TABLES


def test_the_number_of_mutants():
    assert f"has to catch {len(MUTANTS)} deliberately wrong backward passes" in " ".join(README.split())


def test_links_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_paths_in_the_map_exist():
    section = README.split("## Map of the code")[1].split("\n## ")[0]
    paths = re.findall(r"`((?:minifl|tests|results|data_scripts)[\w/.]*)`", section)
    assert len(paths) > 8 and [path for path in paths if not (ROOT / path).exists()] == []


if __name__ == "__main__":
    for document, text in DOCUMENTS.items():
        (ROOT / document).write_text(BLOCK.sub(lambda found: f"{found[1]}{found[2]}{table(found[1])}", text))
