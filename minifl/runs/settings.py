"""What makes one training run: every choice that can change a bit of it, checked, with the data set's defaults.

The device, the number of workers and the folders are not among them: they change where a run happens, not
what is computed (a GPU rounds differently, which the record's device entry shows).
"""

import re
from dataclasses import dataclass, make_dataclass
from functools import cache
from typing import Any

import numpy as np

from minifl import own
from minifl.data import own_split
from minifl.data.augment import AUGMENTATIONS
from minifl.data.known import DEFAULTS, OTHERS
from minifl.data.partition import SETTINGS
from minifl.data.splits import OPTIONS, told
from minifl.declared import Choice, again, choices_of, declared
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS, hyperparameters
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.participation import CLIENT_WEIGHTS, LAST_BATCHES
from minifl.fl.statistics import POLICIES
from minifl.models import MODELS, TOKENS, Arrangement, ViT, build, own_parts   # noqa: F401 (own_parts: norm and model)
from minifl.models.arrangement import ACTIVATIONS, BIASES, HEADS, POSITIONS
from minifl.models.network import Network
from minifl.models.norms import NORMS

# Choices that belong to a value of another choice, beside a method's hyperparameters: `belongs`.
BELONGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bn_stats": ("norm", {name: "global" for name, norm in NORMS.items() if any(kind.evaluated for kind in norm.kinds)}),
    "patch_size": ("model", {"vit": ViT.patch}),
    "vit_token": ("model", {"vit": ViT.token}),
}

# Of two ways to say the same, one is chosen; if none is, the first has the paper's value.
EITHER = {"local_steps": ("local_epochs", 10), "participation": ("clients_per_round", 1.0)}
LR_SCHEDULES = ("constant", "cosine", "step")

# How much is looked at: no bit of the training depends on it.
LOOKING = ("eval_every", "local_eval_every", "local_eval_clients", "diagnose")

TABLE, LISTS = GIVEN = "table", "lists"     # the settings of runs whose label counts, or examples, were read from a file
MAX_WIDTH = 1000    # beyond it no network fits into any memory


own.kind("setting", SETTINGS, own_split.check, "minifl.settings")


