"""Studies as data: protocols and numbers of the paper's tables and figures, and how they are scaled down."""

import pytest

from handmade import TINY, cell_of

from minifl.errors import InputError
from minifl.paper import STUDIES
from minifl.paper.figures import CENTRALIZED
from minifl.paper.naming import run_name
from minifl.paper.study import cells
from minifl.runs.settings import Settings

ALL = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
RUN = [study for study in STUDIES.values() if study.kind in ("table", "points", "curves")]


def places(found):
    return [(cell.row, cell.column) for cell in found]


@ALL
def test_every_cell_is_a_valid_run(study):
    found = cells(study)
    assert places(found) == [(row, column) for row in study.rows for column in study.columns]
    for cell in found:
        assert len(cell.chosen) == len(cell.settings) == study.seeds
        for seed, settings in enumerate(cell.settings):
            assert isinstance(settings, Settings) and (settings.seed, settings.rounds) == (seed, study.rounds)
            assert settings.local_eval_every == 0


@pytest.mark.parametrize("study", RUN, ids=lambda study: study.name)
def test_a_number_of_the_paper_for_every_cell(study):
    assert study.paper.keys() == study.rows.keys()
    for numbers in study.paper.values():
        assert len(numbers) == len(study.marks if study.kind == "curves" else study.columns)
        assert all(0 <= number <= 100 for number in numbers)
    assert study.marks == tuple(sorted(study.marks)) and max(study.marks, default=0) <= study.rounds


def test_the_columns_of_a_points_figure_are_numbers():
    for study in RUN:
        if study.kind == "points":
            values = [float(label) for label in study.columns]
            name, = {name for choices in study.columns.values() for name, value in choices.items()
                     if name in ("lr", "dirichlet_alpha")}
            assert values == [choices[name] for choices in study.columns.values()] == sorted(values)


def test_the_protocol_of_the_paper():
    """The paper's experimental set-up, for every run but those whose study says otherwise."""
    for study in RUN:
        for settings in (settings for cell in cells(study) for settings in cell.settings):
            if study.name != "figure6":
                assert (settings.momentum, settings.local_epochs) == (0, None)
                assert settings.local_steps == 10 or study.name in ("table10", "table11")
                assert settings.lr == (0.001 if settings.data == "pacs" else 0.01) or study.name == "figure7"
            central = settings.num_clients == 1
            assert settings.batch_size == (320 if central and study.name == "figure4" else 32)
            assert (settings.weight_decay, settings.participation, settings.dropout_rate) == (0, 1, 0)
            assert (settings.width, settings.lr_schedule, settings.activation) == (1, "constant", "relu")
            assert settings.augment == ("resized-crop" if settings.data == "pacs" else "crop-flip")
            assert settings.model == ("resnet18" if study.name in ("table5", "table13") or
                                      settings.data == "tinyimagenet" else settings.model)
            if settings.data == "cifar10" and not central:
                assert settings.num_clients == 10


