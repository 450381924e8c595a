"""A federation has the bits of the in-process loop, whatever the method, and goes on where something is missing."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from inprocess import (SMALL, ArrayRecord, Error, InProcess, Message, begun, changed_array, federate,
                       load, record, same, served, trained)

from minifl.data import lists
from minifl.data.files import write_dataset
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.client import Diverged
from minifl.flower.replaying import differences
from minifl.runs import initial
from minifl.runs.settings import settings_for

CASES = {name: {"algorithm": name} for name in ALGORITHMS} | {
    "scaffold, option I": {"algorithm": "scaffold", "scaffold_option": "I"},
    "batch norm": {"norm": "bn"},
    "batch norm, tested by batches": {"norm": "bn", "bn_stats": "batch"},
    "batch norm that stays": {"norm": "bn", "bn_stats": "local"},
    "batch norm that stays, scaffold, sampled": {"norm": "bn", "bn_stats": "local", "algorithm": "scaffold",
                                                 "participation": 0.5, "num_clients": 5, "norm_affine": "learnable"},
    "momentum, decay, schedule": {"momentum": 0.9, "weight_decay": 0.01, "lr_schedule": "cosine"},
    "unequal steps": {"algorithm": "fednova", "setting": "dirichlet", "dirichlet_alpha": 0.5, "local_steps": None,
                      "local_epochs": 1, "batch_size": 16},
    "dropouts": {"algorithm": "scaffold", "dropout_rate": 0.5, "num_clients": 4, "rounds": 4},
    "a client without examples": {"num_clients": 12, "setting": "oneclass"},
    "own models of a sample": {"num_clients": 5, "local_eval_clients": 2, "participation": 0.8, "dropout_rate": 0.2},
    "batch norm that stays, a sample tested": {"norm": "bn", "bn_stats": "local", "num_clients": 5, "local_eval_clients": 2},
    "mlp": {"model": "mlp", "norm": "ln"}, "resnet8": {"model": "resnet8", "width": 0.25, "norm": "gn"},
    "vit": {"model": "vit", "width": 0.1, "norm": "ln", "rounds": 2},
}


def lines(out):
    return record.read_rounds(out)


def replayed(out, data_dir):
    """What differs between a run and the in-process loop with the same clients absent."""
    return differences(out, data_dir, 1, lambda rounds, settings: list(rounds))


@pytest.mark.parametrize("chosen", CASES.values(), ids=CASES)
def test_a_federation_has_the_bits_of_training_in_one_process(chosen, tmp_path, data_dir):
    run = begun(tmp_path / "federated", data_dir, **chosen)
    served(tmp_path / "federated", data_dir)
    assert same(tmp_path / "federated", trained(tmp_path / "trained", *run))
    assert record.read_end(tmp_path / "federated")["status"] == "finished"
    assert not replayed(tmp_path / "federated", data_dir)


def test_a_table_of_label_counts_reaches_the_nodes(tmp_path, data_dir):
    counts = np.zeros((3, 10), dtype=int)
    counts[0, :4], counts[1, 4:], counts[2, 0] = 11, 7, 3
    run = begun(tmp_path / "federated", data_dir, counts, setting="table")
    served(tmp_path / "federated", data_dir)
    assert same(tmp_path / "federated", trained(tmp_path / "trained", *run))


def test_lists_of_examples_reach_the_nodes(tmp_path, data_dir):
    path = tmp_path / "lists.json"
    path.write_text('{"clients": [{"train": [3, 1, 4, 100], "test": [5]}, {"test": [7, 0]}, {"train": [59, 26, 53]}]}')
    run = begun(tmp_path / "federated", data_dir, lists.read(path, load("cifar10", data_dir)), setting="lists")
    served(tmp_path / "federated", data_dir)
    assert same(tmp_path / "federated", trained(tmp_path / "trained", *run))
    assert not replayed(tmp_path / "federated", data_dir)


def test_users_and_noise_are_the_same_on_the_nodes(tmp_path, data_dir):
    users = np.arange(400) % 3
    write_dataset(tmp_path / "data" / "own.npz", replace(
        load("cifar10", data_dir), name="own", domain_train=users, domain_test=users[:100], domain_names=tuple("abc")))
    run = begun(tmp_path / "federated", tmp_path / "data", data="own", setting="natural", feature_noise=0.1, model="mlp")
    served(tmp_path / "federated", tmp_path / "data")
    assert same(tmp_path / "federated", trained(tmp_path / "trained", *run))
    assert not replayed(tmp_path / "federated", tmp_path / "data")


def test_a_federation_starts_from_a_model(tmp_path, data_dir):
    trained(tmp_path / "first", *begun(tmp_path / "other", data_dir))
    start = initial.read(tmp_path / "first")
    begun(tmp_path / "federated", data_dir, start=start, init_from=start.sha256, rounds=1)
    served(tmp_path / "federated", data_dir)
    assert lines(tmp_path / "federated")[0]["train_loss"] < lines(tmp_path / "first")[0]["train_loss"]
    assert not replayed(tmp_path / "federated", data_dir)
    begun(tmp_path / "begun", data_dir, start=start, init_from=start.sha256)
    federate.close(tmp_path / "begun", settings_for("cifar10", SMALL | {"init_from": start.sha256}),
                   settings_for("cifar10", SMALL).network(10, (32, 32, 3)), 3)     # before its first round
    assert initial.read(tmp_path / "begun").sha256 == start.sha256


def test_nodes_get_what_they_need_and_no_more(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, algorithm="fedyogi")
    grid = served(tmp_path / "run", data_dir)
    messages = [message for message in grid.sent if message.metadata.message_type == "train"]
    assert len(messages) == 6
    assert all(set(message.content["arrays"]) == {"w", "statistics"} for message in messages)   # no moments
    assert sorted(k for m in messages[:2] for k in m.content["job"]["clients"]) == [0, 1, 2]


def test_a_client_whose_node_does_not_answer_was_absent(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, algorithm="scaffold", rounds=4)
    asked = []

    def there(node, message):
        asked.append(message.metadata.message_type)
        return node == 100 or asked.count("train") not in (3, 4)     # in round 2

    served(tmp_path / "run", data_dir, InProcess(2, data_dir, tmp_path / "run" / "clients", there=there))
    found = lines(tmp_path / "run")
    assert [line["clients"] for line in found] == [3, 2, 3, 3]
    assert found[1]["absent"] == [{"client": 1, "reason": "node 1 did not answer in time"}]
    assert not replayed(tmp_path / "run", data_dir)


def test_what_a_client_kept_of_a_round_that_did_not_count_is_passed_over(tmp_path, data_dir):
    """The reply of round 2 is lost after the client has done it: SCAFFOLD's control must be that of round 1."""
    begun(tmp_path / "run", data_dir, algorithm="scaffold", rounds=4)
    lost = []

    def tamper(node, reply):
        lost.append(reply.metadata.message_type)
        if node == 101 and lost.count("train") == 4:
            return Message(Error(code=3, reason="no\nroute"), reply_to=tampered[-1])
        return reply

    tampered = []
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients", tamper=tamper,
                     there=lambda node, message: tampered.append(message) or True)
    served(tmp_path / "run", data_dir, grid)
    assert lines(tmp_path / "run")[1]["absent"] == [{"client": 1, "reason": "node 1 did not answer (no)"}]
    assert not replayed(tmp_path / "run", data_dir)