@dataclass(frozen=True, eq=False)
class Settings:
    """The choices of a run, each declared once: options and checks are made from it. Those without a default here have one
    for each data set.

    Besides there is a field for each hyperparameter of a method, None where the method has none of that name:
    `Settings(...)` makes an object of the class that has them.
    """
    data: str = declared(wanted="the name of a data set")
    rounds: int = declared(at_least=1)
    lr: float = declared(above=0, help="Learning rate of the clients.")
    width: float = declared(above=0, at_most=MAX_WIDTH, help="Multiplies channels and hidden units.")
    local_eval_every: int = declared(
        at_least=0, help="Rounds between tests of the clients' own models before averaging; 0: none.")
    model: str = declared(
        choices=MODELS, help="; ".join(f"{name}: {model.help}" for name, model in MODELS.items() if model.help) + ".")
    augment: str = declared(choices=AUGMENTATIONS, help="crop: shifted by up to 4 pixels; flip: mirrored or not; "
                                                        "resized-crop: a random part, stretched, mirrored or not.")
    setting: str = declared(choices=SETTINGS, help=(
        "How labels are spread over the clients. " + "; ".join(f"{name}: {told(split)}" for name, split in SETTINGS.items())
        + "."))
    num_clients: int = declared(at_least=1)
    classes_per_client: int = again(OPTIONS["classes_per_client"])
    dirichlet_alpha: float = again(OPTIONS["dirichlet_alpha"])
    by_domain: bool = declared(help="Split each domain over clients of its own, as many for each.")
    algorithm: str = declared("fedavg", choices=ALGORITHMS, help="The federated method.")
    norm: str = declared("none", choices=NORMS, help="; ".join(f"{name}: {norm.help}" for name, norm in NORMS.items()) + ".")
    norm_position: str = declared(
        "after", choices=POSITIONS, help="The norm stands after or before the activation (vit: the sublayer).")
    norm_affine: str = declared(
        "static", choices=("static", "learnable"), help="Norms without or with trained gain and bias.")
    groups: int = declared(2, at_least=1, help="Of --norm gn.")
    bias: str = declared("none", choices=BIASES, help="Which layers have biases.")
    activation: str | None = declared(None, choices=ACTIVATIONS)
    standardize_weights: bool = declared(False, help="Convolutions use standardized weights.")
    head: str = declared("linear", choices=HEADS, help="cosine: the classifier's weight vectors have length 1.")
    bn_stats: str | None = declared(None, choices=POLICIES, help=(
        "Running statistics of batch norm: averaged over the clients (FedAvg + BN), kept by each with its gain and bias "
        "(FedBN), or none: those of each test batch."))
    patch_size: int | None = declared(None, at_least=1, help="Of --model vit: pixels.")
    vit_token: str | None = declared(
        None, choices=TOKENS, help="Of --model vit: what is classified, a token of its own or the mean of all.")
    min_size: int = again(OPTIONS["min_size"], OPTIONS["min_size"].default)
    local_steps: int | None = declared(None, at_least=1, help="Local SGD steps of a client in a round.")
    local_epochs: int | None = declared(None, at_least=1, help="Instead: passes over the client's examples.")
    last_batch: str = declared("full", choices=LAST_BATCHES, help=(
        "Of --local-epochs. full: as many full batches as cover them, the rest of the last from the next pass; partial: the "
        "last batch of every epoch has what is left (McMahan et al. 2017, Algorithm 1)."))
    participation: float | None = declared(None, above=0, at_most=1, help="Part of the clients that a round samples.")
    clients_per_round: int | None = declared(None, at_least=1, help="Instead: their number.")
    client_weights: str = declared("examples", choices=CLIENT_WEIGHTS, help=(
        "In all means over clients: by training examples (McMahan et al. 2017), or all alike (SCAFFOLD, FedOpt, FedExP as "
        "published)."))
    dropout_rate: float = declared(
        0.0, at_least=0, at_most=1, help="Probability that a sampled client fails to answer.")
    lr_schedule: str = declared("constant", choices=LR_SCHEDULES, help="How it changes over the rounds.")
    lr_step_rounds: int = declared(100, at_least=1, help="Of --lr-schedule step: rounds between decays.")
    lr_decay: float = declared(0.1, above=0, at_most=1, help="Of --lr-schedule step: factor of a decay.")
    momentum: float = declared(0.0, at_least=0, below=1, help="Of local SGD; begins at 0 in every round.")
    weight_decay: float = declared(0.0, at_least=0, help="Of local SGD.")
    label_smoothing: float = declared(0.0, at_least=0, below=1, help="Part of each label that all classes share alike.")
    clip_norm: float | None = declared(None, above=0, help=(
        "Longest gradient of a local step, with the method's terms and before weight decay and momentum; longer ones are "
        "shortened to it."))
    batch_size: int = declared(32, at_least=1)
    eval_every: int = declared(10, at_least=1, help="Rounds between tests of the global model.")
    # the default is CIFAR-100's number of clients: with more, testing each one's model takes longer than the training
    local_eval_clients: int = declared(
        50, at_least=1, help="At most so many clients' own models are tested: of more, a sample that stays.")
    diagnose: bool = declared(False, help=(
        "At each test of the global model write lengths, ranks and margins of features and what clients changed to "
        "diagnostics.jsonl; changes no result."))
    feature_noise: float = declared(0.0, at_least=0, help=(
        "Variance of Gaussian noise, always the same, in the training images (0 to 1) of the last client; client i of K has "
        "i/K of it."))
    # sha256 of the model that the run starts from (initial.py); None: drawn by the seed
    init_from: str | None = declared(None, wanted="a file on the command line, whose sha256 the settings then have")
    seed: int = declared(0, at_least=0, help="Of parameters, batches, augmentation, sampling and failures of clients.")
    data_seed: int = declared(0, at_least=0, help="Of the partition, and of --feature-noise.")

    def __new__(cls, **chosen):
        own.texts(chosen)       # a method that is handed over has hyperparameters, too
        known = choices_of(Settings)
        return super().__new__(cls if cls is not Settings else _with_hyperparameters(tuple(dict.fromkeys(
            [*hyperparameters(), *(name for name in chosen if name not in known)]))))

    def __post_init__(self):
        for name, value in own.texts(vars(self)).items():
            object.__setattr__(self, name, value)
            if isinstance(value, np.generic):      # np.float32(0.1), np.int64(10): a plain number, as JSON has it
                object.__setattr__(self, name, value.item())
        unloaded = own.unloaded(vars(self))     # of a record: to be looked at only
        for name, choice in choices_of(Settings).items():
            value = getattr(self, name)
            if name in own.KINDS and own.is_file(value) and name not in unloaded and value not in own.KINDS[name].registry:
                raise own.unnamed(name, value)
            if not (name in unloaded or value is None and choice.default is None or name == "setting" and value in GIVEN):
                choice.check(value)
        if self.init_from is not None and not re.fullmatch("[0-9a-f]{64}", self.init_from):
            raise InputError(f"--init-from {self.init_from!r} is invalid; it must be "
                             f"{choices_of(Settings)['init_from'].valid}.")
        self._complete(unloaded)
        if not unloaded:
            self.method().refuse(self)
            self.arrangement()

    def __eq__(self, other):
        return isinstance(other, Settings) and self._chosen() == other._chosen()

    def __hash__(self):
        return hash(tuple(sorted(self._chosen().items())))

    def _chosen(self):
        return {name: value for name, value in vars(self).items() if value is not None}

    def _complete(self, unloaded):
        """Put in the values that depend on other settings."""
        for name, (field, defaults) in belongs().items():
            if field in unloaded:
                continue
            if getattr(self, field) in defaults:
                if getattr(self, name) is None:
                    object.__setattr__(self, name, defaults[getattr(self, field)])
            elif getattr(self, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} belongs to --{field} {', '.join(defaults)}; with "
                                 f"{getattr(self, field)} it has no effect, so leave it out.")
        if self.activation is None:
            object.__setattr__(self, "activation", MODELS[self.model].network.activation)
        for name, (other, default) in EITHER.items():
            if getattr(self, name) is not None and getattr(self, other) is not None:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} and --{other.replace('_', '-')} "
                                 f"{getattr(self, other)}: give one of them.")
            if getattr(self, name) is None and getattr(self, other) is None:
                object.__setattr__(self, name, default)
        if self.last_batch != "full" and self.local_epochs is None:
            raise InputError(f"--last-batch {self.last_batch} is about the end of an epoch, and local steps have none; give "
                             f"--local-epochs, or leave it out.")

    def method(self) -> FedAvg:
        """The federated method with its hyperparameters."""
        own.require(vars(self))
        return ALGORITHMS[self.algorithm](**{name: getattr(self, name) for name in choices_of(ALGORITHMS[self.algorithm])})

    def arrangement(self) -> Arrangement:
        """Where the network normalizes, as the models take it; InputError for what is unknown there."""
        own.require(vars(self))
        return Arrangement(norm=self.norm, position=self.norm_position, learnable=self.norm_affine == "learnable",
                           groups=self.groups, bias=self.bias, activation=self.activation,
                           standardize=self.standardize_weights, head=self.head)

    def network(self, num_classes: int, image_shape: tuple) -> Network:
        """The model for a data set of that many classes and images of that (H, W, C)."""
        vit = {"patch": self.patch_size, "token": self.vit_token} if self.model == "vit" else {}
        return build(self.model, num_classes, image_shape, self.arrangement(), width=self.width, **vit)

    def partition_options(self) -> dict:
        """The choices that `make_partition` takes by name."""
        return {name: getattr(self, name) for name in OPTIONS}


