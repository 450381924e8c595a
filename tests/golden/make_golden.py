"""Write PyTorch's answers to the cases of golden_cases.py: layers.npz, networks.npz, sgd.npz, beside it.

    python tests/golden/make_golden.py        (needs PyTorch; CPU, float64)

Layers are PyTorch's own functions, gradients its autograd; the networks are written here a second time, from
the paper's description, in its literal order (convolution, activation with its norm, pooling), in PyTorch's
NCHW. Tensors are leaves in minifl's layout and are transposed inside the graph, so gradients come out in that
layout too. Each client is computed alone and the results are stacked.
"""

import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import numpy as np                                                              # noqa: E402
import torch                                                                    # noqa: E402
import torch.nn.functional as F                                                 # noqa: E402

from golden_cases import LAYERS, NETWORKS, SGD, Transformer, condensed, uniform # noqa: E402
from minifl.atomic import replacing                                             # noqa: E402
from transformer import transformer_logits                                      # noqa: E402

EPS = 1e-5


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def on_map(f):
    """f on NCHW maps -> f on NHWC maps."""
    return lambda x, **options: nhwc(f(nchw(x), **options))


# --- layers -------------------------------------------------------------------------------------------------

def linear(x, weight, bias=None):
    return F.linear(x, weight.T, bias)


def conv2d(x, weight, bias=None, *, stride=1, padding=0):
    return nhwc(F.conv2d(nchw(x), weight.permute(3, 2, 0, 1), bias, stride=stride, padding=padding))


def max_pool2d(x, *, size=2, stride=None):
    return F.max_pool2d(x, size, stride)


def avg_pool2d(x, *, size=2, stride=None):
    return F.avg_pool2d(x, size, stride)


def global_avg_pool(x):
    return F.adaptive_avg_pool2d(nchw(x), 1).flatten(1)


def shift(x):
    """Each example minus its mean over everything."""
    return x - x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)


def feature_norm(x, *, eps=EPS):
    v = x.flatten(1)
    return (math.sqrt(v.shape[1]) * F.normalize(v, dim=1, eps=eps)).view_as(x)


def mv_norm(x, *, eps=EPS):
    """PyTorch's layer norm without eps; where the clamp acts, its F.normalize of the centred example."""
    if shift(x).flatten(1).norm(dim=1).min() > eps:
        return F.layer_norm(x, x.shape[1:], eps=0.0)
    return feature_norm(shift(x), eps=eps)


def group_norm(x, *, groups):
    """PyTorch's group norm without eps. x (N, C) or (N, C, H, W).

    Where a group is constant (ReLU left nothing of it) the clamp acts, as in mv_norm.
    """
    v = x.reshape(x.shape[0] * groups, -1)
    if shift(v).norm(dim=1).min() > EPS:
        return F.group_norm(x, groups, eps=0.0)
    return mv_norm(v).view_as(x)


