"""Settings: every bad value of every field is refused with its option, itself and what would be valid."""

import json
import math
from dataclasses import MISSING, asdict

import numpy as np
import pytest

from declared_values import BELOW_ONE, NO_NUMBER, NOT_NEGATIVE, POSITIVE, PROBABILITIES, SHARES

from minifl.data.augment import AUGMENTATIONS
from minifl.data.known import COMMON, DEFAULTS, OTHERS
from minifl.data.splits import label_counts
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS, hyperparameters
from minifl.runs.settings import (EITHER, LR_SCHEDULES, MAX_WIDTH, TABLE, Settings, belongs,
                                  choices, settings_for)

COUNTS = ("rounds", "eval_every", "groups", "num_clients", "classes_per_client", "local_steps", "local_epochs",
          "clients_per_round", "lr_step_rounds", "batch_size", "patch_size", "local_eval_clients")
FROM_ZERO = ("min_size", "seed", "data_seed", "local_eval_every")
CHOICES = ("model", "norm", "norm_position", "norm_affine", "bias", "activation", "setting", "algorithm",
           "lr_schedule", "augment", "head", "bn_stats", "vit_token", "last_batch", "client_weights")
NUMBERS = {**dict.fromkeys(("lr", "width", "dirichlet_alpha", "clip_norm"), POSITIVE),
           **dict.fromkeys(("weight_decay", "feature_noise"), NOT_NEGATIVE), "dropout_rate": PROBABILITIES,
           **dict.fromkeys(("momentum", "label_smoothing"), BELOW_ONE), **dict.fromkeys(("participation", "lr_decay"), SHARES)}

BAD = {
    **dict.fromkeys(COUNTS, (0, -1, 2.0, math.nan, math.inf, True, "3", [3], {})),
    **dict.fromkeys(FROM_ZERO, (-1, 0.0, math.nan, math.inf, False, "0", [0])),
    **{name: (*invalid, *NO_NUMBER) for name, (_, invalid) in NUMBERS.items()},
    "init_from": ("", "runs/first", "0" * 63, "0" * 65, "G" * 64, 1, True, ["0" * 64]),
    **dict.fromkeys(CHOICES, ("", "nonsense", "None", 1, True, ["none"], {"cnn": 1})),
    **dict.fromkeys(("by_domain", "standardize_weights", "diagnose"), (0, 1, "true", "no", [])),
}


def chosen_for(name, value):
    """What to choose so that this setting is one that has an effect."""
    if name not in belongs():
        return {name: value}
    field, values = belongs()[name]
    return {field: next(iter(values)), name: value}


def test_every_field_has_bad_values():
    """Those of hyperparameters are in the methods' test files."""
    assert set(BAD) | {"data"} == choices().keys() - hyperparameters().keys()


@pytest.mark.parametrize("name, value", [(name, value) for name, values in BAD.items() for value in values])
def test_bad_values_name_the_option_the_value_and_what_is_valid(name, value):
    with pytest.raises(InputError) as error:
        settings_for("cifar10", chosen_for(name, value))
    message = str(error.value)
    assert f"--{name.replace('_', '-')} " in message and repr(value) in message
    assert "must be" in message or "valid are" in message
    assert "\n" not in message


@pytest.mark.parametrize("name, value", [
    *((name, value) for name in COUNTS for value in (1, 10**6)),
    *((name, value) for name in FROM_ZERO for value in (0, 2**70)),
    *((name, value) for name, (valid, _) in NUMBERS.items() for value in valid), ("width", MAX_WIDTH),
    *(("algorithm", value) for value in ALGORITHMS), *(("lr_schedule", value) for value in LR_SCHEDULES),
    ("client_weights", "uniform"),
    ("setting", "dirichlet-balanced"), ("last_batch", "full"),
    *(("augment", value) for value in AUGMENTATIONS), ("by_domain", True), ("by_domain", False),
    ("setting", TABLE), ("setting", "paper-dir0.1"), ("setting", "disjoint"), ("norm", "ln-reduced"),
    ("norm_position", "before"), ("bias", "hidden"), ("activation", "leaky-relu"), ("model", "mlp"),
])
def test_good_values_are_kept(name, value):
    kept = getattr(settings_for("cifar10", chosen_for(name, value)), name)
    assert kept == value and type(kept) is type(value)