def choices() -> dict[str, Choice]:
    """name -> Choice of all settings: those of every run, and where the method is said its hyperparameters.

    A hyperparameter is what the first method declares that has it, without the default.
    """
    fixed, found = choices_of(Settings), {}
    of_methods = hyperparameters()
    for name in of_methods.keys() & fixed.keys():
        raise InputError(f"--algorithm {next(iter(of_methods[name]))}: its hyperparameter {name} has the name of a setting "
                         f"of every run; give it another.")
    for name, choice in fixed.items():
        found[name] = choice
        if name == "algorithm":
            found |= {other: next(iter(methods.values())) for other, methods in of_methods.items()}
    return found


def belongs() -> dict[str, tuple[str, dict[str, Any]]]:
    """name -> (another setting, {its value: the default then}) of the settings that belong to a value of another one."""
    return {name: ("algorithm", {method: choice.default for method, choice in methods.items()})
            for name, methods in hyperparameters().items()} | BELONGS


@cache
def _with_hyperparameters(names):
    return make_dataclass("Settings", [(name, Any, None) for name in names], bases=(Settings,), frozen=True, eq=False)


def settings_for(data: str, chosen: dict) -> Settings:
    """Settings for the data set `data`: what was chosen (name -> value, None = not chosen), else its defaults."""
    data = own.texts({"data": data})["data"]
    if not isinstance(data, str) or not data:
        raise InputError(f"--data {data!r} is invalid; it must be the name of a data set: auto, "
                         f"{', '.join(DEFAULTS)}, or one of your own.")
    chosen, known = own.texts(chosen), choices()
    unknown = sorted(set(chosen) - set(known))
    if unknown and "algorithm" not in own.unloaded(chosen):      # else they are its hyperparameters
        raise InputError(f"unknown setting {unknown[0]!r}; valid are {', '.join(sorted(known))}.")
    given = {name: value for name, value in chosen.items() if value is not None}
    return Settings(**{**DEFAULTS.get(data, OTHERS), **given, "data": data})


def merge(from_file: dict, from_line: dict) -> dict:
    """Settings of a file and of the command line, which goes before it; name -> value, on the line None = not chosen.

    A method, norm or model chosen on the command line comes with what belongs to it, if the file names another one; and
    of two ways to say the same (steps or epochs, part or number of clients) the one on the command line counts.
    """
    given = {name: value for name, value in from_line.items() if value is not None}
    owners = belongs()
    changed = {field for field, _ in owners.values()
               if from_file.get(field) is not None and given.get(field, from_file[field]) != from_file[field]}
    from_file = {name: value for name, value in from_file.items() if owners.get(name, (None,))[0] not in changed}
    for pair in ((name, other) for name, (other, _) in EITHER.items()):
        if any(name in given for name in pair):
            from_file = {name: value for name, value in from_file.items() if name not in pair}
    if "local_steps" in given:      # without epochs there is no last batch of them
        from_file.pop("last_batch", None)
    return {**from_file, **given}