def test_a_node_that_was_started_again_goes_on_with_what_its_clients_kept(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, algorithm="scaffold", rounds=6)
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients")

    def there(node, message):
        if message.metadata.group_id == "3" and node == 101:
            grid.add(201, dict(grid.contexts[101].node_config))     # a new id, and the old one is still listed
            return False
        return True

    grid.there = there
    served(tmp_path / "run", data_dir, grid)
    assert [line["clients"] for line in lines(tmp_path / "run")] == [3, 3, 2, 3, 3, 3]
    assert [m.metadata.dst_node_id for m in grid.sent if m.metadata.message_type == "train"][-6:] == 3 * [100, 201]
    assert [m.metadata.dst_node_id for m in grid.sent if m.metadata.message_type == "query"] == [100, 101, 201]
    assert not replayed(tmp_path / "run", data_dir)


def test_without_any_reply_the_model_stays(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir)
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients",
                     there=lambda node, message: message.metadata.group_id != "2")
    served(tmp_path / "run", data_dir, grid)
    found = lines(tmp_path / "run")
    assert found[1]["clients"] == 0 and found[1]["train_loss"] is None and len(found[1]["absent"]) == 3
    assert found[1]["test_loss"] == found[0]["test_loss"] != found[2]["test_loss"]
    assert not replayed(tmp_path / "run", data_dir)


