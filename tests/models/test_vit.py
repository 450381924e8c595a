"""The vision transformer: its parameters and FLOPs by hand, an oracle for one image, norms, and what cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from comparing import difference, logits, shapes

from minifl.errors import InputError
from minifl.gradcheck.networks import draw
from minifl.layers.norm import feature_norm, mv_norm
from minifl.models import Arrangement, build, loss_and_grad
from minifl.models.norms import NORMS
from minifl.models.vit import ViT, same_as

CIFAR = (10, (32, 32, 3))
TINY = ViT(4, (6, 4, 2), patch=2, dim=6, depth=2, heads=2)   # 3x2 patches
SAME = {("fn-all", "before"): "fn", ("ln-reduced", "before"): "ln",          # they differ on the main path only
        ("fn-inside", "after"): "fn", ("fn-mv-inside", "after"): "fn"}       # they differ in the branches only
PLACES = [(norm, position) for norm in NORMS for position in ("after", "before")
          if norm != "in" and (norm, position) not in SAME]

every_place = pytest.mark.parametrize("norm, position", PLACES)
every_token = pytest.mark.parametrize("token", ["class", "mean"])


def tiny(norm="none", position="after", token="class", **choices):
    return replace(TINY, token=token, arrangement=Arrangement(norm, position, **choices))


# ---- parameters and FLOPs

def test_the_parameters():
    block = {"query.weight": (128, 128), "key.weight": (128, 128), "value.weight": (128, 128), "out.weight": (128, 128),
             "mlp1.weight": (128, 256), "mlp2.weight": (256, 128)}
    assert shapes(build("vit", *CIFAR)) == {
        "patch.weight": (4, 4, 3, 128), "class_token": (128,), "position": (65, 128),
        **{f"block{b}.{name}": shape for b in (1, 2, 3, 4) for name, shape in block.items()},
        "classifier.weight": (128, 10)}
    by_hand = 48 * 128 + 128 + 65 * 128 + 4 * (4 * 128 * 128 + 2 * 128 * 256) + 128 * 10
    assert build("vit", *CIFAR).spec.size == by_hand == 540_160


def test_the_number_of_tokens():
    mean = shapes(build("vit", *CIFAR, token="mean"))
    assert mean["position"] == (64, 128) and "class_token" not in mean
    assert shapes(build("vit", *CIFAR, patch=8))["position"] == (17, 128)
    assert shapes(build("vit", 10, (28, 20, 1), patch=2, token="mean"))["position"] == (140, 128)


@pytest.mark.parametrize("bias, extra", [("none", 0), ("hidden", 128 + 4 * (128 * 3 + 256 + 128)),
                                         ("all", 128 + 4 * (128 * 3 + 256 + 128) + 10)])
def test_biases(bias, extra):
    """Query, value, out and the MLP have them; key has none, a softmax would not see it."""
    model = build("vit", *CIFAR, Arrangement(bias=bias))
    assert model.spec.size == 540_160 + extra
    assert "block1.key.bias" not in shapes(model)


@pytest.mark.parametrize("norm, position, norms", [
    ("none", "after", 0), ("fn", "after", 1), ("fn", "before", 1), ("fn-all", "after", 9),
    ("fn-inside", "before", 9), ("fn-mv-inside", "before", 9), ("ln", "after", 8), ("ln", "before", 9),
    ("ln-reduced", "after", 1), ("bn", "before", 9)])
def test_learnable_norms_have_a_gain_and_a_bias_for_each_feature(norm, position, norms):
    """Two in each of the four blocks, and before the head n, or what pre-norm has there; shift learns nothing."""
    model = build("vit", *CIFAR, Arrangement(norm, position, learnable=True))
    assert model.spec.size == 540_160 + norms * 2 * 128
    assert build("vit", *CIFAR, Arrangement(norm, position)).spec.size == 540_160
    assert model.statistics.size == (norms * 2 * 128 if norm == "bn" else 0)


def test_flops():
    patches, classifier = 2 * 64 * 48 * 128, 2 * 128 * 10
    projections, products, mlp = 4 * 2 * 65 * 128 * 128, 2 * 2 * 65 * 65 * 128, 2 * 2 * 65 * 128 * 256
    assert build("vit", *CIFAR).flops == patches + 4 * (projections + products + mlp) + classifier == 77_599_232


def test_the_plan_has_the_shapes_of_the_run():
    model = tiny("ln", "before")
    assert [(row.name, row.shape) for row in model.plan if "block2" not in row.name] == [
        ("patch", (3, 2, 6)), ("class_token", (7, 6)), ("position", (7, 6)), ("block1.norm1", (7, 6)),
        ("block1.query", (7, 6)), ("block1.key", (7, 6)), ("block1.value", (7, 6)), ("block1.attention", (7, 6)),
        ("block1.out", (7, 6)), ("block1.norm2", (7, 6)), ("block1.mlp1", (7, 12)), ("block1.act", (7, 12)),
        ("block1.mlp2", (7, 6)), ("tokens.norm", (7, 6)), ("pool", (6,)), ("classifier", (4,))]
    after = [row.name for row in tiny("ln", "after").plan]
    assert after.index("block1.out") < after.index("block1.norm1") < after.index("block1.mlp1")
    assert after[-3:] == ["block2.norm2", "pool", "classifier"]


@pytest.mark.parametrize("width, dim", [(1, 128), (0.5, 64), (0.25, 32), (0.01, 4), (1.5, 192)])
def test_width(width, dim):
    model = build("vit", *CIFAR, width=width)
    assert (model.dim, model.heads, model.depth, model.ratio) == (dim, 4, 4, 2)


# ---- what it computes

def image_by_image(model, p, image):
    """One client's logits of one image, step by step from the definition, in nested loops over patches and tokens."""
    arr, d = model.arrangement, model.dim
    size, (height, width) = model.patch, image.shape[:2]
    normed = {"identity": lambda t: t, "n": lambda t: t * np.sqrt(d) / np.linalg.norm(t),
              "s": lambda t: t - t.mean(), "mv": lambda t: (t - t.mean()) / t.std()}
    tokens = [image[i:i + size, j:j + size].ravel() @ p["patch.weight"].reshape(-1, d) + p.get("patch.bias", 0)
              for i in range(0, height, size) for j in range(0, width, size)]
    tokens = [p["class_token"], *tokens] if model.token == "class" else tokens
    x = np.array([t + position for t, position in zip(tokens, p["position"])])

    def through(x, layer):
        return x @ p[f"{layer}.weight"] + p.get(f"{layer}.bias", 0)

    def attention(x, name):
        q, k, v = (through(x, f"{name}.{part}") for part in ("query", "key", "value"))
        o = np.zeros_like(x)
        for h in np.split(np.arange(d), model.heads):
            for t in range(len(x)):
                e = np.exp([q[t, h] @ k[s, h] / np.sqrt(len(h)) for s in range(len(x))])
                o[t, h] = sum(e[s] / e.sum() * v[s, h] for s in range(len(x)))
        return through(o, f"{name}.out")

    def mlp(x, name):
        a = through(x, f"{name}.mlp1")
        return through(a * (1 + erf(a / np.sqrt(2))) / 2, f"{name}.mlp2")

    def normalized(x, kind):
        return np.array([normed[kind](t) for t in x])

    sublayers = [(f, f"block{b}") for b in range(1, model.depth + 1) for f in (attention, mlp)]
    last = "identity" if arr.last == "n" else arr.last
    if arr.position == "before":
        for f, name in sublayers:
            x = x + f(normalized(x, arr.branch), name)
        x = normalized(x, last)
    else:
        for i, (f, name) in enumerate(sublayers):
            is_last = i == len(sublayers) - 1 and arr.last != "n"
            x = normalized(x + f(x, name), last if is_last else arr.main)
    feature = x[0] if model.token == "class" else x.mean(axis=0)
    return through(normed["n"](feature) if arr.last == "n" else feature, "classifier")


