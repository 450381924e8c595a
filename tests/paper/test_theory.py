"""The theory report: complete, true for several seeds, and each of its claims can fail."""

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.layers import activations, loss, norm
from minifl.models import MLP, Arrangement, loss_and_grad
from minifl.models.arrangement import ACTIVATIONS
from minifl.models.norms import KINDS, NORMS
from minifl.paper import chains, equivalence, theory, theory_errors, theory_theorem1, theory_training
from minifl.paper.theory_rows import (CONTROL, COUNTEREXAMPLE, DIFFERENT, FAILED, HOLDS, Row, control, difference,
                                      holds, proportion)

ROWS = {   # what the paper states, and what we add -> claims
    "Lemma 1": ["lemma-1"], "Proposition 1": ["proposition-1"], "Proposition 2": ["proposition-2"],
    "eps inside the root": ["eps-in-root"], "eq. 10 with FN": ["resnet-fn"], "eqs. 10 and 11": ["resnet-ln"],
    "Proposition 3": ["proposition-3a", "proposition-3b"],
    "Corollary 1": ["corollary-1"], "Theorem 1": ["theorem-1", "theorem-1-constant"], "FN's floor (ours)": ["fn-floor"],
    "scale invariance (ours)": ["scale-invariance"], "FedAvg, E = 1": ["fedavg-one-step"], "ViT": ["vit"],
}
JACOBIANS = ["jacobian-fn", "jacobian-mv", "jacobian-gn", "jacobian-affine"]   # and the norms' Jacobians
TOLERANCES = {   # of each claim, in float64
    "lemma-1": {1e-12}, "proposition-1": {1e-12, 1e-11, 1e-9}, "proposition-2": {1e-12, 1e-11, 1e-9},
    "eps-in-root": {1e-12}, "resnet-fn": {1e-12, 1e-11, 1e-9}, "proposition-3a": {0, 1e-9}, "proposition-3b": {0, 1e-9},
    "corollary-1": {0}, "fn-floor": {1e-10}, "scale-invariance": {1e-12}, "fedavg-one-step": {1e-12},
}
COUNTEREXAMPLES = {"proposition-1", "proposition-2", "resnet-ln", "proposition-3a", "proposition-3b", "theorem-1",
                   "theorem-1-constant"}


@pytest.fixture(scope="module")
def of_seeds():
    """seed -> all Rows."""
    return {seed: list(theory.rows(seed)) for seed in (0, 1)}


# ---- complete and true

def test_every_row_of_the_paper_has_its_claims():
    assert [claim for claims in ROWS.values() for claim in claims] + JACOBIANS == list(theory.CLAIMS)


@pytest.mark.parametrize("seed", [0, 1])
def test_all_is_as_it_should_be(seed, of_seeds):
    found = of_seeds[seed]
    assert [row for row in found if not row.passed] == []
    assert {row.claim for row in found if row.verdict == COUNTEREXAMPLE} == COUNTEREXAMPLES
    for claim, tolerances in TOLERANCES.items():
        assert {row.bound for row in found if row.claim == claim and row.expects == HOLDS} == tolerances, claim


@pytest.mark.parametrize("claim, missing", [
    ("lemma-1", {"gelu", "elu", "softplus", "tanh"}),
    ("proposition-1", {"bias at layers >= 2", "GELU", "tanh", "softplus"}),
    ("proposition-2", {"bias at layers >= 2", "GELU", "tanh", "softplus", "without the s layers"}),
    ("resnet-fn", {"bias at layers >= 2", "GELU", "tanh", "softplus"}),
    ("fedavg-one-step", {"batch norm", "E = 2 against two centralized steps"})])
def test_negative_controls_of_the_table_are_there(claim, missing, of_seeds):
    controls = [row for row in of_seeds[0] if row.claim == claim and row.expects == CONTROL]
    assert {row.compared.split(":")[0] for row in controls} == missing
    assert {row.bound for row in controls} == {DIFFERENT}


def test_a_claim_alone_and_another_seed(of_seeds):
    alone = list(theory.rows(1, "jacobian-mv"))
    assert alone == [row for row in of_seeds[1] if row.claim == "jacobian-mv"]
    assert [row.value for row in alone] != [row.value for row in theory.rows(2, "jacobian-mv")]
    with pytest.raises(InputError, match="--claim 'lemma' is unknown; valid are lemma-1, "):
        next(theory.rows(0, "lemma"))


# ---- each claim can fail

def times(factor, layer):
    """The layer with its output times a factor."""
    def wrong(*arguments, **options):
        y, cache = layer(*arguments, **options)
        return factor * y, cache
    return wrong


FN, MV, LN, RELU, AFFINE_BACKWARD, BOUNDS = (norm.feature_norm, norm.mv_norm, norm.layer_norm, activations.relu,
                                             norm.affine_backward, theory_theorem1.bounds)


def tanh_norm(x, *, eps=norm.EPS):
    """A norm that lets the scale through."""
    return np.tanh(x), FN(x, eps=eps)[1]


