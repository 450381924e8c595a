"""The options that the commands share. Those of a run are named, typed and defaulted by its Settings."""

import os
from dataclasses import fields
from pathlib import Path

import click

from minifl.atomic import check, is_stream
from minifl.backend import DEVICES, PRECISIONS
from minifl.data import registry
from minifl.data.augment import AUGMENTATIONS
from minifl.data.counts import SETTINGS
from minifl.data.partition import NATURAL
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.participation import CLIENT_WEIGHTS, LAST_BATCHES
from minifl.fl.statistics import POLICIES
from minifl.models import MODELS, TOKENS
from minifl.models.arrangement import ACTIVATIONS, BIASES, HEADS, POSITIONS, WHERE
from minifl.runs.settings import (ACTIVATION, BELONGS, COMMON, DECORR_FORMS, DEFAULTS, EITHER, LR_SCHEDULES, OTHERS,
                                  SCAFFOLD_OPTIONS, Settings)
from minifl.runs.sweep import MOST_RUNS


SETTINGS_NAMES = {field.name for field in fields(Settings)}


def group(*decorators):
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

    def get_metavar(self, param, ctx=None):
        valid = f"[{'|'.join(self.kind.choices)}]" if isinstance(self.kind, click.Choice) else self.kind.name.upper()
        return f"{valid},..."

    def convert(self, value, param, ctx):
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

    def convert(self, value, param, ctx):
        if value == "":
            self.fail("'' is no path; name a file or folder (. is the current one).", param, ctx)
        try:
            path = super().convert(value, param, ctx)
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

    def convert(self, value, param, ctx):
        sides = value.split("x") if isinstance(value, str) else value
        if len(sides) != 3 or not all(str(side).isdecimal() and int(side) > 0 for side in sides):
            self.fail(f"{value!r} is no shape; it must be like 32x32x3: height, width, channels.", param, ctx)
        return tuple(map(int, sides))


def several(options):
    """The same options, each taking several values."""
    def apply(function):
        function = options(function)
        for option in function.__click_params__:
            if option.name in SETTINGS_NAMES and not option.is_flag and not isinstance(option.type, Several):
                option.type = Several(option.type)
        return function
    return apply


