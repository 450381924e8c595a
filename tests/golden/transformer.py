"""The vision transformer a second time, in PyTorch: its own multi-head attention, projections and all."""

import math

import torch
import torch.nn.functional as F

EPS = 1e-5
NORMS = {   # of each token: its last axis
    "identity": lambda x: x,
    "s": lambda x: x - x.mean(dim=-1, keepdim=True),
    "n": lambda x: math.sqrt(x.shape[-1]) * F.normalize(x, dim=-1, eps=EPS),
    "mv": lambda x: F.layer_norm(x, x.shape[-1:], eps=0.0),
}
KINDS = {   # --norm -> at the sums of post-norm, in the branches of pre-norm, last
    "none": ("identity", "identity", "identity"),
    "fn": ("identity", "identity", "n"),
    "fn-all": ("n", None, "n"),
    "fn-inside": (None, "n", "n"),
    "ln": ("mv", "mv", "mv"),
    "ln-reduced": ("s", None, "mv"),
}


class Transformer:
    """One client's network, its blocks p by name."""

    def __init__(self, case, p):
        self.case, self.p = case, p

    def running(self):
        return {}

    def eval(self):
        pass

    def logits(self, x):
        return transformer_logits(self.case, self.p, x)


def transformer_logits(case, p, x):
    """x (N, H, W, C) and one client's blocks by name -> (N, classes)."""
    options = case.arrangement
    first = options["position"] == "before"
    at_sums, in_branches, last = KINDS[options["norm"]]
    last_of_tokens = "identity" if last == "n" else last   # n stands on the feature

    def normed(x, kind, name):
        y = NORMS[kind](x)
        learnable = options["learnable"] and kind in ("n", "mv")
        return y * p[f"{name}.gain"] + p[f"{name}.bias"] if learnable else y

    kernel = p["patch.weight"].permute(3, 2, 0, 1)
    x = F.conv2d(x.permute(0, 3, 1, 2), kernel, p.get("patch.bias"), stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    if case.token == "class":
        x = torch.cat([p["class_token"].expand(len(x), 1, -1), x], dim=1)
    x = x + p["position"]
    for name in ("block1", "block2"):
        for norm, branch in (("norm1", attention), ("norm2", mlp)):
            if first:
                x = x + branch(case, p, name, normed(x, in_branches, f"{name}.{norm}"))
            else:
                kind = last_of_tokens if (name, norm) == ("block2", "norm2") and last != "n" else at_sums
                x = normed(x + branch(case, p, name, x), kind, f"{name}.{norm}")
    if first:
        x = normed(x, last_of_tokens, "tokens.norm")
    x = x[:, 0] if case.token == "class" else x.mean(dim=1)
    return dense(p, "classifier", normed(x, "n", "feature.norm") if last == "n" else x)


def dense(p, name, x):
    return F.linear(x, p[f"{name}.weight"].T, p.get(f"{name}.bias"))


def attention(case, p, name, x):
    """PyTorch's joint projection has a bias for the keys, too: 0."""
    d = x.shape[-1]
    weight = torch.cat([p[f"{name}.{part}.weight"].T for part in ("query", "key", "value")])
    query, value = (p.get(f"{name}.{part}.bias") for part in ("query", "value"))
    bias = None if query is None else torch.cat([query, torch.zeros_like(query), value])
    t = x.transpose(0, 1)
    y, _ = F.multi_head_attention_forward(t, t, t, d, case.heads, weight, bias, None, None, False, 0.0,
                                          p[f"{name}.out.weight"].T, p.get(f"{name}.out.bias"), need_weights=False)
    return y.transpose(0, 1)


def mlp(case, p, name, x):
    act = {"relu": F.relu, "gelu": F.gelu}[case.arrangement["activation"]]
    return dense(p, f"{name}.mlp2", act(dense(p, f"{name}.mlp1", x)))