def test_width_has_an_upper_end():
    with pytest.raises(InputError, match="--width 1001 .* at most 1000"):
        settings_for("cifar10", {"width": MAX_WIDTH + 1})


@pytest.mark.parametrize("name", [name for name, choice in choices().items()
                                  if choice.default is not None and name not in {"data"} | hyperparameters().keys()])
def test_what_always_has_a_value_cannot_be_none(name):
    """In a config file null stands for "not chosen"; Settings itself takes None only where it then finds a value."""
    values = asdict(settings_for("cifar10", {}))
    with pytest.raises(InputError, match="None"):
        Settings(**values | {name: None})
    assert settings_for("cifar10", {name: None}) == settings_for("cifar10", {})


@pytest.mark.parametrize("first, second, default", [("local_steps", "local_epochs", 10),
                                                    ("participation", "clients_per_round", 1.0)])
def test_of_two_ways_to_say_the_same_one_is_taken(first, second, default):
    assert EITHER[first] == (second, default) and len(EITHER) == 2
    s = settings_for("cifar10", {})
    assert (getattr(s, first), getattr(s, second)) == (default, None)
    s = settings_for("cifar10", {second: 3})
    assert (getattr(s, first), getattr(s, second)) == (None, 3)
    s = settings_for("cifar10", {first: 1})
    assert (getattr(s, first), getattr(s, second)) == (1, None)
    with pytest.raises(InputError) as error:
        settings_for("cifar10", {first: 1, second: 3})
    assert f"--{first.replace('_', '-')} 1 and --{second.replace('_', '-')} 3: give one" in str(error.value)


def test_fedaws_has_no_bias_in_its_classifier():
    with pytest.raises(InputError, match="--bias all with --algorithm fedaws: .*choose none or hidden"):
        settings_for("cifar10", {"algorithm": "fedaws", "bias": "all"})
    for bias in ("none", "hidden"):
        entries = settings_for("cifar10", {"algorithm": "fedaws", "bias": bias}).network(10, (32, 32, 3)).spec.slices
        assert "classifier.bias" not in entries and ("dense1.bias" in entries) == (bias == "hidden")


@pytest.mark.parametrize("data", ["", None, 3, ["cifar10"]])
def test_what_is_no_name_of_data(data):
    with pytest.raises(InputError, match="--data .*must be the name of a data set"):
        settings_for(data, {})


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown setting 'learning_rate'; valid are .*lr.*rounds"):
        settings_for("cifar10", {"learning_rate": 0.1, "rounds": 3})


@pytest.mark.parametrize("data", DEFAULTS)
def test_what_is_chosen_goes_before_the_defaults_of_the_data(data):
    defaults = settings_for(data, {})
    assert defaults.data == data
    for name, value in DEFAULTS[data].items():
        assert getattr(defaults, name) == value
    assert settings_for(data, {"rounds": None, "lr": None}) == defaults
    chosen = settings_for(data, {"rounds": 7, "lr": 0.3, "norm": "fn"})
    assert asdict(chosen) == asdict(defaults) | {"rounds": 7, "lr": 0.3, "norm": "fn"}


def test_the_papers_defaults():
    s = settings_for("cifar10", {})
    # The paper's set-up: lr 0.01, E = 10 local steps of batch 32, 10 clients of one class each, the released CNN
    assert (s.lr, s.local_steps, s.batch_size, s.num_clients, s.setting) == (0.01, 10, 32, 10, "oneclass")
    assert (s.model, s.width, s.bias, s.augment) == ("cnn", 1.0, "none", "crop-flip")
    # all clients take part and answer; no momentum, no weight decay, one learning rate
    assert (s.participation, s.dropout_rate, s.lr_schedule, s.momentum, s.weight_decay) == (1.0, 0, "constant", 0, 0)
    assert s.algorithm == "fedavg" and s.groups == 2
    assert s.network(10, (32, 32, 3)).spec.size == 797_248


