"""Hyperparameters: what is declared in a method's class is what its test file says by hand, and reaches it."""

import json
import math
from dataclasses import asdict

import pytest

from declared_values import NO_NUMBER, another
from of_methods import of

from minifl.declared import choices_of
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS, hyperparameters
from minifl.runs.settings import Settings, choices, settings_for

every_method = pytest.mark.parametrize("algorithm", ALGORITHMS)
DECLARED = [(name, hyperparameter, *of(name).DECLARED[hyperparameter]) for name in ALGORITHMS
            for hyperparameter in of(name).DECLARED]


@every_method
def test_defaults_are_filled_in_and_reach_the_method(algorithm):
    expected = {name: default for name, (default, _) in of(algorithm).DECLARED.items()}
    s = settings_for("cifar10", {"algorithm": algorithm})
    assert {name: getattr(s, name) for name in hyperparameters() if getattr(s, name) is not None} == expected
    method = s.method()
    assert type(method) is ALGORITHMS[algorithm] and asdict(method) == expected
    for name, choice in choices_of(ALGORITHMS[algorithm]).items():
        assert choice.help and choice.source, f"{algorithm}: {name} says not what it is, or not where its default is from"
        chosen = settings_for("cifar10", {"algorithm": algorithm, name: another(choice)})
        assert getattr(chosen.method(), name) == another(choice)


@pytest.mark.parametrize("algorithm, name, value", [
    (algorithm, name, value) for algorithm, name, _, (valid, _) in DECLARED for value in valid])
def test_valid_values_are_kept(algorithm, name, value):
    kept = getattr(settings_for("cifar10", {"algorithm": algorithm, name: value}), name)
    assert kept == value and type(kept) is type(value)


@pytest.mark.parametrize("algorithm, name, value", [
    (algorithm, name, value) for algorithm, name, default, (_, invalid) in DECLARED
    for value in (*invalid, *(NO_NUMBER if isinstance(default, float) else ([default], {}, True)))])
def test_invalid_ones_are_refused_with_the_option_and_what_is_valid(algorithm, name, value):
    for make in (lambda: settings_for("cifar10", {"algorithm": algorithm, name: value}),
                 lambda: ALGORITHMS[algorithm](**{name: value})):
        with pytest.raises(InputError) as error:
            make()
        assert str(error.value).startswith(f"--{name.replace('_', '-')} {value!r} is invalid; it must be ")


@every_method
def test_those_of_other_methods_are_refused_with_the_methods_that_have_them(algorithm):
    for name, methods in hyperparameters().items():
        if algorithm not in methods:
            with pytest.raises(InputError) as error:
                settings_for("cifar10", {"algorithm": algorithm, name: next(iter(methods.values())).default})
            assert str(error.value).startswith(f"--{name.replace('_', '-')} belongs to --algorithm {', '.join(methods)}; with "
                                               f"{algorithm} it has no effect")


def test_one_name_means_one_thing():
    """A hyperparameter of several methods has one help and one range."""
    for name, methods in hyperparameters().items():
        assert len({(c.kind, c.help, c.at_least, c.above, c.at_most, c.below, c.names) for c in methods.values()}) == 1, name
    assert hyperparameters().keys() <= choices().keys()


@every_method
@pytest.mark.parametrize("chosen", [{}, {"norm": "gn", "lr": 0.1, "local_epochs": 3, "clients_per_round": 2}])
def test_settings_survive_json(algorithm, chosen):
    s = settings_for("embedded", chosen | {"algorithm": algorithm})
    values = json.loads(json.dumps(asdict(s), allow_nan=False))
    assert Settings(**values) == s == settings_for("embedded", values)
    assert settings_for("embedded", {name: value for name, value in values.items() if value is not None}) == s
    assert not any(isinstance(value, float) and math.isnan(value) for value in values.values())