POISON = {
    "not a number": (lambda a: a * np.float32("nan"), "numbers of update are not finite"),
    "infinite": (lambda a: np.where(np.arange(a.size) == 3, np.float32("inf"), a), "1 of the .* numbers of update are"),
    "another shape": (lambda a: a[:-1], r"update is float32 \(\d+,\), and must be float32 \(\d+,\)"),
    "one more axis": (lambda a: a[None], r"update is float32 \(1, \d+\)"),
    "another format": (lambda a: a.astype(np.float64), "update is float64"),
    "texts": (lambda a: np.array(["x"] * a.size), "update is <U1"),
    "absurdly long": (lambda a: a + np.float32(1e6), r"its update has the length .*, more than --clip-update 100"),
}


@pytest.mark.parametrize("change, reason", POISON.values(), ids=POISON)
def test_a_poisoned_reply_is_dropped_and_recorded(change, reason, tmp_path, data_dir):
    begun(tmp_path / "run", data_dir)

    def tamper(node, reply):
        arrays = reply.content.get("arrays", {})
        return changed_array(reply, "1/update", change) if "1/update" in arrays else reply

    grid = InProcess(2, data_dir, tmp_path / "run" / "clients", tamper=tamper)
    served(tmp_path / "run", data_dir, grid, clip_update=100.0)
    for line in lines(tmp_path / "run"):
        (missing,) = line["absent"]
        assert missing["client"] == 1
        assert re.search(reason, missing["reason"]), missing["reason"]
    assert np.isfinite(np.load(tmp_path / "run" / "model.npz")["classifier.weight"]).all()
    assert not replayed(tmp_path / "run", data_dir)


def without(reply, name):
    del reply.content[name]
    return reply


def renamed(reply):
    arrays = reply.content["arrays"]
    reply.content["arrays"] = ArrayRecord({key.replace("update", "upd"): value for key, value in arrays.items()})
    return reply


def more(reply):
    arrays = reply.content["arrays"]
    reply.content["arrays"] = ArrayRecord(dict(arrays) | {f"{k}/control": arrays[f"{k}/update"] for k in (1,)})
    return reply


def loss(value):
    def change(reply):
        reply.content["losses"]["1"] = value
        return reply
    return change


@pytest.mark.parametrize("change, reason", [
    (lambda reply: without(reply, "arrays"), "a reply without the record 'arrays'"),
    (lambda reply: without(reply, "losses"), "a reply without the record 'losses'"),
    (lambda reply: without(reply, "trouble"), "a reply without the record 'trouble'"),
    (renamed, "it has the arrays upd, and must have update"),
    (more, "it has the arrays control, update, and must have update"),
    (loss(float("nan")), "its loss is nan"), (loss(3), "its loss is 3"), (loss([1.0]), r"its loss is [1.0]"),
])
def test_a_reply_of_another_form_is_dropped_and_recorded(change, reason, tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, rounds=1, local_eval_every=0)
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients", tamper=lambda node, reply: change(reply) if (
        node == 101 and "arrays" in reply.content) else reply)
    served(tmp_path / "run", data_dir, grid)
    (line,) = lines(tmp_path / "run")
    assert [missing["client"] for missing in line["absent"]] == [1]
    assert reason in line["absent"][0]["reason"]


