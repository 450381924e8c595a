"""The benchmarks: their options, records and comparisons of results, not their times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minifl.backend import choose_device
from minifl.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def run(program, *arguments):
    return subprocess.run([sys.executable, f"benchmarks/{program}.py", *map(str, arguments)], cwd=ROOT, timeout=300,
                          capture_output=True, text=True)


def test_scale_writes_its_record_and_all_end_with_the_same_bits(tmp_path):
    ended = run("scale", "--largest", 10, "--repetitions", 1, "--json", tmp_path / "scale.json")
    assert ended.returncode == 0, ended.stderr
    record = json.loads((tmp_path / "scale.json").read_text())
    assert [(line["per_call"], line["clients"]) for line in record["lines"]] == [(1, 10), (4, 10), (16, 10)]
    for line in record["lines"]:
        assert line["same_bits"] and line["peak_bytes"] > 0 and line["seconds_per_round"] > 0 and line["to_first"] == 1
    assert "--largest 10" in record["command"] and record["machine"]["device"] == "cpu (NumPy)"


@pytest.mark.parametrize("arguments", [("--largest", 9), ("--repetitions", 0), ("--device", "tpu")])
def test_scale_refuses_what_makes_no_sense(arguments):
    ended = run("scale", *arguments)
    assert ended.returncode == 2 and "error:" in ended.stderr


def test_without_a_gpu_the_gpu_benchmark_says_what_is_missing(tmp_path):
    try:
        choose_device("cuda")
        pytest.skip("there is a GPU here")
    except InputError:
        pass
    ended = run("round_gpu", "--json", tmp_path / "round_gpu.json")
    assert (ended.returncode, ended.stdout) == (2, "") and list(tmp_path.iterdir()) == []
    assert ended.stderr.startswith("round_gpu.py: --device cuda does not work here: ") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("program, arguments", [
    ("round_cpu", ("--quick", "--repetitions", 1)),
    ("layers", ("--only", "classifier", "--repetitions", 1)),
])
def test_minifl_and_pytorch_compute_the_same(program, arguments, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed (pip install -e '.[bench]')")
    ended = run(program, *arguments, "--json", tmp_path / "record.json")
    assert ended.returncode == 0 and "NOT THE SAME" not in ended.stdout, ended.stdout + ended.stderr
    assert program in json.loads((tmp_path / "record.json").read_text())["command"]
