"""Random command lines, made from the options that the commands have: values that are valid, at the edge, and neither."""

import os
from random import Random

import click

import ground
from minifl.cli import main
from minifl.commands.options import FileName, Several, Shape
from minifl.runs.settings import belongs

ODD = 0.12      # how often a value is one that no such option, or hardly any, has
LONG, OTHER_BYTES = "n" * 256, os.fsdecode(b"l\xe4uft")
WHOLE = ("0", "1", "2", "3", "5"), ("-1", "1.5", "x", "", "1" + "0" * 30, "²", "nan")      # valid for most, for none
REAL = ("1", "0.1", "0.5", "0.99", "1e-3"), ("0", "1e-300", "1e300", "-0.1", "nan", "inf", "x", "", "2")
SHAPES = ("32x32x3", "8x8x1", "16x16x3"), ("1x1x1", "0x1x1", "axbxc", "", "32x32", "99999x99999x99999", "²x1x1")
RUNS, TABLES = ("finished", "stopped", "other", "listed"), ("table.csv", "finished/partition.csv", "lists.json")
JSONS = ("settings.json", "finished/config.json", "listed/config.json")
SENSIBLE = {"data_dir": ("data",), "table_file": TABLES, "config_file": JSONS, "out": ("new", "new/er", "empty"),
            "resumed": RUNS, "run": RUNS, "runs": RUNS, "figure": ("new.png", "new.svg", "new"), "csv_file": ("new.csv", "-"),
            "emit": ("new",), "pictures": ("new",), "submission": ("homework",), "gradescope": ("metadata.json",),
            "hidden": ("nothing",), "init_from": (*RUNS, "finished/model.npz"), "json_file": ("new.json", "-")}
FILES = ("finished", "stopped", "data", "table.csv", "settings.json", "finished/config.json", "pipe", "nothing",
         "nothing/at/all", "table.csv/below", "loop", ".", "/", "/dev/null", "/dev/zero", "-", "/dev/stdout", "", "new",
         "new.png", "é", "e\u0301", "日本語", LONG, "n" * 255, OTHER_BYTES, "a b;'\"", "--out", "finished/model.npz",
         "data/tiny.npz", "new/" * 1000 + "x", "\ud800", "empty", "homework", "archive.tar.gz", "~", "metadata.json")
TEXTS = {"data": (("auto", "embedded", "tiny", "cifar10"), ("mnist", "nothing", "", "../data/tiny", "é", LONG)),
         "layer": (("linear", "layer_norm"), ("mlp", "nothing", "")), "claim": (("proposition-2",), ("nothing", "")),
         "name": (("claims", "table1", "table14", "figure4", "figure8"), ("table2", "nothing", "", LONG)),
         "only": (("FN", "1 class", "CNN"), ("nothing", "")), "assignment": (("hw1", "hw5"), ("hw9", "", "é")),
         "student": (("ada", "é", "日本語"), ("", OTHER_BYTES, "x" * 300)),
         "variant": (("norm=rms",), ("x", "=", "a=b,c=d", "")),
         "address": (("localhost:9092", "[::1]:1"), ("x", "", "h:99999")),
         # what is valid and takes long says nothing about what is refused: these stay small
         "rounds": (("1", "2", "3"), ("0", "-1", "x", "1.5")), "local_steps": (("1", "2"), ("0", "x")),
         "local_epochs": (("1",), ("0", "x")), "jobs": (("1", "2"), ("0",)), "cases": (("1", "2"), ("0", "x")),
         "seconds": (("1",), ("0", "x")), "model": ((*("mlp",) * 6, "cnn", "resnet8", "vit"), ("nothing", "")),
         "width": (("0.01", "0.02"), ("0", "nan", "1e9", "x")), "batch_size": (("1", "4", "33"), ("0", "x")),
         "num_clients": (("1", "2", "10", "12"), ("0", "x", "1" + "0" * 12)),
         "clients_per_round": (("1", "2"), ("0", "x", "1" + "0" * 12)),
         "seeds": (("0", "0,1", "0-1"), ("x", "0-99999999", "")), "seed": (("0", "7", "1" + "0" * 30), ("-1", "x")),
         "workers": (("1", "2"), ("0", "x")), "memory": (("512", "2048"), ("1",)),
         "patch_size": (("4", "8", "16"), ("0", "7", "x"))}