@every_token
@pytest.mark.parametrize("norm, position", [place for place in PLACES if place[0] not in ("gn", "rms", "bn")])
@pytest.mark.parametrize("bias", ["none", "all"])
def test_equals_the_definition_image_by_image(norm, position, token, bias):
    model = tiny(norm, position, token, bias=bias, activation="gelu")
    theta, x, _ = draw(model, np.random.default_rng(0), clients=2, batch=3)
    found = logits(model, theta, x)
    for client in range(2):
        p = {name: block[client] for name, block in model.spec.views(theta).items()}
        for n in range(3):
            np.testing.assert_allclose(found[client, n], image_by_image(model, p, x[client, n]), rtol=1e-10, atol=1e-12)


@every_token
@every_place
def test_clients_at_once_are_a_loop_over_clients(norm, position, token):
    model = tiny(norm, position, token, learnable=True)
    theta, x, labels = draw(model, np.random.default_rng(1), clients=3, batch=4)
    loss, gradient, seen = loss_and_grad(model, theta, x, labels)
    for k in range(3):
        one = slice(k, k + 1)
        loss_k, gradient_k, seen_k = loss_and_grad(model, theta[one], x[one], labels[one])
        np.testing.assert_allclose(loss_k, loss[one], rtol=1e-13)
        np.testing.assert_allclose(seen_k, seen[one], rtol=1e-12)
        assert difference(gradient_k, gradient[one]) < 1e-11


