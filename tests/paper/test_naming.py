"""A run's name stands for its settings: two that train differently never share one."""

import re
from dataclasses import asdict, replace

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from declared_values import another

from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.paper import STUDIES
from minifl.paper.naming import run_name, stem
from minifl.paper.study import cells
from minifl.runs.settings import LOOKING, belongs, choices, settings_for

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
POSITIVE = st.sampled_from([1e-5, 0.001, 0.01, 0.05, 0.1, 0.5, 0.9])
CHOICES = {      # of each some values, the usual ones among them; absent: not chosen
    "lr": POSITIVE, "width": POSITIVE, "model": st.sampled_from(["cnn", "mlp", "resnet18"]),
    "setting": st.sampled_from(["oneclass", "nclass", "dirichlet", "iid", "paper-2class", "paper-dir0.1"]),
    "num_clients": st.sampled_from([1, 10, 20, 50]), "classes_per_client": st.sampled_from([2, 5]),
    "dirichlet_alpha": POSITIVE, "by_domain": st.booleans(), "algorithm": st.sampled_from(sorted(ALGORITHMS)),
    "norm": st.sampled_from(["none", "fn", "fn-all", "ln", "ln-reduced", "gn", "bn"]),
    "norm_position": st.sampled_from(["before", "after"]), "norm_affine": st.sampled_from(["static", "learnable"]),
    "bias": st.sampled_from(["none", "hidden", "all"]), "activation": st.sampled_from(["relu", "gelu"]),
    "bn_stats": st.sampled_from(["global", "local", "batch"]), "groups": st.sampled_from([1, 2]),
    "local_steps": st.sampled_from([1, 10, 50]), "local_epochs": st.sampled_from([1, 10]),
    "participation": st.sampled_from([0.5, 1.0]), "clients_per_round": st.sampled_from([1, 5, 10]),
    "mu": POSITIVE, "beta1": POSITIVE, "beta2": POSITIVE, "server_lr": POSITIVE,
    "lr_schedule": st.sampled_from(["constant", "cosine", "step"]), "lr_step_rounds": st.sampled_from([5, 50, 100]),
    "momentum": st.sampled_from([0.0, 0.9]), "weight_decay": st.sampled_from([0.0, 1e-5]),
    "batch_size": st.sampled_from([3, 32, 320]), "rounds": st.sampled_from([5, 50, 400]),
    "seed": st.sampled_from([0, 1, 10]), "data_seed": st.sampled_from([0, 1]),
    "head": st.sampled_from(["linear", "cosine"]),
}
LOOKS = {"eval_every": st.sampled_from([1, 10]), "local_eval_every": st.sampled_from([0, 50]),
         "local_eval_clients": st.sampled_from([2, 50]),
         "diagnose": st.booleans()}


@st.composite
def some_settings(draw, near=None):
    """Settings; with `near`, its own with a few others."""
    names = draw(st.lists(st.sampled_from(sorted(CHOICES)), max_size=4 if near else 8, unique=True))
    chosen = {**(near or {}), **{name: draw(CHOICES[name] | st.none()) for name in names}}
    return {name: value for name, value in chosen.items() if value is not None}


def valid(data, chosen):
    try:
        return settings_for(data, chosen)
    except InputError:
        return None


@how(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from(["cifar10", "embedded", "cifar100", "cifar100-coarse"]))
def test_names_are_equal_exactly_where_the_training_is(data, name):
    chosen = data.draw(some_settings())
    one, other = valid(name, chosen), valid(name, data.draw(some_settings(chosen)))
    if one and other:
        same = {**asdict(one), **dict.fromkeys(LOOKING)} == {**asdict(other), **dict.fromkeys(LOOKING)}
        assert (run_name(one) == run_name(other)) == same
        assert (run_name(one) == run_name(replace(one, **{k: data.draw(v) for k, v in LOOKS.items()})))
        assert PLAIN.fullmatch(run_name(one))


def test_every_setting_that_is_not_looking_is_in_the_name():
    """Each changed alone; what belongs to a choice, beside that choice."""
    others = {      # where it is not just another value than the default
        "data": "mnist", "lr": 0.5, "model": "mlp", "augment": "none", "setting": "iid", "num_clients": 20,
        "classes_per_client": 3, "dirichlet_alpha": 0.7, "by_domain": True, "algorithm": "fedprox", "norm": "ln",
        "activation": "gelu", "bn_stats": "local", "vit_token": "mean", "init_from": "ab" * 32}
    others |= {name: another(choice) for name, choice in choices().items() if name not in others.keys() | set(LOOKING)}
    for name, value in others.items():
        owner, values = belongs().get(name, (None, {}))
        beside = {owner: next(iter(values))} if owner else {"norm": "ln"} if name.startswith("norm_") else {}
        beside |= {"local_epochs": 1} if name == "last_batch" else {}
        data = value if name == "data" else "cifar10"
        changed = settings_for(data, beside | ({name: value} if name != "data" else {}))
        assert getattr(changed, name) == value
        assert run_name(changed) != run_name(settings_for("cifar10", beside)), name


def test_no_two_cells_share_a_name_unless_they_are_the_same_training():
    found, looking = {}, dict.fromkeys(LOOKING)
    for study in STUDIES.values():
        for settings in (settings for cell in cells(study) for settings in cell.settings):
            trained = {**asdict(settings), **looking}
            assert found.setdefault(run_name(settings), trained) == trained
            assert PLAIN.fullmatch(run_name(settings)) and len(run_name(settings)) < 200
    trainings = {tuple(sorted(trained.items(), key=lambda pair: pair[0])) for trained in found.values()}
    assert len(trainings) == len(found)


def test_names_of_records_that_exist():
    """They must go on being found."""
    names = {run_name(settings) for name, rounds in (("figure4", 400), ("table3", 100), ("figure2", 600))
             for cell in cells(STUDIES[name], rounds=rounds) for settings in cell.settings}
    assert names >= {"cifar10-cnn-oneclass-fedavg-none-rounds400-seed0",
                     "cifar10-cnn-iid-fedavg-none-num-clients1-batch-size320-rounds400-seed0",
                     "cifar10-cnn-oneclass-fedavg-fn-all-biashidden-rounds100-seed0",
                     "cifar10-cnn-oneclass-fedavg-ln-reduced-rounds100-seed0",
                     "cifar10-cnn-iid-fedavg-none-lr0.05-num-clients1-rounds600-seed0"}


def test_a_name_is_its_stem_with_rounds_and_seed():
    settings = settings_for("cifar10", {"lr_step_rounds": 50, "rounds": 50, "seed": 3})
    assert run_name(settings) == f"{stem(settings)}-rounds50-seed3"
    assert stem(settings) == "cifar10-cnn-oneclass-fedavg-none-lr-step-rounds50"
