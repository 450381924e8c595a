"""Going on with a run to more rounds; and a resume that does not match the run is refused."""

import json
import shutil
from pathlib import Path

import pytest

from resuming import KINDS, OFTEN, begin, go_on, interrupted, same_files, to_the_end
from test_seals import unseal

from minifl.errors import InputError
from minifl.flower.replaying import differences
from minifl.runs import checkpoint, record
from minifl.runs.resuming import resume
from minifl.runs.run import reopen

WITH_COSINE = {name for name, chosen in KINDS.items() if chosen.get("lr_schedule") == "cosine"}


def more(out, rounds):
    """Go on to so many rounds; the sentences about it."""
    lines, messages = resume(out, *reopen(out), rounds=rounds)
    list(lines)
    return messages


# ---- more rounds

@pytest.mark.parametrize("kind", KINDS.keys() - WITH_COSINE)
def test_a_finished_run_that_goes_on_is_to_the_bit_one_of_so_many_rounds(kind, tmp_path):
    """Its number of rounds was a multiple of what is between tests."""
    reference = to_the_end(tmp_path / "reference", **KINDS[kind] | {"rounds": 12, "local_eval_every": 3})
    out = tmp_path / "run"
    to_the_end(out, **KINDS[kind] | {"rounds": 6, "local_eval_every": 3})
    assert more(out, 9) == ["The run goes on to 9 rounds instead of 6.", "Resuming after round 6 of 9."]
    assert more(out, 12) == ["The run goes on to 12 rounds instead of 9.", "Resuming after round 9 of 12."]
    assert same_files(out) == reference
    assert [file.read_bytes() for file in checkpoint.files(out)] == \
        [file.read_bytes() for file in checkpoint.files(tmp_path / "reference")]


def test_the_record_says_that_it_went_on(tmp_path):
    out = tmp_path / "run"
    to_the_end(out, rounds=6)
    more(out, 7)
    stopped = iter(resume(out, *reopen(out), rounds=9)[0])
    next(stopped)
    stopped.close()                             # it has 9 rounds now: nothing more need be said to go on
    list(go_on(out)[0])
    config = record.read_config(out)
    assert config["settings"]["rounds"] == 9 and record.read_end(out)["rounds_done"] == 9
    assert [(entry["rounds"], entry["done"]) for entry in config["extended"]] == [([6, 7], 6), ([7, 9], 7)]
    assert all({"started", "commit", "command", "versions", "device"} <= entry.keys() for entry in config["extended"])


def test_a_test_that_was_the_last_one_stays_and_it_is_said(tmp_path):
    """Here the record has more than that of a run from the start, and nothing else."""
    out = tmp_path / "run"
    to_the_end(out, rounds=5)
    assert more(out, 12)[0] == ("Round 5 was tested because it was the last; this stays in the record, though a run of 12 "
                                "rounds from the start would not have all of it.")
    reference = to_the_end(tmp_path / "reference")
    assert (out / record.MODEL).read_bytes() == reference[record.MODEL]
    lines, expected = record.read_rounds(out), record.read_rounds(tmp_path / "reference")
    assert "accuracy" in lines[4] and "accuracy" not in expected[4]
    lines[4] = {name: lines[4][name] for name in expected[4]}
    assert lines == expected
    assert differences(out, None, 1, lambda again, settings: list(again)) == []     # replay tests there, too


def test_a_stopped_run_goes_on_to_more(tmp_path):
    reference = to_the_end(tmp_path / "reference", algorithm="scaffold")
    out = interrupted(tmp_path / "run", 4, algorithm="scaffold", rounds=7)
    assert more(out, 12) == ["The run goes on to 12 rounds instead of 7.", "Resuming after round 4 of 12."]
    assert same_files(out) == reference


