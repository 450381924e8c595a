"""Checkpoints: what was saved is what is loaded, and what is damaged is noticed and not used."""

import hashlib
import io
import os
import pickle
import signal

import numpy as np
import pytest

from minifl.atomic import replacing
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.rounds import State, start
from minifl.runs import checkpoint

P = 7
KEPT = {"control": P}   # of scaffold


def state_of(name, dtype=np.float32, rounds=5, clients=(2, 0, 11), size=P):
    """A state such as the method has it after some rounds, of random numbers."""
    rng = np.random.default_rng(rounds)

    def vector():
        return rng.normal(size=size).astype(dtype)

    method = ALGORITHMS[name]()
    server = {key: vector() for key in method.server_state(vector())}
    own = {k: {key: vector() for key in method.kept} for k in clients} if method.kept else {}
    return State(rounds, vector(), server, own, vector()[:0])


def first(name, dtype=np.float32, size=P):
    return start(ALGORITHMS[name](), np.zeros(size, dtype))


def assert_same(a, b):
    """The same to the bit, with the same types."""
    assert a.round == b.round and type(a.round) is type(b.round) is int
    assert a.server.keys() == b.server.keys() and a.own.keys() == b.own.keys()
    pairs = [(a.w, b.w), (a.statistics, b.statistics), *((a.server[name], b.server[name]) for name in a.server)]
    for k in a.own:
        assert type(k) is int and a.own[k].keys() == b.own[k].keys()
        pairs += [(a.own[k][name], b.own[k][name]) for name in a.own[k]]
    for x, y in pairs:
        assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def saved(folder, *rounds, name="scaffold"):
    """The folder with checkpoints of these rounds, and their states."""
    states = [state_of(name, rounds=r) for r in rounds]
    for state in states:
        checkpoint.save(folder, state)
    return states


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_was_saved_is_loaded_to_the_bit(name, dtype, tmp_path):
    state = state_of(name, dtype)
    state.w[:3] = np.nan, -0.0, np.finfo(dtype).smallest_subnormal
    checkpoint.save(tmp_path, state)
    loaded, messages = checkpoint.latest(tmp_path, first(name, dtype), 5, dict.fromkeys(ALGORITHMS[name].kept, P))
    assert_same(loaded, state)
    assert messages == [] and names(tmp_path) == ["checkpoint-0000005"]


def test_clients_that_never_took_part_are_not_kept(tmp_path):
    state = state_of("scaffold", clients=())
    checkpoint.save(tmp_path, state)
    assert_same(checkpoint.latest(tmp_path, first("scaffold"), 5, KEPT)[0], state)


def test_the_two_newest_are_kept_and_the_newest_is_used(tmp_path):
    states = saved(tmp_path, 8, 9, 10, 11, 1_000_000, 12_345_678)
    assert names(tmp_path) == ["checkpoint-1000000", "checkpoint-12345678"]
    assert_same(checkpoint.latest(tmp_path, first("scaffold"), 10**9, KEPT)[0], states[-1])
    checkpoint.save(tmp_path, states[-1])   # the same once more: an interruption right after it was written
    assert names(tmp_path) == ["checkpoint-1000000", "checkpoint-12345678"]
    checkpoint.remove(tmp_path)
    assert names(tmp_path) == []


def test_without_any_it_is_the_start(tmp_path):
    (tmp_path / "checkpoint-mine").write_text("not one of ours")
    begin = first("fedyogi")
    assert checkpoint.latest(tmp_path, begin, 5, KEPT) == (begin, [])
    checkpoint.remove(tmp_path)
    assert names(tmp_path) == ["checkpoint-mine"]


# ---- damage

def flipped(position):
    def damage(content):
        changed = bytearray(content)
        i = int(position * (len(changed) - 1))
        changed[i] ^= 1 << i % 8
        return bytes(changed)
    return damage


def signed(content):
    """Bytes with a checksum that fits."""
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


SOUND = dict(round=np.int64(9), w=np.zeros(P, np.float32), clients=np.array([3]),
             **{"server/control": np.zeros(P, np.float32), "own/control": np.zeros((1, P), np.float32)})


def without(name):
    return npz(**{key: array for key, array in SOUND.items() if key != name})


def other(**arrays):
    return npz(**SOUND | {key.replace("_", "/"): array for key, array in arrays.items()})