def without_radial_term(dy, cache):
    v = dy.reshape(*dy.shape[:2], -1)
    return (cache[1] * v).reshape(dy.shape)


def double_gain(dy, cache):
    dx, dgain, dbias = AFFINE_BACKWARD(dy, cache)
    return dx, 2 * dgain, dbias


def bounds_without_w_k(w, g):
    floor, _, needed = BOUNDS(np.concatenate([0 * w[:1], w[1:]]), g)
    return floor, 0.0, needed



def sum_instead_of_mean(self, work, theta):
    """As if clients' losses were sums over their batches."""
    return {"update": (theta - work.w) * work.x.shape[2]}, {}


MISTAKES = {   # claim -> what is replaced where, by what; and what must be seen to fail
    "lemma-1": ((activations, "relu", lambda x: (RELU(x)[0] + 0.001, None)), "rho(c t) = c rho(t)"),
    "proposition-1": ((norm, "feature_norm", tanh_norm), "n everywhere = n last"),
    "proposition-2": ((norm, "mv_norm", FN), "n_MV everywhere"),
    "eps-in-root": ((norm, "layer_norm", lambda *a: LN(*a, eps=1.1e-5)), "ratio of the two norms"),
    "resnet-fn": ((norm, "feature_norm", tanh_norm), "n after every block"),
    "resnet-ln": ((NORMS, "ln-reduced", NORMS["ln"]), "eq. 11 against eq. 10"),
    "proposition-3a": ((norm, "feature_norm", times(-1, FN)), "predictions"),
    "proposition-3b": ((theory_errors, "twin_after", lambda plain, theta: theta), "LN after activations"),
    "corollary-1": ((theory_errors, "twin_after", lambda plain, theta: theta), "error of LN"),
    "theorem-1": ((theory_theorem1, "bounds", bounds_without_w_k), "(1) f_k"),
    "theorem-1-constant": ((theory_theorem1, "one_class_loss", lambda w, g: np.log(len(w))), "C = 10"),
    "fn-floor": ((norm, "feature_norm", times(1.001, FN)), "tight at"),
    "scale-invariance": ((norm, "feature_norm_backward", without_radial_term), "FN, LN: cosine"),
    "fedavg-one-step": ((FedAvg, "message", sum_instead_of_mean), "w after 3 rounds"),
    "vit": ((theory_training, "attention", lambda q, k, v, heads: (v, None)), "attention(2x)"),
    "jacobian-fn": ((norm, "feature_norm", times(1.001, FN)), "FN: J ="),
    "jacobian-mv": ((norm, "mv_norm", FN), "MV: J ="),
    "jacobian-gn": ((norm, "group_norm", lambda x, groups: (MV(x)[0], (MV(x.reshape(1, groups, -1))[1], groups))),
                    "GN: J between"),
    "jacobian-affine": ((norm, "affine_backward", double_gain), "dgain_c"),
}


def put(monkeypatch, place, name, value):
    if isinstance(place, dict):
        monkeypatch.setitem(place, name, value)
        return
    for table in (KINDS, ACTIVATIONS):      # the pairs that networks are made with
        for key, entry in list(table.items()):
            changed = {field: value for field in ("forward", "backward") if getattr(entry, field) is getattr(place, name)}
            monkeypatch.setitem(table, key, entry._replace(**changed))
    monkeypatch.setattr(place, name, value)


@pytest.mark.parametrize("claim", theory.CLAIMS)
def test_a_mistake_is_seen(claim, monkeypatch):
    """Without it all rows of this seed pass (test_all_is_as_it_should_be)."""
    (place, name, value), seen = MISTAKES[claim]
    put(monkeypatch, place, name, value)
    failed = [row for row in theory.rows(0, claim) if not row.passed]
    assert any(row.compared.startswith(seen) and row.verdict == FAILED for row in failed), failed


@pytest.mark.parametrize("claim, full, reduced", [
    ("proposition-1", "fn-all", "fn"), ("proposition-2", "ln", "ln-reduced"), ("resnet-fn", "fn-all", "fn")])
def test_a_negative_control_that_stops_differing_has_failed(claim, full, reduced, monkeypatch):
    """Where both arrangements are the same network, every equality holds and no control does."""
    monkeypatch.setitem(NORMS, full, NORMS[reduced])
    for row in theory.rows(0, claim):
        without_shift = row.compared.startswith("without the s layers")
        assert row.passed == (row.expects == HOLDS or without_shift), row


def test_verdicts_of_rows():
    assert Row("c", "a", 1e-12, 1e-12, HOLDS).verdict == HOLDS
    assert Row("c", "a", 1.1e-12, 1e-12, HOLDS).verdict == FAILED
    assert Row("c", "a", 0.051, 0.05, COUNTEREXAMPLE).verdict == COUNTEREXAMPLE
    assert Row("c", "a", 0.05, 0.05, CONTROL).verdict == FAILED
    assert FAILED == Row("c", "a", np.nan, 1, HOLDS).verdict == Row("c", "a", np.nan, 1, CONTROL).verdict
    assert holds("a", [[1, 3], [2, 0]], 2).value == 3 and control("a", [[1, 3], [2, 0.5]]).value == 0.5
    assert np.isnan(holds("a", [0, np.nan], 2).value)