@pytest.mark.parametrize("study, column, wanted", [
    ("table1", "CIFAR-10 1 class", ("cifar10", "resnet18", "oneclass", 10)),
    ("table1", "CIFAR-10 2 classes", ("cifar10", "resnet18", "paper-2class", 10)),
    ("table1", "CIFAR-10 Dir(0.1)", ("cifar10", "resnet18", "paper-dir0.1", 10)),
    ("table1", "CIFAR-100 2 classes", ("cifar100", "cnn", "nclass", 50, "classes_per_client", 2)),
    ("table1", "CIFAR-100 5 classes", ("cifar100", "cnn", "nclass", 20, "classes_per_client", 5)),
    ("table1", "CIFAR-100 Dir(0.1)", ("cifar100", "cnn", "dirichlet", 20, "dirichlet_alpha", 0.1)),
    ("table1", "TinyImageNet Dir(0.01)", ("tinyimagenet", "resnet18", "dirichlet", 200, "dirichlet_alpha", 0.01)),
    ("table1", "TinyImageNet Dir(0.02)", ("tinyimagenet", "resnet18", "dirichlet", 200, "dirichlet_alpha", 0.02)),
    ("table1", "TinyImageNet Dir(0.05)", ("tinyimagenet", "resnet18", "dirichlet", 200, "dirichlet_alpha", 0.05)),
    ("table5", "2-2-3", ("pacs", "resnet18", "disjoint", 12, "by_domain", True)),
    ("table5", "Dir(0.5)", ("pacs", "resnet18", "dirichlet", 12, "dirichlet_alpha", 0.5)),
    ("table5", "Dir(1.0)", ("pacs", "resnet18", "dirichlet", 12, "dirichlet_alpha", 1.0)),
    ("table10", "2 classes E = 20", ("cifar10", "cnn", "paper-2class", 10, "local_steps", 20)),
    ("table11", "5 classes E = 1", ("cifar100", "cnn", "nclass", 20, "local_steps", 1)),
    ("table13", "1 class", ("cifar10", "resnet18", "oneclass", 10)),
    ("table14", "ResNet-18", ("cifar10", "resnet18", "oneclass", 10)),
])
def test_data_and_clients(study, column, wanted):
    settings = next(cell.settings[0] for cell in cells(STUDIES[study]) if cell.column == column)
    assert (settings.data, settings.model, settings.setting, settings.num_clients) == wanted[:4]
    for name, value in zip(wanted[4::2], wanted[5::2]):
        assert getattr(settings, name) == value


@pytest.mark.parametrize("row, wanted", [      # the paper's baselines, and its values for them
    ("FedAvg", {"algorithm": "fedavg", "norm": "none"}), ("FedProx", {"algorithm": "fedprox", "mu": 0.01}),
    ("SCAFFOLD", {"algorithm": "scaffold", "scaffold_option": "II"}),
    ("FedLC", {"algorithm": "fedlc", "fedlc_tau": 1.0}),
    ("FedDecorr", {"algorithm": "feddecorr", "decorr_weight": 0.5}),
    ("FedRS", {"algorithm": "fedrs", "fedrs_alpha": 0.5}),
    ("FedYogi", {"algorithm": "fedyogi", "server_lr": 0.01, "beta1": 0.9, "beta2": 0.99, "server_tau": 1e-3,
                 "server_v0": 1e-6}),
    ("FedFN", {"algorithm": "fedavg", "norm": "fn"}), ("FedLN", {"algorithm": "fedavg", "norm": "ln"})])
def test_the_methods(row, wanted):
    for study in ("table1", "table10", "table11", "table14"):
        for cell in cells(STUDIES[study]):
            if cell.row == row:
                assert {name: getattr(cell.settings[0], name) for name in wanted} == wanted


def test_centralized_runs_hold_all_data_at_one_client():
    assert CENTRALIZED == {"setting": "iid", "num_clients": 1}
    four = cell_of(STUDIES["figure4"], "centralized").settings[0]       # a round: 10 batches of 320
    assert (four.setting, four.num_clients, four.batch_size, four.local_steps, four.lr) == ("iid", 1, 320, 10, 0.01)
    six = cell_of(STUDIES["figure6"], "LN").settings[0]
    assert (six.setting, six.num_clients, six.batch_size, six.local_epochs, six.lr, six.momentum, six.rounds) == (
        "iid", 1, 32, 1, 0.001, 0.9, 100)


# Cells of two tables that are the same run here have the same number in the paper, to the rounding of its Table 1, but
# where its own tables contradict each other: other runs of its own.
REPEATED = {"table14",                          # three runs of its own
            ("cifar10-cnn-oneclass-fedavg-none", "table3", "table10"),
            ("cifar10-resnet18-oneclass-fedavg-ln", "table1", "table13"),
            ("cifar10-cnn-paper-2class-fedavg-ln", "table3", "table6"),
            ("cifar10-cnn-paper-dir0.1-fedavg-ln", "table3", "table6")}