BASE = {"train": (*ground.SMALL, "--rounds", "2"), "sweep": ("--data", "tiny", "--data-dir", "data", "--device", "cpu", "--model", "mlp", "--width",
                                         "0.02", "--rounds", "1", "--batch-size", "4", "--local-steps", "1", "--jobs", "2",
                                         "--out", "sweep"),
        "federate": ground.SMALL, "reproduce": ("--plan", "--device", "cpu", "--data-dir", "data"),
        "gradcheck": ("--layer", "linear"), "theory": ("--claim", "proposition-2"), "check": ("nothing",),
        "replay": ("--data-dir", "data"), "eval": ("--data-dir", "data"), "partition": ("--data", "tiny", "--data-dir", "data")}
RARE = {"sweep": 0.15, "grade": 0.2, "check": 0.3, "gradcheck": 0.4, "theory": 0.3, "plot": 0.3, "bundle": 0.4,
        "list": 0.2, "federate": 0.7, "reproduce": 0.4}     # slow, or all alike
ALWAYS = {"reproduce": {"plan"}, "check": {"assignment"}, "gradcheck": set(), "theory": set()}    # are given by BASE alone


def commands(group=main, path=()):
    """(path, click command) of every command."""
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands(one, (*path, name))
        else:
            yield (*path, name), one


ALL = list(commands())
WEIGHTS = [4 if path[-1] in ("train", "partition", "eval", "compare") else RARE.get(path[-1], 1) for path, _ in ALL]


def case(address, folder):
    """(verdict, what it was) of one command line."""
    rng = Random(address)
    path, chosen = rng.choices(ALL, WEIGHTS)[0]
    arguments = line(rng, path, chosen)
    here = ground.copied(folder / "ground", folder / "case")
    os.mkfifo(here / "pipe")
    os.symlink("loop", here / "loop")
    os.mkdir(here / "empty")
    ended = ground.command(here, *arguments)
    return judged(ended), f"{' '.join(map(ascii, arguments))[:600]}: {ended.code} {ended.err[-600:]!r}"


def judged(ended):
    if ended.code is None:
        return "hang"
    if "Traceback (most recent call last)" in ended.err or "Exception ignored" in ended.err or ended.code < 0 or \
            ended.code not in (0, 1, 2):
        return "traceback"
    if ended.code == 2 and "Error: " not in ended.err:
        return "unnamed"
    return ("done", "answered no", "refused")[ended.code]


def line(rng, path, chosen):
    """The arguments of a random line of a command."""
    name = path[-1] if path != ("check",) else "check of one's own"
    options = [p for p in chosen.params if isinstance(p, click.Option) and p.name not in ALWAYS.get(name, ())
               and p.name != "help"]
    picked = rng.sample(options, min(len(options), rng.choice((0, 0, 1, 1, 2, 3, 5, 8))))
    picked += [p for p in options if p.required and p not in picked]
    given = [*BASE.get(name, ())]
    for option in picked:
        given += _given(rng, option)
    for argument in (p for p in chosen.params if isinstance(p, click.Argument) and p.name not in ALWAYS.get(name, ())):
        for _ in range(rng.choice((1, 1, 1, 2)) if argument.nargs == -1 else 1):
            given.append(_value(rng, argument.name, argument.type))
    if rng.random() < 0.03:
        given.insert(rng.randrange(len(given) + 1), rng.choice(("--nothing", "-x", "--", "", "é", "--help")))
    return [*path, *given]


def _given(rng, option):
    if option.is_flag:
        return [rng.choice([*option.opts, *option.secondary_opts])]
    given = [rng.choice(option.opts), _value(rng, option.name, option.type)]
    if option.name in belongs() and rng.random() < 0.8:       # with what it belongs to
        owner, values = belongs()[option.name]
        given = [f"--{owner.replace('_', '-')}", rng.choice(list(values)), *given]
    return given


def _value(rng, name, kind):
    """Mostly one that is valid for some such option."""
    odd = rng.random() < ODD
    if isinstance(kind, Several) and name not in ("seeds",):
        return ",".join(_value(rng, name, kind.kind) for _ in range(rng.choice((1, 1, 2))))
    if isinstance(kind, FileName):
        return rng.choice(FILES if odd or name not in SENSIBLE else SENSIBLE[name])
    if name in TEXTS:
        return rng.choice(TEXTS[name][odd])
    if isinstance(kind, click.Choice):
        return rng.choice(("nothing", "", next(iter(kind.choices)).upper()) if odd else [*kind.choices])
    if isinstance(kind, Shape):
        return rng.choice(SHAPES[odd])
    return rng.choice((REAL if isinstance(kind, (click.types.FloatParamType, click.FloatRange)) else WHOLE)[odd])