def test_a_client_that_diverges_is_absent_and_if_all_do_the_run_ends(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, lr=1e30, norm="none")
    with pytest.raises(Diverged, match="all 3 clients"):
        served(tmp_path / "run", data_dir)
    assert record.read_end(tmp_path / "run")["status"] == "diverged"


def test_a_server_that_was_killed_goes_on_to_the_same_bits(tmp_path, data_dir):
    """With each of the last checkpoints, and so with clients that are ahead of the server."""
    for lost in (1, 2):
        out = tmp_path / f"run{lost}"
        run = begun(out, data_dir, algorithm="scaffold", rounds=5)
        grid = InProcess(2, data_dir, out / "clients",      # when all clients have done round 4
                         tamper=lambda node, reply: _kill() if grid.sent[-1].metadata.group_id == "4" and node == 101
                         else reply)
        with pytest.raises(Killed):
            served(out, data_dir, grid)
        for file in sorted(out.glob("checkpoint-*"))[-lost + 1:] if lost > 1 else []:
            file.unlink()
        (out / record.END).unlink()
        served(out, data_dir)
        assert same(out, trained(tmp_path / f"trained{lost}", *run))


class Killed(BaseException):
    pass


def _kill():
    raise Killed


def test_who_has_other_data_takes_no_part(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, rounds=1)
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients")
    other = tmp_path / "other"
    other.mkdir()
    content = dict(np.load(data_dir / "cifar10.npz"))
    from minifl.data.dataset import make_dataset
    from minifl.data.files import write_dataset
    write_dataset(other / "cifar10.npz", make_dataset(
        "cifar10", content["x_train"][::-1].copy(), content["y_train"][::-1].copy(), content["x_test"],
        content["y_test"], [f"class{c}" for c in range(10)], "other data"))
    grid.contexts[101].node_config["data-dir"] = str(other)
    served(tmp_path / "run", data_dir, grid)
    (line,) = lines(tmp_path / "run")
    assert "its node 1 is not there: the node has other data than the server" in line["absent"][0]["reason"]


def test_with_keys_a_node_has_the_number_that_its_key_is_registered_for(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, rounds=1)
    said = []
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients", names={100: "node-0", 101: "node-0"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minifl.flower.server.say", said.append)
        served(tmp_path / "run", data_dir, grid, named_nodes=True)
    assert [missing["client"] for missing in lines(tmp_path / "run")[0]["absent"]] == [1]
    assert said == ["Node 101 takes no part: its key is registered as 'node-0', and it says that it is node-1"]


@pytest.mark.parametrize("config", [{"partition-id": 2}, {"partition-id": -1}, {"num-partitions": 3},
                                    {"partition-id": "0"}])
def test_a_node_of_another_federation_takes_no_part(config, tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, rounds=1)
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients")
    grid.contexts[100].node_config.update(config)
    served(tmp_path / "run", data_dir, grid)
    assert [missing["client"] for missing in lines(tmp_path / "run")[0]["absent"]] == [0, 2]


def test_without_any_node_the_run_ends_and_can_go_on(tmp_path, data_dir):
    run = begun(tmp_path / "run", data_dir)
    with pytest.raises(TimeoutError, match="no node that takes part has come within 0 s"):
        served(tmp_path / "run", data_dir, InProcess(0, data_dir, tmp_path))
    assert record.read_end(tmp_path / "run")["status"] == "failed"
    (tmp_path / "run" / record.END).unlink()
    served(tmp_path / "run", data_dir)
    assert same(tmp_path / "run", trained(tmp_path / "trained", *run))


def test_a_model_that_is_not_tested_leaves_the_others(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, norm="bn", bn_stats="local", rounds=1)
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients",
                     there=lambda node, message: message.metadata.message_type != "evaluate" or node == 100)
    served(tmp_path / "run", data_dir, grid)
    (line,) = lines(tmp_path / "run")
    assert line["untested"] == [{"client": 1, "reason": "node 1 did not answer in time"}]
    assert line["client_accuracy"][1] is None and None not in line["client_accuracy"][::2]