def test_differences_by_hand():
    a, b = np.array([[1.0, 2.0], [0, 0]]), np.array([[1.0, 4.0], [0, 0]])
    np.testing.assert_array_equal(difference(a, b), [0.5, np.nan])
    c, spread = proportion(np.array([[[2.0, 4], [0, 0], [0, 0]]]), np.array([[[1.0, 2], [0, 0], [1, 0]]]))
    assert c.tolist() == [[2, 1, 0]] and spread.tolist() == [0]


# ---- the experiments of equivalence.py, against the package's networks

def test_chains_are_the_layers():
    x = np.random.default_rng(0).standard_normal((4, 5)) * 10.0 ** np.array([[-7], [-2], [0], [3]])
    for own, layer in ((chains.sphere, norm.feature_norm), (chains.centred, norm.shift), (chains.mv, norm.mv_norm),
                       (chains.leaky_relu, activations.leaky_relu), (np.tanh, activations.tanh)):
        np.testing.assert_allclose(own(x), layer(x[None])[0][0], rtol=1e-12)
    np.testing.assert_allclose(chains.gelu(x), activations.gelu(x)[0], atol=1e-3)   # of the tanh form
    labels = np.array([4, 0, 1, 1])
    np.testing.assert_allclose(chains.cross_entropy(x, labels), loss.softmax_cross_entropy(x[None], labels[None])[0][0])


@pytest.mark.parametrize("kind, network", [("fn-all", "fn"), ("fn", "fn"), ("ln", "mv"), ("ln-reduced", "mv")])
def test_the_networks_of_the_experiments_are_those_of_the_package(kind, network):
    model = MLP(3, (2, 2, 1), (6, 5, 4), Arrangement(kind, activation="leaky-relu"))
    rng = np.random.default_rng(1)
    theta, x = rng.standard_normal((1, model.spec.size)), rng.standard_normal((1, 7, 2, 2, 1))
    labels = rng.integers(3, size=(1, 7))
    weights = [view[0] for view in model.spec.views(theta).values()]
    images, biases = x.reshape(7, 4), [0.0] * 3

    def logits(weights):
        if network == "fn":
            return equivalence.fn_network(images, weights, biases, kind == "fn-all")
        return equivalence.mv_network(images, weights, kind == "ln")

    np.testing.assert_allclose(logits(weights), model.forward(model.spec.views(theta), x)[0][0], rtol=1e-10)
    gradients = chains.gradients(lambda w: chains.cross_entropy(logits(w), labels[0]), weights)
    gradient = model.spec.views(loss_and_grad(model, theta, x, labels)[1])
    for own, block in zip(gradients, gradient.values()):
        np.testing.assert_allclose(own, block[0], rtol=1e-8, atol=1e-12)


# ---- the command line

def test_the_command_prints_every_row(cli, of_seeds, monkeypatch):
    monkeypatch.setattr(theory, "rows", lambda seed, claim: of_seeds[seed] if claim is None else None)
    code, out, errors = cli("theory")
    lines = out.splitlines()
    assert code == 0 and not errors
    assert lines[0].split() == ["claim", "compared", "value", "expected", "verdict"]
    assert list(dict.fromkeys(line.split()[0] for line in lines[1:-1])) == list(theory.CLAIMS)
    assert lines[1:-1] == [theory.line(row) for row in of_seeds[0]]
    assert lines[-1].startswith(f"{len(lines) - 2} comparisons: holds (") and lines[-1].endswith("FAILED (0).")
    assert "f_k = 0.6931 < log 10 = 2.3026" in out and "1e-12" in out and ">  0.05" in out


def test_the_command_fails_with_a_wrong_layer(cli, monkeypatch):
    """J x = 0 is true of the wrong one, too."""
    code, out, _ = cli("theory", "--claim", "jacobian-fn", "--seed", "5")
    assert code == 0 and out.splitlines()[-1] == "4 comparisons: holds (4); FAILED (0)."
    monkeypatch.setattr(norm, "feature_norm", times(1.001, FN))
    code, out, _ = cli("theory", "--claim", "jacobian-fn", "--seed", "5")
    assert code == 1 and out.splitlines()[-1] == "4 comparisons: holds (1); FAILED (3)."
    assert {line.split()[0] for line in out.splitlines()[1:-1]} == {"jacobian-fn"}


@pytest.mark.parametrize("arguments, text", [(("--claim", "lemma"), "valid are lemma-1, proposition-1"),
                                             (("--seed", "-1"), "--seed")])
def test_what_the_command_refuses(cli, arguments, text):
    code, out, errors = cli("theory", *arguments)
    assert code == 2 and text in errors and not out
