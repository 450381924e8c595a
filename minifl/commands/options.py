"""The options that the commands share. Those of a run are named, typed and defaulted by its Settings."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minifl import own
from minifl.atomic import check, is_stream
from minifl.backend import DEVICES, PRECISIONS
from minifl.data import registry
from minifl.data.known import COMMON, DEFAULTS, OTHERS
from minifl.errors import InputError
from minifl.fl.algorithms import hyperparameters
from minifl.models import MODELS
from minifl.runs.settings import EITHER, belongs, choices
from minifl.runs.sweep import MOST_RUNS

OURS = set(choices())       # the settings that have options of every command line


def group(*decorators: Any) -> Callable:
    """One decorator of many, applied so that --help lists them in this order."""
    def apply(function):
        for decorator in reversed(decorators):
            function = decorator(function)
        return function
    return apply


class Several(click.ParamType):
    """Values separated by commas; whole numbers also as ranges, 0-4. The value is a list."""
    name = "values"

    def __init__(self, kind):
        self.kind = click.types.convert_type(kind)

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        valid = f"[{'|'.join(self.kind.choices)}]" if isinstance(self.kind, click.Choice) else self.kind.name.upper()
        return f"{valid},..."

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        values = []
        for part in value.split(","):
            ends = self._range(part)
            if ends is None:
                values.append(self.kind.convert(part.strip(), param, ctx))
            elif ends[1] - ends[0] < MOST_RUNS:
                values += range(ends[0], ends[1] + 1)
            else:
                self._refuse(part, ends[1] - ends[0] + 1, param, ctx)
        values = list(dict.fromkeys(values))
        if len(values) > MOST_RUNS:
            self._refuse(value, len(values), param, ctx)
        return values

    def _refuse(self, text, count, param, ctx):
        self.fail(f"{text[:50]!r} are {count:,} values; at most {MOST_RUNS:,} are valid.", param, ctx)

    def _range(self, part):
        """First and last of a range of whole numbers, None for anything else."""
        first, _, last = part.partition("-")
        if self.kind is click.INT and first.isdecimal() and last.isdecimal() and len(part) < 100:
            return (int(first), int(last)) if int(first) <= int(last) else None
        return None


class FileName(click.Path):
    """A path; an empty one, as an unset variable of a shell gives it, would be the current folder.

    written  it is a file that will be written: what is in the way is said before any work is done
    """

    def __init__(self, written=False):
        super().__init__(path_type=Path)
        self.written = written

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "":
            self.fail("'' is no path; name a file or folder (. is the current one).", param, ctx)
        try:
            path: Any = super().convert(value, param, ctx)
            if self.written and not is_stream(path):
                check(path)
            os.lstat(path)
        except InputError as error:
            self.fail(f"{error}.", param, ctx)
        except (FileNotFoundError, NotADirectoryError, PermissionError):      # who wants it there says so
            return path
        except (OSError, ValueError) as error:
            self.fail(f"{str(value)[:50]!a} cannot be the name of a file: {getattr(error, 'strerror', None) or error}.",
                      param, ctx)
        return path


class Shape(click.ParamType):
    """Three whole numbers of at least 1, as 32x32x3."""
    name = "HxWxC"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        sides = value.split("x") if isinstance(value, str) else value
        if len(sides) != 3 or not all(str(side).isdecimal() and int(side) > 0 for side in sides):
            self.fail(f"{value!r} is no shape; it must be like 32x32x3: height, width, channels.", param, ctx)
        return tuple(map(int, sides))


class Named(click.Choice):
    """A registered name, or one's own: FILE.py:NAME, or the name of an entry point. The value is the text."""

    def __init__(self, kind, names=()):
        super().__init__(list(names or own.KINDS[kind].registry))
        self.of = kind

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        return f"[{'|'.join([*self.choices, 'FILE.py:NAME'])}]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return own.named(self.of, value)


