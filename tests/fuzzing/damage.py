"""Damaged files: every file that the package reads, damaged in many ways, and read again by all that reads it.

A damaged file is refused by its name, or nothing is different: what comes out is what came out of the sound one. Of files
without any redundancy (a table or settings of a user's own, pixels that nobody summed up) a changed digit is another
input: then what comes out has to show it.
"""

import functools
import os
import re
import shutil
import stat
from pathlib import Path
from random import Random
from typing import NamedTuple

import ground
from lines import judged
from minifl.data import cifar, idx

DEEP = b"[" * 100_000
HUGE = 3 << 30      # bytes of a file with a hole


class Target(NamedTuple):
    """A file, and what reads it; `own`: it is an input without redundancy."""
    name: str
    reads: tuple        # of (command or script, arguments)
    compared: tuple = ()    # files that have to come out the same
    own: bool = False


RUN = ("config.json", "partition.csv", "rounds.jsonl", "times.jsonl", "model.npz", "end.json", "diagnostics.jsonl",
       "checkpoint-0000003")
LOOKING = (("compare", "{run}", "--reach", "1,50", "--curves"), ("eval", "{run}", "--data-dir", "data", "--device", "cpu"),
           ("replay", "{run}", "--data-dir", "data"))
MORE = ("train", "--resume", "finished", "--rounds", "5", "--data-dir", "data", "--device", "cpu", "--workers", "1")
RESUME = ("train", "--resume", "stopped", "--data-dir", "data", "--device", "cpu", "--workers", "1")
READ_DATA = (("partition", "--data", "tiny", "--data-dir", "data", "--setting", "iid"),
             ("train", *ground.SMALL, "--rounds", "1", "--out", "again"))
OUTCOME = ("rounds.jsonl", "model.npz", "partition.csv", "diagnostics.jsonl")


def _in(run, commands):
    return tuple(tuple(part.format(run=run) for part in command) for command in commands)


TARGETS = (
    *(Target(f"finished/{name}", _in("finished", LOOKING)) for name in RUN),
    *(Target(f"finished/{name}", (MORE,), tuple(f"finished/{file}" for file in OUTCOME)) for name in RUN),
    *(Target(f"stopped/{name}", (RESUME,), tuple(f"stopped/{file}" for file in OUTCOME)) for name in (*RUN,
                                                                                                "checkpoint-0000002")),
    *(Target(f"stopped/{name}", _in("stopped", LOOKING)) for name in RUN[:3]),
    Target("finished/diagnostics.jsonl", (("plot", "finished"),), ("plots/diagnostics-finished.svg",)),
    *(Target(f"listed/{name}", _in("listed", LOOKING[1:])) for name in ("partition.json", "start.npz", "partition.csv")),
    *(Target(f"listed/{name}", (("train", "--resume", "listed", "--rounds", "4", "--data-dir", "data", "--device", "cpu"),),
             tuple(f"listed/{file}" for file in OUTCOME)) for name in ("partition.json", "start.npz", "partition.csv")),
    Target("finished/model.npz", (("train", *ground.SMALL, "--norm", "bn", "--rounds", "1", "--init-from", "finished",
                                   "--out", "again"),), ("again/rounds.jsonl", "again/model.npz")),
    Target("lists.json", (("train", *(part for part in ground.SMALL if part not in ("--setting", "iid")), "--rounds", "1",
                           "--partition", "lists.json", "--out", "again"),), own=True),
    Target("data/tiny.npz", READ_DATA, ("again/rounds.jsonl", "again/model.npz")),
    Target("data/tiny.npz", READ_DATA[:1]),
    Target("data/tiny.npz", (("eval", "finished", "--data-dir", "data", "--device", "cpu"),)),
    Target("table.csv", (("partition", "--data", "tiny", "--data-dir", "data", "--partition", "table.csv"),), own=True),
    Target("settings.json", (("train", *ground.SMALL, "--rounds", "1", "--config", "settings.json", "--out", "again"),),
           own=True),
    Target("metadata.json", (("course", "grade", "homework", "--assignment", "hw9", "--gradescope", "metadata.json"),)),
    *(Target(f"idx/{name}.gz", (("mnist", "--from", "idx", "--data-dir", "out"),), own=True) for name in idx.FILES),
    *(Target(f"idx-unpacked/{name}", (("mnist", "--from", "idx-unpacked", "--data-dir", "out"),), own=True)
      for name in idx.FILES),
    Target("archive.tar.gz", (("cifar10", "--from", "archive.tar.gz", "--data-dir", "out"),), own=True),
    *(Target(f"unpacked/{name}", (("cifar10", "--from", "unpacked", "--data-dir", "out"),), own=True)
      for name in (cifar.CIFAR10.train[0], cifar.CIFAR10.test, "batches.meta.txt")),
)


def case(address, folder):
    """(verdict, what it was) of one damaged file."""
    rng = Random(address)
    target = rng.choice(TARGETS)
    here = ground.copied(folder / "ground", folder / "case")
    how = damage(rng, here, target.name)
    reads = target.reads if target.compared else (rng.choice(target.reads),)
    before = sound(folder, target, reads)
    after = outcome(here, target, reads)
    verdicts = [_verdict(target, *pair) for pair in zip(before, after)]
    order = ("hang", "traceback", "silent", "unnamed", "shown", "refused", "the same")
    verdict = min(verdicts, key=order.index)
    shown = [(ended.code, ended.out[-300:] if verdict == "silent" else "", ended.err[-400:]) for ended, _ in after]
    return verdict, f"{target.name} {how}, {' | '.join(' '.join(read[:3]) for read in reads)}: {shown!r}"


@functools.cache
def sound(folder, target, reads):
    return outcome(ground.copied(folder / "ground", folder / "sound"), target, reads)


