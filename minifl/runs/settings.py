"""What makes one training run: every choice that can change a bit of it, checked, with the data set's defaults.

The device, the number of workers and the folders are not among them: they change where a run happens, not
what is computed (a GPU rounds differently, which the record's device entry shows).
"""

import re
import sys
from dataclasses import dataclass, fields

import numpy as np

from minifl.data.augment import AUGMENTATIONS
from minifl.data.counts import SETTINGS
from minifl.data.partition import NATURAL
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS, HYPERPARAMETERS, hyperparameters
from minifl.fl.algorithms.feddecorr import FORMS as DECORR_FORMS
from minifl.fl.algorithms.scaffold import SCAFFOLD_OPTIONS
from minifl.fl.participation import CLIENT_WEIGHTS, LAST_BATCHES
from minifl.fl.statistics import POLICIES
from minifl.models import MODELS, TOKENS, Arrangement, build

# What depends on the data set, first as it is for CIFAR-10: the paper's (lr, local steps, batch, width); 400 rounds
# are the first point of its Figure 4, the paper's final numbers take 10 000. Testing the models of 10 clients takes ten
# times as long as testing the global one: every 50 rounds that is a fifth of the time on CIFAR-10.
COMMON = {"rounds": 400, "lr": 0.01, "width": 1.0, "local_eval_every": 50, "model": "cnn", "augment": "crop-flip",
          "setting": "oneclass", "num_clients": 10, "classes_per_client": 2, "dirichlet_alpha": 0.1, "by_domain": False}

# What differs from that. CIFAR-100, TinyImageNet, PACS: as in the paper; for CIFAR-100 it has lr 0.1 in a table
# and 0.01 in its text, which is taken. Digits are not mirrored. Embedded: the learning rate at which the plain and the
# FN network both do best (results/embedded-lr-grid), and as many rounds as take about a minute on 2 cores.
DEFAULTS = {data: COMMON | own for data, own in {
    "cifar10": {},
    "cifar100": {"setting": "nclass", "num_clients": 50},
    "cifar100-coarse": {"num_clients": 20},
    "tinyimagenet": {"model": "resnet18", "setting": "dirichlet", "num_clients": 200, "dirichlet_alpha": 0.02,
                     "local_eval_every": 0},
    "pacs": {"model": "resnet18", "setting": "disjoint", "by_domain": True, "num_clients": 12, "lr": 0.001,
             "augment": "resized-crop"},
    "mnist": {"augment": "crop"},
    "fashionmnist": {},
    "embedded": {"rounds": 100, "lr": 0.05, "width": 0.25, "local_eval_every": 10},
}.items()}
OTHERS = COMMON | {"setting": "dirichlet"}      # a user's own set: it fits any number of classes

# Choices that belong to a value of another choice: name -> (the other's field, {its value: the default then}).
BELONGS = {name: ("algorithm", methods) for name, methods in HYPERPARAMETERS.items()} | {
    "bn_stats": ("norm", {"bn": "global"}),
    "patch_size": ("model", {"vit": 4}),
    "vit_token": ("model", {"vit": "class"}),
}

# Of two ways to say the same, one is chosen; if none is, the first has the paper's value.
EITHER = {"local_steps": ("local_epochs", 10), "participation": ("clients_per_round", 1.0)}
LR_SCHEDULES = ("constant", "cosine", "step")

ACTIVATION = dict.fromkeys(MODELS, "relu") | {"vit": "gelu"}   # of the network as its authors describe it

# How much is looked at: no bit of the training depends on it.
LOOKING = ("eval_every", "local_eval_every", "local_eval_clients", "diagnose")

TABLE, LISTS = GIVEN = "table", "lists"     # the settings of runs whose label counts, or examples, were read from a file
REAL, LARGEST = (int, float), sys.float_info.max
MAX_WIDTH = 1000    # beyond it no network fits into any memory