@pytest.mark.parametrize("data, expected", [    # the paper's set-up
    ("cifar100", dict(model="cnn", setting="nclass", classes_per_client=2, num_clients=50, lr=0.01)),
    ("tinyimagenet", dict(model="resnet18", setting="dirichlet", dirichlet_alpha=0.02, num_clients=200, lr=0.01)),
    ("pacs", dict(model="resnet18", setting="disjoint", by_domain=True, num_clients=12, lr=0.001,
                  augment="resized-crop")),
    ("mnist", dict(augment="crop")),        # a mirrored digit is none
    ("fashionmnist", dict(augment="crop-flip")),
])
def test_defaults_of_other_sets(data, expected):
    s = settings_for(data, {})
    assert {name: getattr(s, name) for name in expected} == expected
    assert (s.by_domain, s.batch_size, s.local_steps) == (data == "pacs", 32, 10)


def test_every_set_has_all_that_depends_on_it():
    names = {"rounds", "lr", "width", "local_eval_every", "model", "augment", "setting", "num_clients",
             "classes_per_client", "dirichlet_alpha", "by_domain"}
    assert DEFAULTS.keys() == {"cifar10", "cifar100", "cifar100-coarse", "tinyimagenet", "pacs", "mnist",
                               "fashionmnist", "embedded"}
    for values in (COMMON, OTHERS, *DEFAULTS.values()):
        assert values.keys() == names == {name for name, choice in choices().items()
                                          if choice.default is MISSING} - {"data"}


def test_a_users_own_set():
    s = settings_for("my flowers", {})
    assert s.data == "my flowers" and {name: getattr(s, name) for name in OTHERS} == OTHERS
    for classes in (2, 10, 300):        # however many classes it has, its default partition exists
        label_counts(s.setting, np.full(classes, 100), s.num_clients, 0, **s.partition_options())


def test_the_network_is_the_one_that_was_asked_for():
    s = settings_for("cifar10", {"model": "mlp", "width": 0.5, "norm": "ln", "norm_affine": "learnable",
                                 "norm_position": "before", "bias": "all", "activation": "leaky-relu"})
    model = s.network(4, (5, 5, 1))
    assert model.hidden == (100, 100) and model.num_classes == 4
    a = model.arrangement
    assert (a.norm, a.learnable, a.position, a.bias) == ("ln", True, "before", "all")
    assert a.activation == "leaky-relu"


def test_groups_must_divide_the_channels():
    with pytest.raises(InputError, match="--groups 5 does not divide the 64 channels of norm1"):
        settings_for("cifar10", {"norm": "gn", "groups": 5}).network(10, (32, 32, 3)).spec.size


@pytest.mark.parametrize("name, value, plain", [
    ("lr", np.float32(0.25), 0.25), ("lr", np.float64(0.1), 0.1), ("lr", np.int64(1), 1), ("rounds", np.int64(10), 10),
    ("batch_size", np.uint8(8), 8), ("norm", np.str_("fn"), "fn"), ("diagnose", np.bool_(True), True)])
def test_numbers_of_numpy_are_settings_and_recorded_as_plain_ones(name, value, plain):
    s = settings_for("cifar10", {name: value})
    kept = getattr(s, name)
    assert kept == plain and type(kept) is type(plain)
    assert settings_for("cifar10", json.loads(json.dumps(asdict(s)))) == s == settings_for("cifar10", {name: plain})


@pytest.mark.parametrize("name, value", [("rounds", np.float64(10)), ("rounds", np.int64(0)), ("lr", np.float32("nan")),
                                         ("lr", np.bool_(True)), ("lr", np.array([0.1]))])
def test_what_is_no_number_of_the_kind_is_refused_from_numpy_too(name, value):
    with pytest.raises(InputError, match=f"--{name} "):
        settings_for("cifar10", {name: value})


def test_a_partial_last_batch_is_one_of_epochs():
    assert settings_for("cifar10", {"local_epochs": 2, "last_batch": "partial"}).last_batch == "partial"
    assert settings_for("cifar10", {"local_epochs": 2}).last_batch == "full"
    for steps in ({}, {"local_steps": 5}):
        with pytest.raises(InputError, match="--last-batch partial is about the end of an epoch.* give --local-epochs"):
            settings_for("cifar10", {"last_batch": "partial"} | steps)
