"""Claims: the paper's own numbers satisfy each rule, others break each, and which records a verdict is about."""

import json
import math

import pytest

from handmade import cell_of, put

from minifl.paper import STUDIES, claims
from minifl.paper.claims import CLAIMS

EVERY = pytest.mark.parametrize("claim", CLAIMS, ids=[claim.text for claim in CLAIMS])


def of_paper(claim):
    """The paper's numbers that the rule takes; of a curve that at claim.until, else its last."""
    def number(study, row, column):
        paper = cell_of(STUDIES[study], row, column).paper
        if STUDIES[study].kind != "curves":
            return paper
        return paper[STUDIES[study].marks.index(claim.until)] if claim.until else paper[-1]
    return [number(*one) for one in claim.cells]


@EVERY
def test_the_papers_own_numbers_satisfy_the_rule(claim):
    numbers = of_paper(claim)
    assert None not in numbers and claim.holds(*numbers)


def test_the_first_claim_holds_all_along_the_papers_curves():
    for vanilla, fn, ln in zip(*(STUDIES["figure4"].paper[row] for row in ("vanilla", "FN", "LN"))):
        assert CLAIMS[0].holds(vanilla, fn, ln)


NEAR_MISSES = {      # part of the text -> numbers that just miss the rule, with those that just satisfy it
    "the plain network hardly does": [([20, 30, 40], [20, 29.9, 40]), ([20, 40, 30], [20, 40, 29.9])],
    "LN is ahead of FN there": [([40, 43], [40, 42.9])],
    "ahead of central training": [([40, 40.1, 50], [40, 40, 50]), ([40, 50, 40.1], [40, 50, 40])],
    "FN at every layer or last only is the same": [([70, 75], [70, 75.1]), ([75, 70], [75.1, 70])],
    "LN at every layer or reduced is the same": [([70, 75], [70, 75.1]), ([75, 70], [75.1, 70])],
    "With biases": [([70, 75, 70, 65], [70, 75.1, 70, 65]), ([70, 75, 70, 65], [70, 75, 70, 64.9])],
    "Group norm": [([70, 75], [70, 75.1]), ([75, 70], [75.1, 70])],
    "Batch norm fails": [([12], [12.1])],
    "LN's gain and bias": [([70, 72, 75], [70, 72, 75.1]), ([75, 70, 72], [75.1, 70, 72])],
    "FedYogi alone": [([50, 60], [50, 59.9])],
    "add to FedYogi": [([70, 73, 74], [70, 72.9, 74]), ([70, 74, 73], [70, 74, 72.9])],
    "The more label skew": [([60, 80, 68, 83, 68, 83], [60, 80, 67.9, 83, 68, 83]),
                            ([60, 80, 68, 83, 68, 83], [60, 80, 68, 83, 68, 83.1])],
    "at every learning rate": [
        ([1, 2, 3, 4, 5] + [2, 3, 4, 5, 6] * 2, [1, 2, 3, 4, 5] + [2, 3, 4, 5, 6] + [2, 3, 4, 4, 6]),
        ([1, 2, 3, 4, 5] + [2, 3, 4, 5, 6] * 2, [1, 2, 3, 4, 5] + [1, 3, 4, 5, 6] + [2, 3, 4, 5, 6])],
    "robust to the learning rate": [
        ([1, 10, 20, 30, 40] + [1, 10, 20, 36, 40] + [1, 35, 36, 37, 40],
         [1, 10, 20, 36, 40] + [1, 10, 20, 36, 40] + [1, 35, 36, 37, 40])],
}


@EVERY
def test_every_rule_can_fail(claim):
    part, = (part for part in NEAR_MISSES if part in claim.text)
    for satisfied, missed in NEAR_MISSES[part]:
        assert len(satisfied) == len(missed) == len(claim.cells)
        assert claim.holds(*satisfied) and not claim.holds(*missed)


@EVERY
def test_equal_numbers_satisfy_what_claims_equality_only(claim):
    equality = {"Table 3", "Tables 4, 6", "Table 6"}
    assert claim.holds(*[50.0] * len(claim.cells)) == (claim.source in equality)


# ---- which records

WANTED = (("figure4", "vanilla", ""), ("figure4", "FN", ""))