def test_what_is_the_same_run_has_the_same_number():
    first, shared = {}, 0
    for study in (study for study in RUN if study.kind == "table" and study.name not in REPEATED):
        for cell in cells(study):
            name = run_name(cell.settings[0])
            before, number = first.setdefault(name, (study.name, cell.paper))
            if (name.removesuffix("-rounds10000-seed0"), before, study.name) not in REPEATED:
                assert abs(number - cell.paper) <= 0.1, (name, before, study.name)
                shared += before != study.name
    assert shared > 40


# ---- scaled down

def test_only_is_about_rows_and_columns_each_for_itself():
    study = STUDIES["table3"]
    assert places(cells(study, only=["1 CLASS", "fn LAST"])) == [("no bias, FN last", "1 class"),
                                                                 ("bias, FN last", "1 class")]
    assert {cell.column for cell in cells(study, only=["fn last"])} == set(study.columns)
    assert {cell.row for cell in cells(study, only=["1 class", "Dir"])} == set(study.rows)
    assert {cell.column for cell in cells(study, only=["1 class", "dir(0.1)"])} == {"1 class", "Dir(0.1)"}
    assert places(cells(TINY, only=["plain", "FN", "even"])) == [("plain", "even"), ("FN", "even")]


def test_a_whole_label_means_that_one_only():
    assert {cell.column for cell in cells(STUDIES["figure7"], only=["1"])} == {"1"}
    assert {cell.column for cell in cells(STUDIES["figure7"], only=["0.1", "0.5"])} == {"0.1", "0.5"}
    assert {cell.row for cell in cells(STUDIES["figure2"], only=["ONE-class FedAvg"])} == {"one-class FedAvg"}
    assert len({cell.row for cell in cells(STUDIES["figure2"], only=["one-class"])}) == 3


def test_only_of_both():
    """A part that rows and columns have is about both."""
    study = TINY._replace(columns={"plain too": {}, "other": {}})
    assert places(cells(study, only=["plain"])) == [("plain", "plain too")]


def test_only_refuses_what_no_label_has():
    with pytest.raises(InputError) as error:
        cells(TINY, only=["FN", "nonsense"])
    assert str(error.value) == ("--only 'nonsense' is in no row or column of tiny; its rows are plain, FN; its columns "
                                "1 class, even.")
    with pytest.raises(InputError, match="its columns none"):
        cells(STUDIES["figure4"], only=["1 class"])


def test_rounds_and_seeds_replace_the_papers():
    cell = cell_of(STUDIES["table14"], "FedFN", "CNN", rounds=7, seeds=[3, 5])
    assert [(s.rounds, s.seed) for s in cell.settings] == [(7, 3), (7, 5)] and cell.paper == 76.85
    assert [c["seed"] for c in cell.chosen] == [3, 5] and all(c["rounds"] == 7 for c in cell.chosen)
    assert [s.seed for s in cell_of(STUDIES["table14"], "FedFN", "CNN").settings] == [0, 1, 2]


def test_other_data_have_none_of_the_papers_numbers():
    for cell in cells(TINY, data="embedded"):
        assert cell.paper is None and cell.settings[0].data == cell.chosen[0]["data"] == "embedded"
    assert cell_of(STUDIES["figure4"], "FN", data="embedded").paper is None
    assert cells(TINY, data="cifar10") == cells(TINY)          # its own
    assert {cell.column[:8] for cell in cells(STUDIES["table1"], data="cifar10") if cell.paper is not None} == {
        "CIFAR-10"} and cell_of(STUDIES["table1"], "FedFN", "CIFAR-100 2 classes", data="cifar10").paper is None


def test_the_papers_number_belongs_to_row_and_column():
    assert [cell.paper for cell in cells(TINY)] == [10, 20.5, 30, None]
    assert cell_of(STUDIES["figure4"], "LN").paper[0] == 50.0
    assert cell_of(STUDIES["table11"], "SCAFFOLD", "5 classes E = 20").paper == 37.06
    assert cell_of(STUDIES["table10"], "FedRS", "2 classes E = 1").paper == 37.96
    assert cell_of(STUDIES["figure7"], "vanilla", "0.05").paper == 50.3
