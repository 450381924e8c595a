"""The partition command, and training on tables and by domain."""

import re
from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.runs.record import read_config, read_rounds


@pytest.mark.parametrize("options, texts", [
    (("--setting", "nclass", "--classes-per-client", "11"), ("--classes-per-client 11", "from 1 to 10")),
    (("--setting", "nclass", "--num-clients", "4"), ("--num-clients 4", "at least 10")),
    (("--setting", "nclass", "--num-clients", "300"), ("--num-clients", "at most 400")),
    (("--setting", "oneclass", "--num-clients", "9"), ("--num-clients 9", "at least 10")),
    (("--setting", "oneclass", "--num-clients", "401"), ("--num-clients 401",)),
    (("--setting", "dirichlet", "--min-size", "41"), ("--min-size 41", "at most 40")),
    (("--setting", "paper-2class", "--num-clients", "12"), ("--setting paper-2class", "--num-clients 10")),
    (("--setting", "iid", "--num-clients", "1000000000000"), ("--num-clients 1000000000000",)),
    (("--setting", "table"), ("--setting",)),
])
def test_infeasible_partitions(cli, small, data_dir, options, texts):
    refused(cli("train", *small, *options, "--out", "run"), *texts)
    assert not Path("run").exists()
    refused(cli("partition", "--data", "cifar10", "--data-dir", data_dir, *options), *texts)


def test_partition(cli, data_dir):
    common = ("partition", "--data", "cifar10", "--data-dir", data_dir)
    code, output, errors = cli(*common, "--setting", "dirichlet", "--data-seed", "3", "--csv", "table.csv")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "Data: noise for a test."
    assert lines[1].split() == ["client", *(f"class{c}" for c in range(10)), "total"]
    assert lines[12].split() == ["total", *["40"] * 10, "400"]
    digest = lines[13].removeprefix("sha256 ")
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert Path("table.csv").read_text().startswith("client,class0,")

    code, again, _ = cli(*common, "--partition", "table.csv")
    assert code == 0 and again.splitlines()[:14] == lines[:14]
    assert cli(*common, "--setting", "dirichlet", "--data-seed", "4")[1].splitlines()[13] != lines[13]


def test_partition_by_domain(cli, data_dir):
    common = ("partition", "--data", "embedded", "--by-domain", "--num-clients", 12)
    code, output, errors = cli(*common, "--setting", "disjoint", "--csv", "table.csv")
    assert (code, errors) == (0, "")
    assert "Domains: shaded clients 0-2, painted clients 3-5, flat clients 6-8, line clients 9-11.\n" in output
    counts = np.loadtxt("table.csv", delimiter=",", skiprows=1)[:, 1:]
    assert counts.shape == (12, 10) and np.isin(counts, (0, 250)).all()     # 10000 images / 4 domains / 10 classes
    np.testing.assert_array_equal(counts.reshape(4, 3, 10).sum(axis=1), 250)
    assert output.endswith("use it with --partition table.csv --by-domain\n")
    assert cli(*common, "--partition", "table.csv")[1].splitlines() == output.splitlines()[:-1]
    refused(cli(*common[:-1], "10"), "--num-clients 10", "multiple of 4 (shaded, painted, flat, line)")
    refused(cli("partition", "--data", "cifar10", "--data-dir", data_dir, "--by-domain"), "--by-domain",
            "cifar10 has no domains")