def test_where_no_model_is_tested_there_is_no_accuracy(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, norm="bn", bn_stats="local", rounds=1)
    served(tmp_path / "run", data_dir, InProcess(2, data_dir, tmp_path / "run" / "clients", there=lambda node, message:
                                                 message.metadata.message_type != "evaluate"))
    (line,) = lines(tmp_path / "run")
    assert [missing["client"] for missing in line["untested"]] == [0, 1, 2] and "accuracy" not in line
    assert record.read_end(tmp_path / "run")["last_evaluation"] is None


def test_what_is_kept_of_a_run_does_not_grow(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, algorithm="scaffold", rounds=8)
    served(tmp_path / "run", data_dir)
    (folder,) = (tmp_path / "run" / "clients").iterdir()
    assert len(list(folder.iterdir())) <= 3 * 4


def test_a_lost_state_is_said(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, algorithm="scaffold")
    grid = InProcess(2, data_dir, tmp_path / "run" / "clients")

    def there(node, message):
        if message.metadata.group_id == "2" and node == 101:
            for file in (tmp_path / "run" / "clients").glob("*/client-1-*"):
                file.unlink()
        return True

    grid.there = there
    served(tmp_path / "run", data_dir, grid)
    assert "does not exist: what client 1 keeps was lost" in lines(tmp_path / "run")[1]["absent"][0]["reason"]


def test_train_and_federate_do_not_go_on_with_each_others_runs(tmp_path, data_dir):
    from minifl.runs.resuming import resume
    run = begun(tmp_path / "run", data_dir)
    config = json.loads((tmp_path / "run" / record.CONFIG).read_text())
    with pytest.raises(InputError, match="begun by federate"):
        resume(tmp_path / "run", config, *run[1:])
    trained(tmp_path / "trained", *run)
    with pytest.raises(InputError, match="begun by train, not by federate"):
        federate.check_resumable(tmp_path / "trained", record.read_config(tmp_path / "trained"))


# ---- more rounds

def test_a_finished_federation_goes_on_to_more_rounds(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, rounds=2)
    served(tmp_path / "run", data_dir)
    config, messages = federate.check_resumable(tmp_path / "run", record.read_config(tmp_path / "run"), 4)
    assert config["settings"]["rounds"] == 4 and messages == ["The run goes on to 4 rounds instead of 2."]
    served(tmp_path / "run", data_dir)
    assert same(tmp_path / "run", trained(tmp_path / "trained", *begun(tmp_path / "unused", data_dir, rounds=4)))


def test_one_whose_clients_kept_something_does_not_as_that_is_gone(tmp_path, data_dir):
    settings, *_ = begun(tmp_path / "run", data_dir, rounds=2, algorithm="scaffold")
    served(tmp_path / "run", data_dir)
    federate.close(tmp_path / "run", settings, settings.network(10, (32, 32, 3)), 3)
    config = record.read_config(tmp_path / "run")
    with pytest.raises(InputError, match="what its clients kept between rounds ended with their nodes; begin a new"):
        federate.check_resumable(tmp_path / "run", config, 4)
    assert record.read_end(tmp_path / "run")["status"] == "finished" and record.read_config(tmp_path / "run") == config


def test_a_federation_whose_config_was_edited_is_refused(tmp_path, data_dir):
    begun(tmp_path / "run", data_dir, rounds=2)
    served(tmp_path / "run", data_dir)
    (tmp_path / "run" / record.END).unlink()
    text = (tmp_path / "run" / record.CONFIG).read_text()
    (tmp_path / "run" / record.CONFIG).write_text(text.replace('"lr": 0.01', '"lr": 0.1'))
    with pytest.raises(InputError, match="--lr was 0.01 and is now 0.1"):
        served(tmp_path / "run", data_dir)