class WithMethod(click.Command):
    """A command with --algorithm: the hyperparameters of one's own methods that are named are options, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        algorithm = next(option for option in super().get_params(ctx) if option.name == "algorithm")
        for text in _given(args, algorithm.opts[0]):
            algorithm.type.convert(text, algorithm, ctx)        # before the line is read
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list:
        known = super().get_params(ctx)
        of_methods, names = hyperparameters(), [option.name for option in known]
        new = [name for name in of_methods if name not in OURS]
        for name in new:
            if name in names or any(f"--{name.replace('_', '-')}" in option.opts for option in known):
                raise InputError(f"--algorithm {next(iter(of_methods[name]))}: its hyperparameter {name} has the name of an "
                                 f"option of this command; give it another.")
        options, is_sweep = group(*settings(*new)), isinstance(known[names.index("algorithm")].type, Several)
        made = (several(options) if is_sweep else options)(lambda: None) if new else None
        place = 1 + max(names.index(name) for name in names if name == "algorithm" or name in of_methods)
        return [*known[:place], *getattr(made, "__click_params__", ())[::-1], *known[place:]]


def _given(args, option):
    """The values of an option among the words of a command line that was not read yet."""
    for word, following in zip(args, [*args[1:], None], strict=True):
        if word == option and following is not None:
            yield following
        elif word.startswith(f"{option}="):
            yield word.partition("=")[2]


def several(options: Any) -> Callable:
    """The same options, each taking several values."""
    def apply(function):
        function = options(function)
        for option in function.__click_params__:
            if option.name in choices() and not option.is_flag and not isinstance(option.type, Several):
                option.type = Several(option.type)
        return function
    return apply


def settings(*names: Any) -> list[Callable]:
    """The options of these settings. One is None where it is not given: then a config file or the default counts."""
    declared = choices()
    return [_option(declared[name]) for name in names]


def _option(declared):
    name, kind = declared.name, declared.kind
    if name in COMMON:
        default = _by_data(name)
    elif name in belongs():
        default = _listed(belongs()[name][1])
    elif name == "activation":
        default = f"{MODELS['cnn'].network.activation}; " + _listed(
            {name: model.network.activation for name, model in MODELS.items() if model.network.activation != "relu"})
    elif name in EITHER:
        default = EITHER[name][1]
    else:
        default = declared.default
    shown = "" if default is None else f"  [default: {default}]"
    text = f"{declared.help}{shown}".strip()
    if kind is bool:
        return click.option(f"{declared.option}/--no-{declared.option[2:]}", default=None, help=text)
    if name in own.KINDS:
        kind = Named(name, declared.names)
    elif declared.names:
        kind = click.Choice(declared.names)
    return click.option(declared.option, type=kind, help=text)


def _by_data(name):
    """The value that most data sets have, then those that differ."""
    sets = {**DEFAULTS, "your own": OTHERS}
    own = {data: values[name] for data, values in sets.items() if values[name] != COMMON[name]}
    return "; ".join(filter(None, [_shown(COMMON[name]), _listed(own)]))


def _listed(defaults):
    return "; ".join(f"{name} {_shown(value)}" for name, value in defaults.items())


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else format(value, "g")


data_dir_option = click.option("--data-dir", type=FileName(),
                               help="Folder of the data files.  [default: $MINIFL_DATA, else ./data]")
data_options = group(
    click.option("--data", type=Named("data", registry.names()),
                 help="Also any other name, NAME, that NAME.npz in the data folder has, as data_scripts/ makes them. auto: "
                      "cifar10 where its file is found, else the embedded generated set.  [default: auto]"),
    data_dir_option,
)
model_options = group(
    *settings("model", "width", "patch_size", "vit_token", "norm", "bn_stats", "norm_position", "norm_affine", "groups",
              "bias", "activation", "standardize_weights", "head"),
)
partition_options = group(
    *settings("setting", "num_clients", "classes_per_client", "dirichlet_alpha", "by_domain", "min_size"),
    click.option("--partition", "table_file", type=FileName(),
                 help="Instead of --setting: a table of label counts (CSV, as of `partition --csv`), or the examples of "
                      "each client (JSON, as of `partition --json`)."),
    *settings("data_seed"),
)
named_options = group(*(
    click.option(own.option(kind), type=Named(kind), expose_value=False,
                 help="Of a run with one of your own, FILE.py:NAME: nothing that a record names is run unless you name it.")
    for kind in own.KINDS))
algorithm_options = group(
    *settings("algorithm", *hyperparameters()),
)
training_options = group(
    *settings("rounds", "local_steps", "local_epochs", "last_batch", "participation", "clients_per_round",
              "client_weights", "dropout_rate", "batch_size", "lr", "lr_schedule", "lr_step_rounds", "lr_decay",
              "momentum", "weight_decay", "clip_norm", "label_smoothing", "augment", "feature_noise"),
    click.option("--init-from", "init_file", type=FileName(), metavar="RUN_OR_NPZ",
                 help="Start from the model of a run, or parameters by name in an npz file.  [default: at random]"),
    *settings("eval_every", "local_eval_every", "local_eval_clients", "diagnose", "seed"),
    click.option("--config", "config_file", type=FileName(),
                 help="JSON file of settings, or a run's config.json; the command line goes before it."),
)
device_option = click.option("--device", default="auto", type=click.Choice(DEVICES), help="Where to compute.")
precision_option = click.option("--precision", type=click.Choice(PRECISIONS),
                                help="Of matrix products on a GPU; tf32 rounds their factors to 10 bits and is faster. "
                                     "A resumed run keeps its own.  [default: fp32]")
device_options = group(
    device_option,
    precision_option,
    click.option("--workers", type=click.IntRange(min=1),
                 help="Threads over clients on the CPU; changes no result.  [default: all cores]"),
)
jobs_option = click.option("--jobs", type=click.IntRange(min=1),
                           help="Runs at a time, of one thread each.  [default: all cores; 1 on a GPU]")
placement_options = group(
    click.option("--clients-per-call", type=click.IntRange(min=1),
                 help="Clients that go through the network together: bounds memory, changes no result.  [default: 1 on "
                      "the CPU, all on a GPU]"),
    click.option("--checkpoint-every", type=click.IntRange(min=1), default=10, help="Rounds between checkpoints."),
)
profile_option = click.option("--profile", "profiled", is_flag=True,
                              help="At the end print where the rounds' time went, layer by layer; changes no result. On "
                                   "the CPU.")
