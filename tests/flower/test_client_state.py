"""What clients keep survives restarts and no more: which files are there after what happened."""

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.flower import client_state

SIZES = {"control": 3}


def of(round_):
    return {"control": np.full(3, round_, np.float32)}


def did(folder, round_, since, oldest, client=4):
    """The client did a round, as node.train keeps it; returns the rounds that are kept then."""
    client_state.save(folder, client, round_, of(round_))
    client_state.tidy(folder, client, round_, since, oldest)
    return [r for r, _ in client_state.rounds(folder, client)]


def test_before_its_first_round_a_client_keeps_nothing(tmp_path):
    assert client_state.load(tmp_path / "none", 4, 0, SIZES) == {}


def test_what_was_kept_is_loaded_to_the_bit(tmp_path):
    array = np.random.default_rng(0).standard_normal(3).astype(np.float32)
    client_state.save(tmp_path, 4, 7, {"control": array})
    loaded = client_state.load(tmp_path, 4, 7, SIZES)["control"]
    assert loaded.dtype == np.float32 and loaded.tobytes() == array.tobytes()


def test_all_is_kept_that_a_server_could_go_on_from(tmp_path):
    assert did(tmp_path, 1, 0, 0) == [1]
    assert did(tmp_path, 2, 1, 0) == [1, 2]         # no checkpoint yet: a server would begin anew
    assert did(tmp_path, 3, 2, 1) == [1, 2, 3]
    assert did(tmp_path, 5, 3, 2) == [2, 3, 5]      # 1 is older than what the checkpoint of round 2 asks for
    assert did(tmp_path, 9, 5, 8) == [5, 9]         # that of round 8 asks for 5
    assert did(tmp_path, 10, 9, 9) == [9, 10]


def test_a_round_that_did_not_count_is_passed_over_and_removed(tmp_path):
    did(tmp_path, 1, 0, 0)
    did(tmp_path, 2, 1, 0)                          # its reply is lost
    assert did(tmp_path, 3, 1, 1) == [1, 3]
    np.testing.assert_array_equal(client_state.load(tmp_path, 4, 1, SIZES)["control"], [1, 1, 1])


def test_rounds_that_a_killed_server_has_forgotten_are_done_again(tmp_path):
    for round_ in (1, 2, 3, 4):
        did(tmp_path, round_, round_ - 1, max(0, round_ - 3))
    assert did(tmp_path, 3, 2, 2) == [2, 3, 4]      # 4 is of before; it is done again next
    assert did(tmp_path, 4, 3, 2) == [2, 3, 4]


def test_a_late_message_destroys_nothing(tmp_path):
    """Round 2's message is worked on after round 3's: what counted, 1 and 3, stays."""
    did(tmp_path, 1, 0, 0)
    did(tmp_path, 3, 1, 0)
    assert did(tmp_path, 2, 1, 0) == [1, 2, 3]
    np.testing.assert_array_equal(client_state.load(tmp_path, 4, 3, SIZES)["control"], [3, 3, 3])


def test_clients_do_not_touch_each_others(tmp_path):
    did(tmp_path, 1, 0, 0, client=1)
    did(tmp_path, 5, 1, 5, client=11)
    assert [r for r, _ in client_state.rounds(tmp_path, 1)] == [1] and [r for r, _ in client_state.rounds(tmp_path, 11)] == [5]


@pytest.mark.parametrize("change, message", [
    (lambda file: file.unlink(), "does not exist: what client 4 keeps was lost"),
    (lambda file: file.write_bytes(file.read_bytes()[:-1]), "is damaged"),
    (lambda file: file.write_bytes(b""), "is damaged"),
])
def test_what_cannot_be_used_is_said(change, message, tmp_path):
    did(tmp_path, 1, 0, 0)
    change(tmp_path / "client-4-round-1")
    with pytest.raises(InputError, match=message):
        client_state.load(tmp_path, 4, 1, SIZES)


@pytest.mark.parametrize("sizes", [{"control": 4}, {"statistics": 3}, {"control": 3, "affine": 1}])
def test_what_another_network_or_method_kept_is_refused(sizes, tmp_path):
    did(tmp_path, 1, 0, 0)
    with pytest.raises(InputError, match="another network or method"):
        client_state.load(tmp_path, 4, 1, sizes)