@dataclass(frozen=True)
class Settings:
    """The choices of a run; each field is the command-line option of the same name."""
    data: str
    rounds: int
    lr: float
    width: float
    local_eval_every: int
    model: str
    augment: str
    setting: str
    num_clients: int
    classes_per_client: int
    dirichlet_alpha: float
    by_domain: bool
    algorithm: str = "fedavg"
    mu: float = None
    scaffold_option: str = None
    decorr_weight: float = None
    decorr_form: str = None
    fedlc_tau: float = None
    fedrs_alpha: float = None
    server_lr: float = None
    beta1: float = None
    beta2: float = None
    server_tau: float = None
    server_v0: float = None
    hinge_margin: float = None
    spreadout_margin: float = None
    spreadout_lr: float = None
    fedexp_epsilon: float = None
    norm: str = "none"
    norm_position: str = "after"
    norm_affine: str = "static"
    groups: int = 2
    bias: str = "none"
    activation: str = None
    standardize_weights: bool = False
    head: str = "linear"
    bn_stats: str = None
    patch_size: int = None
    vit_token: str = None
    min_size: int = 10
    local_steps: int = None
    local_epochs: int = None
    last_batch: str = "full"
    participation: float = None
    clients_per_round: int = None
    client_weights: str = "examples"
    dropout_rate: float = 0.0
    lr_schedule: str = "constant"
    lr_step_rounds: int = 100
    lr_decay: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 32
    eval_every: int = 10
    local_eval_clients: int = 50    # CIFAR-100's: with more, testing each one's model takes longer than the training
    diagnose: bool = False
    feature_noise: float = 0.0
    init_from: str = None       # sha256 of the model that the run starts from (initial.py); None: drawn by the seed
    seed: int = 0
    data_seed: int = 0

    def __post_init__(self):
        for name, value in vars(self).copy().items():
            if isinstance(value, np.generic):      # np.float32(0.1), np.int64(10): a plain number, as JSON has it
                object.__setattr__(self, name, value.item())
        for name in ("rounds", "eval_every", "groups", "num_clients", "classes_per_client", "local_steps",
                     "local_epochs", "clients_per_round", "lr_step_rounds", "batch_size", "patch_size",
                     "local_eval_clients"):
            _check(name, getattr(self, name), int, lambda v: v >= 1, "a whole number of at least 1")
        for name in ("min_size", "seed", "data_seed", "local_eval_every"):
            _check(name, getattr(self, name), int, lambda v: v >= 0, "a whole number of at least 0")
        for name in ("lr", "dirichlet_alpha", "server_lr", "server_tau"):
            _check(name, getattr(self, name), REAL, lambda v: 0 < v <= LARGEST, "a finite number above 0")
        for name in ("mu", "decorr_weight", "fedlc_tau", "server_v0", "spreadout_lr", "fedexp_epsilon",
                     "weight_decay", "feature_noise"):
            _check(name, getattr(self, name), REAL, lambda v: 0 <= v <= LARGEST, "a finite number of at least 0")
        for name in ("momentum", "beta1", "beta2"):
            _check(name, getattr(self, name), REAL, lambda v: 0 <= v < 1, "a number of at least 0 and below 1")
        for name in ("participation", "lr_decay", "hinge_margin"):
            _check(name, getattr(self, name), REAL, lambda v: 0 < v <= 1, "a number above 0 and at most 1")
        for name in ("dropout_rate", "fedrs_alpha"):
            _check(name, getattr(self, name), REAL, lambda v: 0 <= v <= 1, "a number from 0 to 1")
        _check("spreadout_margin", self.spreadout_margin, REAL, lambda v: 0 < v <= 2,
               "a number above 0 and at most 2, the largest cosine distance")
        _check("width", self.width, REAL, lambda v: 0 < v <= MAX_WIDTH, f"a number above 0 and at most {MAX_WIDTH}")
        for name, valid in (("model", MODELS), ("norm_affine", ("static", "learnable")), ("algorithm", ALGORITHMS),
                            ("lr_schedule", LR_SCHEDULES), ("scaffold_option", SCAFFOLD_OPTIONS),
                            ("augment", AUGMENTATIONS), ("bn_stats", POLICIES), ("vit_token", TOKENS),
                            ("decorr_form", DECORR_FORMS), ("last_batch", LAST_BATCHES),
                            ("client_weights", CLIENT_WEIGHTS)):
            _check(name, getattr(self, name), str, tuple(valid).__contains__, f"one of {', '.join(valid)}")
        _check("setting", self.setting, str, (*SETTINGS, NATURAL, *GIVEN).__contains__,
               f"one of {', '.join((*SETTINGS, NATURAL))}")
        for name in ("norm", "norm_position", "bias", "activation", "head"):
            _check(name, getattr(self, name), str, lambda v: True, "the name of a choice")
        _check("init_from", self.init_from, str, lambda v: re.fullmatch("[0-9a-f]{64}", v) is not None,
               "a file on the command line, whose sha256 the settings then have")
        for name in ("by_domain", "standardize_weights", "diagnose"):
            _check(name, getattr(self, name), bool, lambda v: True, "true or false")
        self._complete()
        self.arrangement()

    def _complete(self):
        """Put in the values that depend on other settings."""
        for name, (field, defaults) in BELONGS.items():
            if getattr(self, field) in defaults:
                if getattr(self, name) is None:
                    object.__setattr__(self, name, defaults[getattr(self, field)])
            elif getattr(self, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} belongs to --{field} {', '.join(defaults)}; with "
                                 f"{getattr(self, field)} it has no effect, so leave it out.")
        if self.activation is None:
            object.__setattr__(self, "activation", ACTIVATION[self.model])
        for name, (other, default) in EITHER.items():
            if getattr(self, name) is not None and getattr(self, other) is not None:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} and --{other.replace('_', '-')} "
                                 f"{getattr(self, other)}: give one of them.")
            if getattr(self, name) is None and getattr(self, other) is None:
                object.__setattr__(self, name, default)
        if self.last_batch != "full" and self.local_epochs is None:
            raise InputError(f"--last-batch {self.last_batch} is about the end of an epoch, and local steps have none; give "
                             f"--local-epochs, or leave it out.")
        if self.algorithm == "fedaws" and self.bias == "all":
            raise InputError("--bias all with --algorithm fedaws: its classifier has no bias, since it compares "
                             "directions; choose none or hidden.")

    def method(self):
        """The federated method with its hyperparameters."""
        return ALGORITHMS[self.algorithm](**{name: getattr(self, name) for name in hyperparameters(self.algorithm)})

    def arrangement(self):
        """Where the network normalizes, as the models take it; InputError for what is unknown there."""
        return Arrangement(norm=self.norm, position=self.norm_position, learnable=self.norm_affine == "learnable",
                           groups=self.groups, bias=self.bias, activation=self.activation,
                           standardize=self.standardize_weights, head=self.head)

    def network(self, num_classes, image_shape):
        """The model for a data set of that many classes and images of that (H, W, C)."""
        vit = {"patch": self.patch_size, "token": self.vit_token} if self.model == "vit" else {}
        return build(self.model, num_classes, image_shape, self.arrangement(), width=self.width, **vit)

    def partition_options(self):
        """The choices that `make_partition` takes by name."""
        return {name: getattr(self, name) for name in ("classes_per_client", "dirichlet_alpha", "min_size")}