def setting(name, kind, text=""):
    """The option of one field of Settings. It is None where not given: then a config file or the default counts.

    kind: a type, or the valid names
    """
    option = f"--{name.replace('_', '-')}"
    if name in COMMON:
        default = _by_data(name)
    elif name in BELONGS:
        default = _listed(BELONGS[name][1])
    elif name == "activation":
        default = f"{ACTIVATION['cnn']}; vit {ACTIVATION['vit']}"
    elif name in EITHER:
        default = EITHER[name][1]
    else:
        default = getattr(Settings, name)
    kind = kind if isinstance(kind, type) else click.Choice(list(kind))
    shown = "" if default is None else f"  [default: {default}]"
    if kind is bool:
        return click.option(f"{option}/--no-{option[2:]}", default=None, help=f"{text}{shown}".strip())
    return click.option(option, type=kind, help=f"{text}{shown}".strip())


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
    click.option("--data", metavar="NAME",
                 help=f"{', '.join(registry.names())}, or any other that NAME.npz in the data folder has, as "
                      "data_scripts/ makes them. auto: cifar10 where its file is found, else the embedded generated "
                      "set.  [default: auto]"),
    data_dir_option,
)
model_options = group(
    setting("model", MODELS, "cnn: as the authors released it; cnn-table7: as they printed it; vit: small."),
    setting("width", float, "Multiplies channels and hidden units."),
    setting("patch_size", int, "Of --model vit: pixels."),
    setting("vit_token", TOKENS, "Of --model vit: what is classified, a token of its own or the mean of all."),
    setting("norm", WHERE, "none: plain; fn: feature norm last; fn-all: everywhere; fn-inside, fn-mv-inside: fn and n "
                           "or MV in residual blocks; ln: MV (layer) norm everywhere; ln-reduced: shift inside, MV last; "
                           "gn, in, rms, bn: group, instance, RMS, batch norm everywhere."),
    setting("bn_stats", POLICIES, "Running statistics of batch norm: averaged over the clients (FedAvg + BN), kept by "
                                  "each with its gain and bias (FedBN), or none: those of each test batch."),
    setting("norm_position", POSITIONS, "The norm stands after or before the activation (vit: the sublayer)."),
    setting("norm_affine", ("static", "learnable"), "Norms without or with trained gain and bias."),
    setting("groups", int, "Of --norm gn."),
    setting("bias", BIASES, "Which layers have biases."),
    setting("activation", ACTIVATIONS),
    setting("standardize_weights", bool, "Convolutions use standardized weights."),
    setting("head", HEADS, "cosine: the classifier's weight vectors have length 1."),
)
partition_options = group(
    setting("setting", (*SETTINGS, NATURAL), "How labels are spread over the clients; dirichlet-balanced: as NIID-Bench and, "
                                             "by default, Flower do it; quantity: sizes differ, labels do not; natural: a "
                                             "client for each user (domain) of the data."),
    setting("num_clients", int),
    setting("classes_per_client", int, "Of --setting nclass."),
    setting("dirichlet_alpha", float, "Of --setting dirichlet, dirichlet-balanced and quantity."),
    setting("by_domain", bool, "Split each domain over clients of its own, as many for each."),
    setting("min_size", int, "Of the same three: fewest training examples of a client."),
    click.option("--partition", "table_file", type=FileName(),
                 help="Instead of --setting: a table of label counts (CSV, as of `partition --csv`), or the examples of "
                      "each client (JSON, as of `partition --json`)."),
    setting("data_seed", int, "Of the partition, and of --feature-noise."),
)
algorithm_options = group(
    setting("algorithm", ALGORITHMS, "The federated method."),
    setting("mu", float, "Proximal term."),
    setting("scaffold_option", SCAFFOLD_OPTIONS, "How controls are renewed: II from the steps, I by a gradient."),
    setting("decorr_weight", float, "Weight of the decorrelation penalty."),
    setting("decorr_form", DECORR_FORMS, "published: the formula, ||K||²/d²; released: as its authors' code has it, the mean "
                                         "of the squared off-diagonal entries over N, about N times as large (30.19 for "
                                         "32 examples and 192 features): its 0.5 is 15.1 of the formula."),
    setting("fedlc_tau", float, "Size of the margins."),
    setting("fedrs_alpha", float, "Factor of the logits of absent classes."),
    setting("server_lr", float, "Learning rate of the server."),
    setting("beta1", float, "Momentum of the server."),
    setting("beta2", float, "Decay of the server's second moment."),
    setting("server_tau", float, "What is added to the root of the second moment."),
    setting("server_v0", float, "Second moment at the start."),
    setting("hinge_margin", float, "Cosine at which the loss of a client ends."),
    setting("spreadout_margin", float, "Cosine distance that embeddings are pushed to."),
    setting("spreadout_lr", float, "Step of the server's spreadout."),
    setting("fedexp_epsilon", float, "What is added to the squared length of the mean update."),
)
training_options = group(
    setting("rounds", int),
    setting("local_steps", int, "Local SGD steps of a client in a round."),
    setting("local_epochs", int, "Instead: passes over the client's examples."),
    setting("last_batch", LAST_BATCHES, "Of --local-epochs. full: as many full batches as cover them, the rest of the last "
                                        "from the next pass; partial: the last batch of every epoch has what is left "
                                        "(McMahan et al. 2017, Algorithm 1)."),
    setting("participation", float, "Part of the clients that a round samples."),
    setting("clients_per_round", int, "Instead: their number."),
    setting("client_weights", CLIENT_WEIGHTS, "In all means over clients: by training examples (McMahan et al. 2017), or "
                                              "all alike (SCAFFOLD, FedOpt, FedExP as published)."),
    setting("dropout_rate", float, "Probability that a sampled client fails to answer."),
    setting("batch_size", int),
    setting("lr", float, "Learning rate of the clients."),
    setting("lr_schedule", LR_SCHEDULES, "How it changes over the rounds."),
    setting("lr_step_rounds", int, "Of --lr-schedule step: rounds between decays."),
    setting("lr_decay", float, "Of --lr-schedule step: factor of a decay."),
    setting("momentum", float, "Of local SGD; begins at 0 in every round."),
    setting("weight_decay", float, "Of local SGD."),
    setting("augment", AUGMENTATIONS, "crop: shifted by up to 4 pixels; flip: mirrored or not; "
                                     "resized-crop: a random part, stretched, mirrored or not."),
    setting("feature_noise", float, "Variance of Gaussian noise, always the same, in the training images (0 to 1) of the "
                                    "last client; client i of K has i/K of it."),
    click.option("--init-from", "init_file", type=FileName(), metavar="RUN_OR_NPZ",
                 help="Start from the model of a run, or parameters by name in an npz file.  [default: at random]"),
    setting("eval_every", int, "Rounds between tests of the global model."),
    setting("local_eval_every", int, "Rounds between tests of the clients' own models before averaging; 0: none."),
    setting("local_eval_clients", int, "At most so many clients' own models are tested: of more, a sample that stays."),
    setting("diagnose", bool, "At each test of the global model write lengths, ranks and margins of features and what "
                              "clients changed to diagnostics.jsonl; changes no result."),
    setting("seed", int, "Of parameters, batches, augmentation, sampling and failures of clients."),
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
                              help="At the end print where the rounds' time went, layer by layer, against the floor; "
                                   "changes no result. On the CPU.")