def test_killed_between_the_new_config_and_the_first_new_round(tmp_path, monkeypatch):
    reference = to_the_end(tmp_path / "reference", local_eval_every=0)
    to_the_end(tmp_path / "run", rounds=6, local_eval_every=0)
    for name in ("write_config", "cut"):
        out = Path(shutil.copytree(tmp_path / "run", tmp_path / name))
        with monkeypatch.context() as patched, pytest.raises(RuntimeError):
            patched.setattr(record, name, lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
            more(out, 12)
        assert record.read_end(out) is None
        list(go_on(out)[0])         # to as many rounds as it has by then
        if name == "write_config":
            assert record.read_end(out)["rounds_done"] == 6
            more(out, 12)
        assert same_files(out) == reference


def test_from_the_command_line(tmp_path, cli):
    reference = to_the_end(tmp_path / "reference", local_eval_every=0)
    out = tmp_path / "run"
    to_the_end(out, rounds=6, local_eval_every=0)
    code, output, errors = cli("train", "--device", "cpu", "--resume", out, "--rounds", 12, "--workers", 1,
                               "--checkpoint-every", 2)
    assert (code, errors) == (0, "") and "The run goes on to 12 rounds instead of 6.\nResuming after round 6 of 12." in output
    assert "rounds 12" in output and "round 12/12" in output and same_files(out) == reference
    code, _, errors = cli("train", "--device", "cpu", "--resume", out, "--rounds", 12)
    assert code == 2 and "has finished after round 12: there is nothing to resume. It goes on to more rounds with" in errors
    code, _, errors = cli("train", "--device", "cpu", "--resume", out, "--rounds", 11)
    assert code == 2 and "--rounds 11 is fewer than the run's 12, of which 12 are done; only more are valid" in errors
    assert same_files(out) == reference


def without_checkpoint(out):
    checkpoint.remove(out)


def damaged_checkpoint(out):
    file, = checkpoint.files(out)
    file.write_bytes(file.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("change", [without_checkpoint, damaged_checkpoint])
def test_a_finished_run_without_its_last_state_says_why_it_cannot_go_on(change, tmp_path, cli):
    out = tmp_path / "run"
    before = to_the_end(out, rounds=6)
    change(out)
    code, _, errors = cli("train", "--device", "cpu", "--resume", out, "--rounds", 12)
    assert code == 2 and "has finished after round 6 and lacks its last checkpoint" in errors
    assert f"Begin anew: python cli.py train --config {out / record.CONFIG} --rounds 12" in errors
    assert same_files(out) == before


def test_what_depends_on_the_number_of_rounds_does_not_go_on(tmp_path):
    out = tmp_path / "run"
    before = to_the_end(out, rounds=6, lr_schedule="cosine")
    with pytest.raises(InputError, match="with --lr-schedule cosine the learning rate of every round depends on their"):
        more(out, 12)
    assert same_files(out) == before


# ---- what does not match

def change_settings(out, **changed):
    """Edit the config by hand."""
    config = json.loads((out / record.CONFIG).read_text())
    config["settings"] |= changed
    (out / record.CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize("changed, text", [
    ({"lr": 0.1}, "--lr was 0.05 and is now 0.1."), ({"seed": 3}, "--seed was 0 and is now 3."),
    ({"batch_size": 5, "momentum": 0.5}, "--momentum was 0.0 and is now 0.5, --batch-size was 4 and is now 5."),
    ({"eval_every": 4}, "--eval-every was 3 and is now 4."), ({"rounds": 20}, "its seal does not fit."),
])
def test_an_edited_config_is_refused_with_both_values(changed, text, tmp_path, cli):
    out = interrupted(tmp_path / "run", 7)
    change_settings(out, **changed)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    code, _, errors = cli("train", "--device", "cpu", "--resume", out)
    assert code == 2 and "config.json was changed after the run began" in errors and text in errors
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    checkpoint.remove(out)                                      # then only that it was changed is known
    code, _, errors = cli("train", "--device", "cpu", "--resume", out)
    assert code == 2 and "config.json was changed after the run began; its seal does not fit." in errors


def test_a_config_that_came_from_another_run_is_refused(tmp_path):
    """It is whole, but not what the checkpoint was made with."""
    out, other = interrupted(tmp_path / "run", 7), interrupted(tmp_path / "other", 7, lr=0.1)
    (out / record.END).unlink()
    shutil.copy(other / record.CONFIG, out / record.CONFIG)
    with pytest.raises(InputError, match="checkpoint-0000007 does not belong to config.json: --lr was 0.05 and is now 0.1."):
        go_on(out)


def test_a_record_that_came_from_another_run_is_refused(tmp_path):
    out, other = interrupted(tmp_path / "run", 7), interrupted(tmp_path / "other", 7, lr=0.1)
    (out / record.END).unlink()
    shutil.copy(other / record.ROUNDS, out / record.ROUNDS)
    with pytest.raises(InputError, match="checkpoint-0000007 does not belong to rounds.jsonl, whose first 7 lines"):
        go_on(out)


def test_a_changed_line_is_refused_on_resume(tmp_path, cli):
    out = interrupted(tmp_path / "run", 7)
    text = (out / record.ROUNDS).read_text()
    (out / record.ROUNDS).write_text(text.replace('"round": 3', '"round": 8'))
    code, _, errors = cli("train", "--device", "cpu", "--resume", out)
    assert code == 2 and f"{out / record.ROUNDS} is damaged: line 3 does not fit its seal" in errors


def test_diagnostics_that_are_lost_at_the_end_are_made_again(tmp_path):
    chosen = {"diagnose": True, "rounds": 7, "eval_every": 2}
    list(begin(tmp_path / "reference", **chosen))
    out = interrupted(tmp_path / "run", 6, OFTEN, **chosen)
    (out / record.END).unlink()
    lines = (out / record.DIAGNOSTICS).read_bytes().splitlines(keepends=True)
    (out / record.DIAGNOSTICS).write_bytes(b"".join(lines[:2]))
    lines, messages = go_on(out)
    assert "checkpoint-0000006 is passed over: the record holds only 5 rounds." in messages[0]
    list(lines)
    for name in (record.DIAGNOSTICS, record.ROUNDS, record.END):
        assert (out / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()


# ---- runs begun before there were seals

def old_checkpoint(file):
    """What a checkpoint was before it said what made it."""
    from minifl import checked_npz
    checked_npz.write(file, {name: array for name, array in checked_npz.read(file, "").items() if name != "origin"})


def test_a_run_begun_before_there_were_seals_goes_on_and_is_sealed_from_then_on(tmp_path):
    reference = to_the_end(tmp_path / "reference", algorithm="scaffold")
    out = interrupted(tmp_path / "run", 7, OFTEN, algorithm="scaffold")
    (out / record.DIAGNOSTICS).touch()
    kept = list(checkpoint.files(out))
    contents = [file.read_bytes() for file in kept]
    unseal(out)
    (out / record.DIAGNOSTICS).unlink()
    for file, content in zip(kept, contents):
        file.write_bytes(content)
        old_checkpoint(file)
    lines, messages = go_on(out, OFTEN)
    assert messages == ["Resuming after round 7 of 12."] and b'"seal"' in (out / record.ROUNDS).read_bytes()
    next(lines)
    lines.close()
    change_settings(out, lr=0.1)                # it has no seal, but there is a new checkpoint
    with pytest.raises(InputError, match="--lr was 0.05 and is now 0.1"):
        go_on(out)
    change_settings(out, lr=0.05)
    list(go_on(out)[0])
    assert same_files(out) == reference
    more(out, 14)
    assert "seal" in json.loads((out / record.CONFIG).read_text())
    text = (out / record.ROUNDS).read_text()
    (out / record.ROUNDS).write_text(text.replace('"round": 3', '"round": 8'))
    with pytest.raises(InputError, match="line 3 does not fit its seal"):
        record.read_rounds(out)