def put_rows(folder, rounds, seeds, rows=("vanilla", "FN", "LN", "centralized"), accuracy=0.5, **options):
    for row in rows:
        for settings in cell_of(STUDIES["figure4"], row, rounds=rounds, seeds=seeds).settings:
            put(folder, settings, [accuracy] * (rounds // 10), **options)


def test_the_most_rounds_that_all_have(tmp_path):
    assert claims.of_most_rounds(WANTED, tmp_path) == (None, None)
    assert claims.of_most_rounds(WANTED, tmp_path / "nowhere") == (None, None)
    put_rows(tmp_path, 100, [0, 1], accuracy=0.1)
    assert [one.seeds for one in claims.of_most_rounds(WANTED, tmp_path)[1]] == [(0, 1), (0, 1)]
    put_rows(tmp_path, 400, [0], ["vanilla"], accuracy=0.4)              # FN has no run of so many
    assert claims.of_most_rounds(WANTED, tmp_path)[0] == 100
    put_rows(tmp_path, 200, [0], ["FN"], accuracy=0.2)                   # vanilla's 400 hold its 200
    rounds, (vanilla, fn) = claims.of_most_rounds(WANTED, tmp_path)
    assert (rounds, vanilla.seeds, fn.seeds) == (200, (0,), (0,))
    assert vanilla.client_mean == pytest.approx([40]) and fn.client_mean == pytest.approx([20])


def test_the_seeds_that_all_have(tmp_path):
    put_rows(tmp_path, 100, [0, 1, 3], ["vanilla"])
    put_rows(tmp_path, 100, [1, 2, 3], ["FN"])
    rounds, found = claims.of_most_rounds(WANTED, tmp_path)
    assert rounds == 100 and [one.seeds for one in found] == [(1, 3), (1, 3)]


def test_runs_that_have_not_ended_do_not_count(tmp_path):
    put_rows(tmp_path, 100, [0])
    put_rows(tmp_path, 200, [0], status=None)
    assert claims.of_most_rounds(WANTED, tmp_path)[0] == 100


def test_a_claim_about_the_first_rounds_is_judged_by_these(tmp_path):
    put_rows(tmp_path, 800, [0])
    put_rows(tmp_path, 100, [0])
    assert claims.of_most_rounds(WANTED, tmp_path)[0] == 800
    assert claims.of_most_rounds(WANTED, tmp_path, 400)[0] == 400        # within the longer runs
    assert claims.of_most_rounds(WANTED, tmp_path, 395)[0] == 100        # not tested after 395


def rows(table):
    lines = [[text.strip() for text in line.strip("|").split("|")] for line in table.splitlines() if "---" not in line]
    return lines[0], {line[0]: line[1:] for line in lines[1:]}


def test_the_table(tmp_path):
    for row, accuracy in (("vanilla", 0.2), ("FN", 0.3), ("LN", 0.32), ("centralized", 0.31)):
        put_rows(tmp_path, 100, [0, 1], [row], accuracy)
    put(tmp_path, cell_of(STUDIES["table4"], "FedAvg + BN", "1 class", rounds=60).settings[0], [0.1] * 6)
    put(tmp_path, cell_of(STUDIES["table14"], "FedYogi", "CNN", rounds=100, seeds=[0]).settings[0], [0.1],
        status="diverged")
    head, found = rows(claims.table(tmp_path))
    assert head == ["claim", "paper", "counts as holding", "ours", "rounds", "runs", "verdict"]
    assert len(found) == len(CLAIMS)
    assert found[CLAIMS[0].text][2:] == ["20.0, 30.0, 32.0", "100", "2", "holds"]
    assert found[CLAIMS[1].text][2:] == ["30.0, 32.0", "100", "2", "**does not hold**"]
    assert found[CLAIMS[2].text][2:] == ["31.0, 30.0, 32.0", "100", "2", "**does not hold**"]
    bn, = (values for text, values in found.items() if text.startswith("Batch norm"))
    assert bn[2:] == ["10.0", "60", "1", "holds"]
    yogi, = (values for text, values in found.items() if text.startswith("FedYogi alone"))
    assert yogi[2:] == ["20.0, diverged", "100", "1", "**does not hold**"]
    assert [values[-1] for values in found.values()].count("not measured") == len(CLAIMS) - 5


def test_closeups_are_judged_from_their_measurements(tmp_path):
    def write(name, **content):
        (tmp_path / f"{name}.json").write_text(json.dumps({"begins": name, **content}))

    for name, fn in (("figure2-a", [0.3, 0.5]), ("figure2-b", [0.3, 0.48])):
        write(name, **{"pre-trained": [0.6, 0.8], "vanilla": [1.0, -0.4], "FN": fn})
    for name, last in (("figure3-a", 0.1), ("figure3-b", 0.9)):
        write(name, vanilla=[{"singular_values": [9, 9]}, {"singular_values": [1, last]}],
              FN=[{"singular_values": [9, 9]}, {"singular_values": [1, 1]}])
    _, found = rows(claims.table(tmp_path))
    ours = [(values[2], values[-1]) for text, values in found.items() if "; from figure" in text]
    assert ours == [("70.0 before; 30.0, 40.0", "holds"), ("70.0 before; 30.0, 39.0", "**does not hold**"),
                    ("-2.3, 0.0", "holds"), ("-0.1, 0.0", "**does not hold**")]


def test_the_papers_own_numbers_satisfy_the_rules_of_the_closeups(tmp_path):
    overfitting = {label: [value / 100 for value in values] for label, values in STUDIES["figure2"].paper.items()}
    collapsed = {label: [{"singular_values": [1.0, math.exp(value)]}]
                 for label, value in STUDIES["figure3"].paper["ln(σ_100/σ_1)"].items()}
    for name, content in (("figure2-paper", overfitting), ("figure3-paper", collapsed)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"begins": "the paper", **content}))
    _, found = rows(claims.table(tmp_path))
    ours = [(values[2], values[-1]) for text, values in found.items() if text.endswith("from the paper")]
    assert ours == [("56.6 before; 19.9, 43.3", "holds"), ("-10.7, -5.6", "holds")]