def per_channel(x, gain, bias):
    """x (N, C) or (N, C, H, W)."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    return x * gain.view(shape) + bias.view(shape)


def layer_norm(x, gain, bias):
    if x.ndim == 2:
        return F.layer_norm(x, x.shape[1:], gain, bias, eps=EPS)
    v = nchw(x)
    return nhwc(per_channel(F.layer_norm(v, v.shape[1:], eps=EPS), gain, bias))


def affine(x, gain, bias):
    return per_channel(x, gain, bias) if x.ndim == 2 else nhwc(per_channel(nchw(x), gain, bias))


def decorrelation(z, *, eps=1e-8):
    """The correlations are products of features that layer norm has standardized over the examples."""
    n, d = z.shape
    h = F.layer_norm(z.T, (n,), eps=eps)
    return ((h @ h.T / n) ** 2).sum() / d**2


def positive_hinge(feature, weight, labels, *, margin=0.9):
    return (F.relu(margin - F.cosine_similarity(feature, weight.T[labels])) ** 2).mean()


def spreadout(weight, *, margin=1.0):
    distance = 1 - F.cosine_similarity(weight.T[:, None], weight.T[None], dim=2)
    different = ~torch.eye(weight.shape[1], dtype=torch.bool)
    return (F.relu(margin - distance)[different] ** 2).sum()


def attention(q, k, v, *, heads):
    q, k, v = (a.unflatten(2, (heads, -1)).transpose(1, 2) for a in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


LAYER = {
    "linear": linear,
    "conv2d": conv2d,
    "flatten": lambda x: x.flatten(1),
    "relu": F.relu,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "softmax_cross_entropy": F.cross_entropy,
    "max_pool2d": on_map(max_pool2d),
    "avg_pool2d": on_map(avg_pool2d),
    "global_avg_pool": global_avg_pool,
    "shift": shift,
    "feature_norm": feature_norm,
    "mv_norm": mv_norm,
    "group_norm": lambda x, groups: (group_norm if x.ndim == 2 else on_map(group_norm))(x, groups=groups),
    "layer_norm": layer_norm,
    "affine": affine,
    "decorrelation": decorrelation,
    "positive_hinge": positive_hinge,
    "spreadout": spreadout,
    "attention": attention,
    "add_position": lambda x, position: x + position,
    "prepend_token": lambda x, token: torch.cat([token.expand(len(x), 1, -1), x], dim=1),
    "first_token": lambda x: x[:, 0],
}


def layer_answers(name, case):
    """y and the gradient of each argument, each (K, ...), for a drawn cotangent."""
    inputs = case.inputs(name)
    clients = []
    for k in range(len(next(iter(inputs.values())))):
        tensors = [torch.tensor(a[k], requires_grad=a.dtype.kind == "f") for a in inputs.values()]
        clients.append((tensors, LAYER[case.layer](*tensors, **case.options)))
    y = torch.stack([y for _, y in clients])
    dy = torch.tensor(uniform(f"{name}.dy", tuple(y.shape)))
    for (_, y_k), dy_k in zip(clients, dy):
        y_k.backward(dy_k)
    answers = {"y": y.detach().numpy()}
    for i, tensor in enumerate(inputs):
        if clients[0][0][i].requires_grad:
            answers[f"d{tensor}"] = torch.stack([tensors[i].grad for tensors, _ in clients]).numpy()
    return answers


# --- networks -----------------------------------------------------------------------------------------------

INNER_AND_LAST = {
    "none": (None, None),
    "fn": (None, feature_norm),
    "fn-all": (feature_norm, feature_norm),
    "ln": (mv_norm, mv_norm),
    "ln-reduced": (shift, mv_norm),
    "gn": (group_norm, group_norm),
}


def activation_with_norm(x, p, name, last, *, norm, position, learnable, groups, activation, **_):
    """x (N, C) or (N, C, H, W); the norm is after or before the activation."""
    act = F.relu if activation == "relu" else F.leaky_relu
    kind = INNER_AND_LAST[norm][last]
    if kind is None:
        return act(x)

    def normalized(v):
        v = kind(v, groups=groups) if kind is group_norm else kind(v)
        if not learnable or kind is shift:
            return v
        return per_channel(v, p[f"{name}.gain"], p[f"{name}.bias"])

    return normalized(act(x)) if position == "after" else act(normalized(x))


def logits_of(case, p, x):
    """x (N, H, W, C) and one client's blocks by name -> (N, classes)."""
    if isinstance(case, Transformer):
        return transformer_logits(case, p, x)
    options = case.arrangement
    hidden_bias, classifier_bias = options["bias"] != "none", options["bias"] == "all"
    if case.channels:
        x = nchw(x)
        for i in (1, 2):
            kernel = p[f"conv{i}.weight"].permute(3, 2, 0, 1)
            x = F.conv2d(x, kernel, p[f"conv{i}.bias"] if hidden_bias else None)
            x = activation_with_norm(x, p, f"norm{i}", False, **options)
            x = F.max_pool2d(x, 2)
        x = nhwc(x)
    x = x.flatten(1)
    for i in range(1, len(case.widths) + 1):
        x = F.linear(x, p[f"dense{i}.weight"].T, p[f"dense{i}.bias"] if hidden_bias else None)
        x = activation_with_norm(x, p, f"dense{i}.norm", i == len(case.widths), **options)
    return F.linear(x, p["classifier.weight"].T, p["classifier.bias"] if classifier_bias else None)


def leaves(blocks, k):
    return {name: torch.tensor(block[k], requires_grad=True) for name, block in blocks.items()}


def stack(clients, name):
    return torch.stack([client[name] for client in clients]).detach().numpy()


def network_answers(name, case):
    """Logits, loss, and the gradient of every block, each (K, ...)."""
    blocks = case.parameters(name)
    clients = []
    for k, (x, y) in enumerate(zip(*map(torch.tensor, case.batch(name)))):
        p = leaves(blocks, k)
        logits = logits_of(case, p, x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        clients.append({"logits": logits, "loss": loss} | {f"grad {b}": leaf.grad for b, leaf in p.items()})
    return {tensor: stack(clients, tensor) for tensor in clients[0]}


def sgd_answers(name, case):
    """Losses (K, E) before each step, and every block after the last, (K, ...)."""
    blocks = case.parameters(name)
    clients = []
    for x, y in zip(*map(torch.tensor, case.batch(name))):
        p = leaves(blocks, 0)
        optimizer = torch.optim.SGD(p.values(), lr=case.lr)
        losses = []
        for x_step, y_step in zip(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(logits_of(case, p, x_step), y_step)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        clients.append({"losses": torch.stack(losses)} | {f"after {b}": leaf for b, leaf in p.items()})
    return {tensor: stack(clients, tensor) for tensor in clients[0]}


def write(file, cases, answers_of):
    arrays = {"made_by": np.array(f"PyTorch {torch.__version__}, python tests/golden/make_golden.py")}
    for name, case in cases.items():
        for tensor, answer in condensed(answers_of(name, case)).items():
            if answer.dtype != np.float64 or not np.isfinite(answer).all():
                raise ArithmeticError(f"{name}, {tensor}: not finite float64")
            arrays[f"{name}/{tensor}"] = np.ascontiguousarray(answer)
    with replacing(HERE / file) as f:
        np.savez_compressed(f, **arrays)
    size = (HERE / file).stat().st_size
    print(f"{file}: {len(cases)} cases, {len(arrays) - 1} tensors, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write("layers.npz", LAYERS, layer_answers)
    write("networks.npz", NETWORKS, network_answers)
    write("sgd.npz", SGD, sgd_answers)
