"""What was changed in a record is found, by every command that reads it, with the file and the line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl.errors import InputError
from minifl.runs import record, seals

LINES = [{"round": r, "train_loss": r / 7, "name": 'quoted ", "seal": "', "none": None} for r in range(1, 7)]


@pytest.fixture
def file(tmp_path):
    """A file of sealed lines."""
    file = tmp_path / record.ROUNDS
    for line in LINES:
        seals.append(file, line)
    return file


def read(file, sealed=False):
    return seals.read(file, file.read_bytes(), sealed)


# ---- lines

def test_what_was_written_is_read_and_any_reader_of_json_can(file):
    assert read(file) == LINES == read(file, sealed=True)
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert [list(line)[-1] for line in found] == ["seal"] * 6
    assert [line.pop("seal") for line in found] == seals.of_lines(file.read_bytes()) and found == LINES
    assert seals.last(file) == seals.of_lines(file.read_bytes())[-1] and len(seals.last(file)) == 16
    whole = file.read_bytes()
    seals.write(file, LINES)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("damage, line", [
    (lambda lines: lines[:2] + lines[3:], 3),                       # lost
    (lambda lines: lines[1:], 1),                                   # the first one lost
    (lambda lines: lines[:1] + [lines[2], lines[1]] + lines[3:], 2),    # swapped
    (lambda lines: lines[:4] + [lines[3]] + lines[4:], 5),          # twice
    (lambda lines: lines[:3] + [b'{"round": 9}\n'] + lines[3:], 4),     # inserted
    (lambda lines: lines[:3] + [b"\n"] + lines[3:], 4),             # an empty one
    (lambda lines: lines[:5] + [lines[5][:20] + b"\n"], 6),         # cut off, but not at the end of the file
])
def test_lines_that_are_lost_moved_or_inserted_are_named(damage, line, file):
    file.write_bytes(b"".join(damage(file.read_bytes().splitlines(keepends=True))))
    with pytest.raises(InputError, match=rf"rounds.jsonl is damaged: line {line} does not fit its seal"):
        read(file)


def test_every_changed_byte_is_found_in_its_line(file):
    """But for the newline at the end: without it the last line counts as cut off by a crash."""
    whole = file.read_bytes()
    for i in range(len(whole) - 1):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1:])
        with pytest.raises(InputError, match=f"line {whole[:i].count(10) + 1} does not fit its seal"):
            read(file)
    file.write_bytes(whole[:-1])
    assert read(file) == LINES[:-1]


def test_lines_without_seals_are_read_where_there_need_not_be_any(file):
    file.write_text("".join(json.dumps(line | {"name": ""}) + "\n" for line in LINES))
    assert read(file) == [line | {"name": ""} for line in LINES] and seals.last(file) is None
    with pytest.raises(InputError, match="line 1 does not fit its seal"):
        read(file, sealed=True)
    for bad, text in (("[1]", "line 7 is no JSON object"), ("{", "line 7 is no JSON"),
                      ("[" * 100_000, "line 7 is no JSON")):
        file.write_text("".join(json.dumps(line | {"name": ""}) + "\n" for line in LINES) + bad + "\n")
        with pytest.raises(InputError, match=text):
            read(file)


def test_a_run_goes_on_over_damage_and_its_readers_name_the_line(file):
    file.write_bytes(file.read_bytes() + b"what a disk made of it\n")
    seals.append(file, {"round": 7})
    with pytest.raises(InputError, match="line 7 does not fit its seal"):
        read(file)


# ---- runs, from the command line

@pytest.fixture(scope="module")
def made(tmp_path_factory, data_dir):
    """A finished run with diagnostics, and one from before there were seals."""
    from minifl.cli import main
    new, old = tmp_path_factory.mktemp("made") / "run", tmp_path_factory.mktemp("made") / "old"
    with pytest.raises(SystemExit) as exit_:
        main(list(map(str, ("train", "--data", "cifar10", "--data-dir", data_dir, "--device", "cpu", "--model", "mlp",
                            "--width", "0.02", "--rounds", "6", "--local-steps", "1", "--batch-size", "4",
                            "--eval-every", "2", "--diagnose", "--out", new))))
    assert exit_.value.code in (0, None)
    shutil.copytree(new, old)
    unseal(old)
    return new, old


def unseal(run):
    """Make of a run what it would be had it been made before there were seals."""
    for name in (record.CONFIG, record.END):
        content = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({key: content[key] for key in content if key not in ("seal", "sha256")}))
    for name in (record.ROUNDS, record.TIMES, record.DIAGNOSTICS):
        lines = [json.loads(line) for line in (run / name).read_text().splitlines()]
        (run / name).write_text("".join(json.dumps({key: line[key] for key in line if key != "seal"}) + "\n"
                                        for line in lines))
    for file in run.glob("checkpoint-*"):
        file.unlink()


COMMANDS = {"eval": ("eval",), "compare": ("compare",), "plot": ("plot",), "replay": ("replay",),
            "resume": ("train", "--device", "cpu", "--resume"),
            "more": ("train", "--device", "cpu", "--rounds", "8", "--resume")}


def command(name, run, data_dir):
    """The command that reads a run, with its options."""
    more = {"plot": ["--out", run.parent / "plots"], "compare": []}.get(name, ["--data-dir", data_dir])
    return [*COMMANDS[name], run, *more]


def digits(name, line):
    """Change a digit of the first number with a point in a line."""
    def change(run):
        lines = (run / name).read_text().splitlines(keepends=True)
        text = lines[line - 1]
        at = text.index(".") + 3
        lines[line - 1] = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1:]
        (run / name).write_text("".join(lines))
    return change


def lost(name, lines):
    def change(run):
        kept = (run / name).read_bytes().splitlines(keepends=True)
        del kept[lines]
        (run / name).write_bytes(b"".join(kept))
    return change


def setting(name, value):
    def change(run):
        config = json.loads((run / record.CONFIG).read_text())
        config["settings"][name] = value
        (run / record.CONFIG).write_text(json.dumps(config))
    return change


def bits(run):
    content = bytearray((run / record.MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (run / record.MODEL).write_bytes(content)


def valid_model(run):
    with np.load(run / record.MODEL) as saved:
        record.save_model(run, {name: saved[name] + np.float32(0.01) for name in saved.files})


def end_of(status):
    def change(run):
        end = json.loads((run / record.END).read_text()) | {"status": status}
        (run / record.END).write_text(json.dumps(end))
    return change


ALL, READERS = set(COMMANDS), set(COMMANDS) - {"resume"}
CHANGES = [
    (digits(record.ROUNDS, 3), {"compare", "plot", "replay", "more"}, "rounds.jsonl is damaged: line 3 does not fit"),
    (lost(record.ROUNDS, 3), {"compare", "plot", "replay", "more"}, "rounds.jsonl is damaged: line 4 does not fit"),
    (lost(record.ROUNDS, slice(4, 6)), {"compare", "plot", "replay", "more"}, "is not the file with which the run ended"),
    (digits(record.DIAGNOSTICS, 2), {"plot", "compare", "more"}, "diagnostics.jsonl is"),
    (lost(record.DIAGNOSTICS, -1), {"plot", "compare", "more"}, "diagnostics.jsonl is damaged: it is not the file"),
    (lost(record.DIAGNOSTICS, 0), {"plot"}, "diagnostics.jsonl is damaged: line 1 does not fit"),
    (lost(record.TIMES, 2), {"compare", "plot"}, "times.jsonl is damaged: line 3 does not fit"),
    (setting("lr", 0.02), ALL, "config.json was changed after the run began; --lr was 0.01 and is now 0.02. Put back"),
    (setting("seed", 4), ALL, "config.json was changed after the run began; --seed was 0 and is now 4. Put back"),
    (bits, {"eval", "replay", "more"}, "model.npz is damaged: it is not the file with which the run ended"),
    (valid_model, {"eval", "replay", "more"}, "model.npz is damaged: it is not the file with which the run ended"),
    (end_of("interrupted"), ALL, "end.json is damaged: it was changed after the run ended"),
]


@pytest.mark.parametrize("change, commands, text", CHANGES)
def test_every_command_that_reads_it_says_what_was_changed(change, commands, text, made, cli, data_dir, tmp_path):
    run = Path(shutil.copytree(made[0], tmp_path / "run"))
    change(run)
    for name in sorted(commands):
        result = cli(*command(name, run, data_dir))
        refused(result, text, str(run))
        assert result[2].startswith("Error: "), name


@pytest.mark.parametrize("name", sorted(READERS - {"plot", "more"}))
def test_a_whole_run_and_one_without_seals_are_read(name, made, cli, data_dir):
    for run in made:
        code, output, errors = cli(*command(name, run, data_dir))
        assert (code, errors) == (0, "") and "sealed" not in output


def test_a_record_that_says_it_is_sealed_has_to_be(made, cli, data_dir, tmp_path):
    """Lines of an old record in a new one."""
    run = Path(shutil.copytree(made[0], tmp_path / "run"))
    shutil.copy(made[1] / record.ROUNDS, run / record.ROUNDS)
    (run / record.END).unlink()
    assert "line 1 does not fit its seal" in cli("compare", run)[2]
    shutil.copy(made[1] / record.END, run / record.END)
    assert "its seal does not fit" in cli("eval", run, "--data-dir", data_dir)[2]


def test_config_and_end_of_two_runs(made, cli, data_dir, tmp_path):
    """Each is whole, but they do not belong together."""
    run = Path(shutil.copytree(made[0], tmp_path / "run"))
    config = record.read_config(run)
    record.write_config(run, config | {"settings": config["settings"] | {"seed": 7}})
    assert "--seed was 0 and is now 7" in cli("compare", run)[2]
    record.write_config(run, config | {"device": "cpu (of a friend)", "command": "another"})    # this decides nothing
    assert cli("compare", run)[0] == 0


def test_a_model_that_was_not_kept_is_no_damage(made, cli, data_dir, tmp_path):
    run = Path(shutil.copytree(made[0], tmp_path / "run"))
    (run / record.MODEL).unlink()
    assert cli("compare", run)[0] == 0
    assert "model.npz does not exist" in cli("eval", run, "--data-dir", data_dir)[2]
    (run / record.DIAGNOSTICS).unlink()
    assert "diagnostics.jsonl does not exist, and was there when the run ended" in cli("plot", run)[2]


def test_sweep_and_reproduce_see_it_too(cli, data_dir, tmp_path):
    """They skip runs that are complete, and read them for their tables."""
    common = ("--data", "cifar10", "--data-dir", data_dir, "--device", "cpu", "--model", "mlp", "--width", "0.02",
              "--rounds", "2", "--local-steps", "1", "--batch-size", "4", "--out", tmp_path)
    assert cli("sweep", *common)[0] == 0
    run = tmp_path / "fedavg-none-oneclass-seed0"
    digits(record.ROUNDS, 2)(run)
    refused(cli("sweep", *common), f"{run / record.ROUNDS} is damaged: line 2 does not fit its seal")