def test_train_by_domain(cli, small, tmp_path):
    rng = np.random.default_rng(0)
    images, labels, domains = rng.integers(0, 256, (80, 32, 32, 3), np.uint8), np.arange(80) % 5, np.arange(80) // 40
    write_dataset(tmp_path / "cifar10.npz", make_dataset(
        "cifar10", images, labels, images, labels, "abcde", "noise", domains, domains, ("ink", "oil")))
    options = ("train", *small, "--data-dir", tmp_path, "--model", "mlp")
    four = ("--num-clients", 4, "--setting", "iid")
    assert cli(*options, *four, "--by-domain", "--out", "run")[0] == 0
    assert read_config("run")["settings"]["by_domain"] is True
    assert cli("eval", "run", "--data-dir", tmp_path, "--device", "cpu")[0] == 0
    # its table with --by-domain is the same partition, without it another one
    for name, flag in (("again", "--by-domain"), ("whole", "--no-by-domain")):
        assert cli(*options, "--partition", "run/partition.csv", flag, "--out", name)[0] == 0
    assert read_rounds("again") == read_rounds("run") != read_rounds("whole")
    bad = (*options, "--setting", "disjoint", "--by-domain", "--out", "none", "--num-clients")
    refused(cli(*bad, 3), "--num-clients 3", "(ink, oil)")
    refused(cli(*bad, 12), "in domain ink", "6 of the 12 clients")
    assert not Path("none").exists()


def test_train_by_a_table(cli, small, data_dir):
    Path("table.csv").write_text("client," + ",".join(f"class{c}" for c in range(10)) + "\n0" + ",7" * 10
                                 + "\n1" + ",0" * 9 + ",5\n2" + ",0" * 10 + "\n")
    common = ("--data-dir", data_dir, "--data", "cifar10")
    code, output, _ = cli("partition", *common, "--partition", "table.csv")
    digest = re.search("sha256 ([0-9a-f]{64})", output)[1]
    assert code == 0 and "325 training examples belong to no client" in output
    code, *_ = cli("train", *small, "--partition", "table.csv", "--out", "run")
    config = read_config("run")
    assert code == 0 and config["settings"]["num_clients"] == 3
    assert config["partition"] == {"sha256": digest, "file": "table.csv"}
    assert cli("eval", "run", "--data-dir", data_dir, "--device", "cpu")[0] == 0
    # repeating the run by its config needs the table, and says so
    again = ("train", *common, "--config", "run/config.json", "--device", "cpu", "--out", "again")
    refused(cli(*again), "--partition")
    assert cli(*again, "--partition", "run/partition.csv")[0] == 0
    assert read_config("again")["partition"]["sha256"] == digest


HEADER = "client," + ",".join(f"class{c}" for c in range(10)) + "\n"


@pytest.mark.parametrize("text, message", [
    (None, "cannot be read"),
    ("", "line 1"),
    ("\0\xff\x80", "table.csv"),
    ("a,b\n1,2\n", "line 1"),
    (HEADER, "table.csv"),
    (HEADER + "0" + ",1" * 9 + "\n", "line 2"),
    (HEADER + "0" + ",1" * 9 + ",-1\n", "'-1'"),
    (HEADER + "0" + ",1" * 9 + ",x\n", "'x'"),
    (HEADER + "0" + ",1" * 9 + ",41\n", "--partition table.csv: class 9 (class9): 41 examples asked for, at most 40"),
    (HEADER.replace("class3", "cat") + "0" + ",1" * 10 + "\n", "class 'cat'"),
])
def test_bad_tables(cli, small, text, message):
    if text is not None:
        Path("table.csv").write_text(text, encoding="latin-1")
    refused(cli("train", *small, "--partition", "table.csv"), message)
    refused(cli("partition", *small[:4], "--partition", "table.csv"), message)
    assert not Path("runs").exists()


def test_a_table_and_other_settings_that_contradict_it(cli, small):
    Path("table.csv").write_text(HEADER + "0" + ",1" * 10 + "\n")
    train = ("train", *small, "--partition", "table.csv")
    refused(cli(*train, "--num-clients", 2), "--num-clients 2", "has 1 clients")
    refused(cli(*train, "--setting", "iid"), "--partition", "--setting iid")


@pytest.mark.parametrize("path", ["file/table.csv", "."])
def test_a_table_that_cannot_be_written(cli, data_dir, path):
    Path("file").write_text("")
    refused(cli("partition", "--data", "cifar10", "--data-dir", data_dir, "--csv", path), path)