def outcome(here, target, reads):
    """(Ended, the compared files that are there) of each of the commands."""
    found = []
    for read in reads:
        call = ground.command if read[0] not in ("mnist", "cifar10") else ground.script
        ended = call(here, *read)
        found.append((ended, {name: (here / name).read_bytes() for name in target.compared if (here / name).is_file()}))
    return found


def _verdict(target, before, after):
    (sound, sound_files), (ended, files) = before, after
    how = judged(ended) if "error: " not in ended.err else judged(ended._replace(err=ended.err.replace("error: ", "Error: ")))
    if how in ("hang", "traceback"):
        return how
    if ended.code == sound.code and files == sound_files and (target.compared or plain(ended.out) == plain(sound.out)):
        return "the same"       # what a resume had to do again it says, and that differs
    if ended.code == 2 and sound.code == 0:
        named = Path(target.name).name in ended.err or Path(target.name).parent.name + ":" in ended.err or \
            f"{Path(target.name).parent.name}/" in ended.err or f"{Path(target.name).parent.name} " in ended.err
        return "refused" if named else "unnamed"
    if ended.code == 1 and target.reads[0][0] == "replay":
        return "refused"
    # another input: its own hash, names or settings are printed, and those are not those of the sound one
    return "shown" if target.own and plain(ended.out) != plain(sound.out) else "silent"


def plain(text):
    """What is printed, without what differs between two runs of the same."""
    text = re.sub(r"(?m)^(\|.*)\|[^|]*\|$", r"\1", text)                       # the column s/round
    return re.sub(r"[0-9.]+ rounds/s +[0-9:]+ left|\([^)]*[0-9.]+ s\)", "", text)


# ---- kinds of damage

def damage(rng, here, name):
    """Damage the file; says how."""
    file = here / name
    content = file.read_bytes()
    kinds = [kind for kind in KINDS for _ in range(KINDS[kind])]
    kind = rng.choice(kinds)
    file.unlink()
    return f"{kind.__name__} {kind(rng, here, file, content) or ''}".strip()


def bits(rng, here, file, content):
    changed, places = bytearray(content), rng.sample(range(len(content)), min(len(content), rng.choice((1, 1, 2, 5))))
    for i in places:
        changed[i] ^= 1 << rng.randrange(8)
    file.write_bytes(changed)
    return places


def beginning(rng, here, file, content):
    i = rng.randrange(min(100, len(content)))
    file.write_bytes(content[:i] + bytes([rng.randrange(256)]) + content[i + 1:])
    return i


def digit(rng, here, file, content):
    """Another digit in its place: what an editor does."""
    places = [i for i, byte in enumerate(content) if 48 <= byte < 58] or [0]
    i = rng.choice(places)
    file.write_bytes(content[:i] + str((int(content[i:i + 1]) + 1) % 10 if content[i:i + 1].isdigit() else 7).encode()
                     + content[i + 1:])
    return i


def cut(rng, here, file, content):
    length = rng.choice((0, 1, rng.randrange(len(content)), len(content) - 1))
    file.write_bytes(content[:length])
    return length


def line_lost(rng, here, file, content):
    found = content.splitlines(keepends=True)
    i = rng.randrange(len(found))
    file.write_bytes(b"".join(found[:i] + found[i + 1:]))
    return i


def line_moved(rng, here, file, content):
    found = content.splitlines(keepends=True)
    i, j = rng.randrange(len(found)), rng.randrange(len(found))
    found[i], found[j] = found[j], found[i]
    file.write_bytes(b"".join(found))
    return i, j


def block(rng, here, file, content):
    i = rng.randrange(len(content))
    n = rng.choice((1, 16, 512))
    file.write_bytes(content[:i] + bytes(len(content[i:i + n])) + content[i + n:])
    return i, n


def inserted(rng, here, file, content):
    i = rng.randrange(len(content) + 1)
    file.write_bytes(content[:i] + rng.randbytes(rng.choice((1, 8, 100))) + content[i:])
    return i


def longer(rng, here, file, content):
    file.write_bytes(content + rng.choice((b"\n", b"\0", content, b"{}\n", b"[" * 5000)))


def swapped(rng, here, file, content):
    """The file of the same name of another run, else some other file."""
    others = [p for p in ((here / "other" / file.name), *sorted(file.parent.iterdir()), here / "table.csv") if p.is_file()]
    source = others[0] if rng.random() < 0.6 else rng.choice(others)
    shutil.copyfile(source, file)
    return source.relative_to(here)


def garbage(rng, here, file, content):
    file.write_bytes(rng.randbytes(rng.choice((1, 100, 5000))))


def nested(rng, here, file, content):
    file.write_bytes(rng.choice((DEEP, b'{"settings":' + DEEP, DEEP + b"\n" + content, b'{"a":' * 100_000)))


def huge(rng, here, file, content):
    with open(file, "wb") as f:
        f.write(content if rng.random() < 0.5 else b"")
        f.truncate(HUGE)


def gone(rng, here, file, content):
    pass


def pipe(rng, here, file, content):
    os.mkfifo(file)


def folder(rng, here, file, content):
    file.mkdir()


def device(rng, here, file, content):
    try:
        os.mknod(file, 0o600 | stat.S_IFCHR, os.makedev(1, 5))      # one like /dev/zero
    except PermissionError:
        file.symlink_to("/dev/zero")


def circle(rng, here, file, content):
    file.symlink_to(file.name)


KINDS = {bits: 8, digit: 4, beginning: 3, cut: 3, line_lost: 2, line_moved: 2, block: 2, inserted: 2, longer: 1, swapped: 3,
         garbage: 1, nested: 2, huge: 1, gone: 1, pipe: 2, folder: 1, device: 1, circle: 1}