def settings_for(data, chosen):
    """Settings for the data set `data`: what was chosen (name -> value, None = not chosen), else its defaults."""
    if not isinstance(data, str) or not data:
        raise InputError(f"--data {data!r} is invalid; it must be the name of a data set: auto, "
                         f"{', '.join(DEFAULTS)}, or one of your own.")
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(chosen) - known)
    if unknown:
        raise InputError(f"unknown setting {unknown[0]!r}; valid are {', '.join(sorted(known))}.")
    given = {name: value for name, value in chosen.items() if value is not None}
    return Settings(**{**DEFAULTS.get(data, OTHERS), **given, "data": data})


def merge(from_file, from_line):
    """Settings of a file and of the command line, which goes before it; name -> value, on the line None = not chosen.

    A method, norm or model chosen on the command line comes with what belongs to it, if the file names another one; and
    of two ways to say the same (steps or epochs, part or number of clients) the one on the command line counts.
    """
    given = {name: value for name, value in from_line.items() if value is not None}
    changed = {field for field, _ in BELONGS.values()
               if from_file.get(field) is not None and given.get(field, from_file[field]) != from_file[field]}
    from_file = {name: value for name, value in from_file.items() if BELONGS.get(name, (None,))[0] not in changed}
    for pair in ((name, other) for name, (other, _) in EITHER.items()):
        if any(name in given for name in pair):
            from_file = {name: value for name, value in from_file.items() if name not in pair}
    if "local_steps" in given:      # without epochs there is no last batch of them
        from_file.pop("last_batch", None)
    return {**from_file, **given}


def _check(name, value, kind, valid, wanted):
    if value is None and getattr(Settings, name, 0) is None:   # not chosen, and no default of its own
        return
    wrong_kind = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if wrong_kind or not valid(value):
        raise InputError(f"--{name.replace('_', '-')} {value!r} is invalid; it must be {wanted}.")