DAMAGE = {
    **{f"bit flipped at {position}": (flipped(position), "is damaged: its checksum does not fit")
       for position in (0, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1)},
    **{f"cut to {part}": (lambda content, part=part: content[:int(part * len(content))], "is damaged")
       for part in (0, 0.01, 0.5, 0.99)},
    "one byte more": (lambda content: content + b"\0", "is damaged"),
    "all zeros": (lambda content: bytes(len(content)), "is damaged"),
    "a text": (lambda content: b"checkpoint\nof another program\n", "is damaged"),
    "signed nothing": (lambda content: signed(b""), "is not a checkpoint"),
    "signed text": (lambda content: signed(b"w = 0"), "is not a checkpoint"),
    "signed half": (lambda content: signed(content[65:len(content) // 2]), "is not a checkpoint"),
    "signed array": (lambda content: signed(npy(SOUND["w"])), "is not a checkpoint"),
    "no round": (lambda content: signed(without("round")), "is not a checkpoint"),
    "no parameters": (lambda content: signed(without("w")), "is not a checkpoint"),
    "no clients": (lambda content: signed(without("clients")), "is not a checkpoint"),
    "more clients": (lambda content: signed(other(clients=np.arange(2))), "is not a checkpoint"),
}


def test_the_parts_of_which_damage_is_made_are_sound(tmp_path):
    (tmp_path / "checkpoint-0000009").write_bytes(signed(npz(**SOUND)))
    state, messages = checkpoint.latest(tmp_path, first("scaffold"), 9, KEPT)
    assert state.round == 9 and list(state.own) == [3] and messages == []


@pytest.mark.parametrize("damage, message", DAMAGE.values(), ids=DAMAGE)
def test_the_one_before_a_damaged_one_is_used_and_it_is_said(damage, message, tmp_path):
    before, newest = saved(tmp_path, 8, 9)
    file = tmp_path / "checkpoint-0000009"
    file.write_bytes(damage(file.read_bytes()))
    state, messages = checkpoint.latest(tmp_path, first("scaffold"), 9, KEPT)
    assert_same(state, before)
    assert len(messages) == 1 and message in messages[0] and messages[0].startswith(str(file))
    assert messages[0].endswith(" It is passed over.")


OTHER_FORM = {
    "no moments": signed(without("server/control")),
    "other network": signed(other(w=np.zeros(P + 1, np.float32))),
    "other type": signed(other(w=np.zeros(P))),
    "other controls": signed(other(own_control=np.zeros((1, 1)))),
    "one control": signed(other(server_control=np.float32(0))),
}


@pytest.mark.parametrize("content", OTHER_FORM.values(), ids=OTHER_FORM)
def test_one_of_another_run_is_an_error_since_the_start_would_lose_what_was_done(content, tmp_path):
    saved(tmp_path, 8, 9)
    (tmp_path / "checkpoint-0000009").write_bytes(content)
    with pytest.raises(InputError, match="checkpoint-0000009 is of another network or method than config.json"):
        checkpoint.latest(tmp_path, first("scaffold"), 9, KEPT)


def test_a_flipped_bit_in_any_byte_of_the_numbers_is_noticed(tmp_path):
    _, newest = saved(tmp_path, 8, 9)
    file = tmp_path / "checkpoint-0000009"
    content = file.read_bytes()
    begin = content.index(newest.w.tobytes())
    for i in range(begin, begin + newest.w.nbytes):
        changed = bytearray(content)
        changed[i] ^= 1 << i % 8
        file.write_bytes(changed)
        assert checkpoint.latest(tmp_path, first("scaffold"), 9, KEPT)[0].round == 8


def test_when_all_are_damaged_it_is_the_start(tmp_path):
    saved(tmp_path, 8, 9)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    begin = first("scaffold")
    state, messages = checkpoint.latest(tmp_path, begin, 9, KEPT)
    assert state is begin
    assert ["checkpoint-0000009" in messages[0], "checkpoint-0000008" in messages[1]] == [True, True]


def test_one_that_cannot_be_read_is_passed_over(tmp_path):
    before, _ = saved(tmp_path, 8, 9)
    (tmp_path / "checkpoint-0000009").unlink()
    (tmp_path / "checkpoint-0000009").mkdir()
    state, messages = checkpoint.latest(tmp_path, first("scaffold"), 9, KEPT)
    assert_same(state, before)
    assert "checkpoint-0000009 cannot be read" in messages[0]


def test_one_beyond_the_record_is_passed_over(tmp_path):
    before, _ = saved(tmp_path, 8, 9)
    state, messages = checkpoint.latest(tmp_path, first("scaffold"), 8, KEPT)
    assert_same(state, before)
    assert messages == [f"{tmp_path / 'checkpoint-0000009'} is passed over: the record holds only 8 rounds."]
    assert checkpoint.latest(tmp_path, first("scaffold"), 7, KEPT)[0].round == 0


def test_those_that_were_passed_over_make_room_for_sound_ones(tmp_path):
    saved(tmp_path, 8, 9)
    checkpoint.save(tmp_path, state_of("scaffold", rounds=3))    # the record held less than 8 rounds
    assert names(tmp_path) == ["checkpoint-0000003"]
    checkpoint.save(tmp_path, state_of("scaffold", rounds=4))
    assert names(tmp_path) == ["checkpoint-0000003", "checkpoint-0000004"]


@pytest.mark.parametrize("wrap", [
    lambda bomb: pickle.dumps(bomb),
    lambda bomb: npz(**SOUND | {"w": np.array([bomb] * P, dtype=object)}),
    lambda bomb: npz(**SOUND, extra=np.array(bomb, dtype=object)),
], ids=["a pickle", "pickled parameters", "a pickle besides"])
def test_nothing_is_unpickled(wrap, tmp_path):
    before, _ = saved(tmp_path, 8, 9)
    file = tmp_path / "checkpoint-0000009"
    content = wrap(Bomb(tmp_path / "exploded"))
    file.write_bytes(signed(content))
    state, messages = checkpoint.latest(tmp_path, first("scaffold"), 9, KEPT)
    assert_same(state, before)
    assert "checkpoint-0000009 is not a checkpoint" in messages[0]
    assert not (tmp_path / "exploded").exists()
    if content[:2] != b"PK":     # the bomb is one
        pickle.loads(content).close()
        assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("part", [0, 1, 0.5])
def test_a_kill_during_writing_leaves_what_was_there(part, tmp_path):
    before = saved(tmp_path, 8, 9)[-1]
    content = (tmp_path / "checkpoint-0000009").read_bytes()
    child = os.fork()
    if child == 0:
        try:
            with replacing(tmp_path / "checkpoint-0000010") as f:
                f.write(content[:int(part * len(content))])
                f.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert names(tmp_path) == [f".checkpoint-0000010.{child}.tmp", "checkpoint-0000008", "checkpoint-0000009"]
    state, messages = checkpoint.latest(tmp_path, first("scaffold"), 10, KEPT)
    assert_same(state, before)
    assert messages == []