@every_token
@pytest.mark.parametrize("norm, position", [place for place in PLACES if place[0] != "bn"])
def test_no_example_sees_another(norm, position, token):
    model = tiny(norm, position, token)
    theta, x, _ = draw(model, np.random.default_rng(2), clients=2, batch=4)
    together = logits(model, theta, x)
    for n in range(4):
        assert difference(logits(model, theta, x[:, n:n + 1]), together[:, n:n + 1]) < 1e-12


def test_batch_norms_statistics_are_over_all_tokens_of_the_batch():
    model = tiny("bn", "before", "mean")
    theta, x, labels = draw(model, np.random.default_rng(3))
    p = model.spec.views(theta)
    tokens = x.reshape(2, 5, 3, 2, 2, 2, 2).swapaxes(3, 4).reshape(2, 5, 6, 8) @ p["patch.weight"].reshape(2, 1, 8, 6)
    tokens = (tokens + p["position"][:, None]).reshape(2, 30, 6)
    seen = model.statistics.views(loss_and_grad(model, theta, x, labels)[2])
    np.testing.assert_allclose(seen["block1.norm1.mean"], tokens.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(seen["block1.norm1.variance"], tokens.var(axis=1, ddof=1), rtol=1e-12)


def test_batch_norms_evaluation_mode_uses_what_it_is_given():
    model = tiny("bn", "before")
    theta, x, labels = draw(model, np.random.default_rng(3))
    statistics = model.statistics.views(loss_and_grad(model, theta, x, labels)[2])
    p = model.spec.views(theta) | {name: np.abs(value) + 0.5 for name, value in statistics.items()}
    together = model.forward(p, x)[0]
    np.testing.assert_allclose(model.forward(p, x[:, :1])[0], together[:, :1], rtol=1e-11)
    assert difference(together, logits(model, theta, x)) > 0.05


@pytest.mark.parametrize("norm, position", [("none", "after"), ("ln", "before")])
def test_the_order_of_patches_is_known_from_their_positions_alone(norm, position):
    """Two patches exchanged together with their positions change nothing; without their positions they do."""
    model = tiny(norm, position)
    theta, x, _ = draw(model, np.random.default_rng(4))
    moved_x, moved_theta = x.copy(), theta.copy()
    moved_x[:, :, :2, :2], moved_x[:, :, 4:, 2:] = x[:, :, 4:, 2:], x[:, :, :2, :2]   # the first patch and the last
    before, after = (model.spec.views(t)["position"] for t in (theta, moved_theta))
    after[:, 1], after[:, 6] = before[:, 6], before[:, 1]
    plain = logits(model, theta, x)
    np.testing.assert_allclose(logits(model, moved_theta, moved_x), plain, rtol=1e-10)
    assert difference(logits(model, theta, moved_x), plain) > 1e-3


@every_token
@every_place
def test_the_feature_is_what_the_classifier_sees(norm, position, token):
    model = tiny(norm, position, token)
    theta, x, _ = draw(model, np.random.default_rng(5))
    p = model.spec.views(theta)
    out, cache = model.forward(p, x)
    feature = model.feature(cache)
    np.testing.assert_allclose(feature @ p["classifier.weight"], out, rtol=1e-12)
    if model.arrangement.last == "n":
        np.testing.assert_allclose(feature, feature_norm(feature)[0], rtol=1e-12)
    elif model.arrangement.last == "mv" and token == "class":
        np.testing.assert_allclose(feature, mv_norm(feature)[0], rtol=1e-11)


@every_token
def test_what_a_loss_adds_to_the_features_gradient_reaches_every_parameter(token):
    """Of the loss u.logits + v.feature, by one complex step in a random direction."""
    rng = np.random.default_rng(8)
    model = tiny("ln", "before", token)
    theta, x, _ = draw(model, rng)
    out, cache = model.forward(model.spec.views(theta), x)
    u, v = rng.standard_normal(out.shape), rng.standard_normal(model.feature(cache).shape)
    gradient = model.spec.flatten(model.backward(u, cache, v), like=theta)
    direction = rng.standard_normal(theta.shape)
    moved, moved_cache = model.forward(model.spec.views(theta + 1e-30j * direction), x)
    change = (u * moved.imag).sum(axis=(1, 2)) + (v * model.feature(moved_cache).imag).sum(axis=(1, 2))
    np.testing.assert_allclose((gradient * direction).sum(axis=1), change / 1e-30, rtol=1e-11)


@every_place
def test_float32_in_float32_out_and_nothing_given_is_changed(norm, position):
    model = tiny(norm, position, activation="gelu")
    theta, x, labels = draw(model, np.random.default_rng(6))
    arrays = theta.astype(np.float32), x.astype(np.float32), labels
    for array in arrays:
        array.flags.writeable = False
    loss, gradient, _ = loss_and_grad(model, *arrays)
    assert loss.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(loss, loss_and_grad(model, theta, x, labels)[0], rtol=1e-4)


# ---- scale equivariance, which the paper's Propositions 1 and 2 need

def drawn_for_scales(model):
    """theta whose scores differ: at the usual start they are close to 0, and attention is close to a mean."""
    theta, x, _ = draw(model, np.random.default_rng(7))
    return 3 * theta, x


def twice_the_tokens(model, theta):
    """theta with which the first block sees twice the tokens."""
    doubled = theta.copy()
    for name in ("patch.weight", "class_token", "position"):
        doubled[:, model.spec.slices[name]] *= 2
    return doubled


def test_the_network_is_not_scale_equivariant():
    theta, x = drawn_for_scales(TINY)
    assert difference(logits(TINY, twice_the_tokens(TINY, theta), x), 2 * logits(TINY, theta, x)) > 0.05


def test_without_attention_it_would_be():
    """The positive control: what is left of this bias-free ReLU network is equivariant."""
    theta, x = drawn_for_scales(TINY)
    for b in (1, 2):
        theta[:, TINY.spec.slices[f"block{b}.out.weight"]] = 0
    assert difference(logits(TINY, twice_the_tokens(TINY, theta), x), 2 * logits(TINY, theta, x)) < 1e-13


@every_token
@pytest.mark.parametrize("one, other, position", [("fn-all", "fn", "after"), ("fn-inside", "fn", "before"),
                                                  ("ln", "ln-reduced", "after")])
def test_propositions_1_and_2_do_not_hold(one, other, position, token):
    models = [tiny(norm, position, token) for norm in (one, other)]
    theta, x, _ = draw(models[0], np.random.default_rng(9))
    assert difference(*(logits(model, theta, x) for model in models)) > 0.05


def test_pre_norm_and_post_norm_differ_but_without_norms():
    theta, x, _ = draw(TINY, np.random.default_rng(9))
    before, after = (logits(tiny("ln", position), theta, x) for position in ("before", "after"))
    assert difference(before, after) > 0.05
    np.testing.assert_array_equal(logits(tiny("none", "before"), theta, x), logits(tiny("none", "after"), theta, x))


# ---- what cannot be

@pytest.mark.parametrize("make, named", [
    (lambda: build("vit", *CIFAR, patch=5), ("--patch-size 5", "32x32")),
    (lambda: build("vit", 10, (32, 28, 1), patch=8), ("--patch-size 8", "32x28")),
    (lambda: build("vit", *CIFAR, patch=64), ("--patch-size 64", "32x32")),
    (lambda: build("vit", *CIFAR, patch=0), ("--patch-size 0",)),
    (lambda: build("vit", *CIFAR, token="last"), ("--vit-token 'last'", "class, mean")),
    (lambda: build("vit", *CIFAR, Arrangement("in")), ("--norm in", "--model vit")),
    (lambda: build("vit", *CIFAR, Arrangement("gn", groups=3)), ("--groups 3", "128", "block1.norm1")),
    (lambda: build("vit", *CIFAR, Arrangement("fn-all", "before")), ("fn-all", "--norm fn ", "--norm-position after")),
    (lambda: build("vit", *CIFAR, Arrangement("fn-inside")), ("--norm fn-inside", "--norm-position before")),
    (lambda: ViT(heads=3), ("3 heads", "128")),
    (lambda: ViT(depth=0), ("0 blocks",)),
])
def test_what_cannot_be_is_named(make, named):
    with pytest.raises(InputError) as caught:
        make().spec
    for word in named:
        assert word in str(caught.value)


@every_token
@pytest.mark.parametrize("norm, position", SAME)
def test_what_is_refused_as_the_same_is_the_same(norm, position, token, monkeypatch):
    assert {place: same for norm in NORMS for place in ((norm, "after"), (norm, "before"))
                    if (same := same_as(*place))} == SAME
    theta, x, labels = draw(tiny(SAME[norm, position], position, token), np.random.default_rng(10))
    monkeypatch.setattr(ViT, "_check", lambda self: None)
    for found, expected in zip(*(loss_and_grad(tiny(kind, position, token), theta, x, labels)
                                 for kind in (norm, SAME[norm, position]))):
        np.testing.assert_array_equal(found, expected)


def test_standardized_weights_are_those_of_the_patch_convolution():
    model = tiny(standardize=True)
    theta, x, _ = draw(model, np.random.default_rng(11))
    moved = theta.copy()
    moved[:, model.spec.slices["patch.weight"]] += 3
    np.testing.assert_allclose(logits(model, moved, x), logits(model, theta, x), rtol=1e-9)
    moved[:, model.spec.slices["block1.query.weight"]] += 3
    assert difference(logits(model, moved, x), logits(model, theta, x)) > 0.05


def test_the_cosine_head():
    model = tiny("fn", head="cosine")
    theta, x, _ = draw(model, np.random.default_rng(12))
    assert np.abs(logits(model, theta, x)).max() <= np.sqrt(6)   # |feature| = sqrt(6), |w| = 1
