"""CNN, MLP and residual network a second time, in PyTorch and NCHW, from the paper's description (Table 7, eq. 10)."""

import torch.nn.functional as F
from torch import nn

from pytorch_layers import (EPS, LAYER, feature_norm, group_norm, instance_norm, mv_norm, nchw, nhwc, per_channel,
                            rms_norm, shift, standardize, unit_columns)

# --norm -> at the activations of the main path, at the last one, inside the branches of residual blocks
KINDS = {
    "none": (None, None, None),
    "fn": (None, feature_norm, None),
    "fn-all": (feature_norm, feature_norm, None),
    "fn-inside": (None, feature_norm, feature_norm),
    "fn-mv-inside": (None, feature_norm, mv_norm),
    "ln": (mv_norm, mv_norm, mv_norm),
    "ln-reduced": (shift, mv_norm, mv_norm),
    "gn": (group_norm, group_norm, group_norm),
    "in": (instance_norm, None, instance_norm),
    "rms": (rms_norm, rms_norm, rms_norm),
    "bn": (nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm2d),
}


class Client:
    """One client's network on its way through a batch: its blocks p by name, and its batch norms, which stay as long
    as it does."""

    def __init__(self, case, p):
        self.case, self.p, self.options, self.batch_norms = case, p, case.arrangement, {}
        self.main, self.last, self.branch = KINDS[self.options["norm"]]
        act = self.options["activation"]
        self.act = {"relu": F.relu, "leaky-relu": F.leaky_relu}[act] if "relu" in act else LAYER[act]

    def eval(self):
        for module in self.batch_norms.values():
            module.eval()

    def running(self):
        """Running means and variances by name."""
        return {f"{name}.{which}": buffer for name, module in self.batch_norms.items()
                for which, buffer in (("mean", module.running_mean), ("variance", module.running_var))}

    def batch_norm(self, x, name):
        if name not in self.batch_norms:
            kind = nn.BatchNorm1d if x.ndim == 2 else nn.BatchNorm2d
            self.batch_norms[name] = kind(x.shape[1], eps=EPS, momentum=0.1, affine=False).double()
        return self.batch_norms[name](x)

    def norm(self, x, name, kind):
        """x (N, C) or (N, C, H, W); instance norm leaves vectors alone."""
        if kind is None or (kind is instance_norm and x.ndim == 2):
            return x
        if kind is nn.BatchNorm2d:
            y = self.batch_norm(x, name)
        else:
            y = kind(x, groups=self.options["groups"]) if kind is group_norm else kind(x)
        if not self.options["learnable"] or kind is shift:
            return y
        return per_channel(y, self.p[f"{name}.gain"], self.p[f"{name}.bias"])

    def activation(self, x, name, kind):
        """With its norm after or before it."""
        if self.options["position"] == "after":
            return self.norm(self.act(x), name, kind)
        return self.act(self.norm(x, name, kind))

    def bias(self, name):
        wanted = {"none": False, "hidden": name != "classifier", "all": True}[self.options["bias"]]
        return self.p[f"{name}.bias"] if wanted else None

    def conv(self, x, name, **options):
        weight = self.p[f"{name}.weight"]
        weight = standardize(weight) if self.options["standardize"] else weight
        return F.conv2d(x, weight.permute(3, 2, 0, 1), self.bias(name), **options)

    def dense(self, x, name):
        return F.linear(x, self.p[f"{name}.weight"].T, self.bias(name))

    def classifier(self, x):
        weight = self.p["classifier.weight"]
        weight = unit_columns(weight) if self.options["head"] == "cosine" else weight
        return F.linear(x, weight.T, self.bias("classifier"))


class Sequential(Client):
    """Two 5x5 convolutions with max-pooling, none for an MLP, then dense layers."""

    def logits(self, x):
        """x (N, H, W, C) -> (N, classes)."""
        if self.case.channels:
            x = nchw(x)
            for i in (1, 2):
                x = F.max_pool2d(self.activation(self.conv(x, f"conv{i}"), f"norm{i}", self.main), 2)
            x = nhwc(x)
        x = x.flatten(1)
        count = len(self.case.widths)
        for i in range(1, count + 1):
            kind = self.last if i == count else self.main
            x = self.activation(self.dense(x, f"dense{i}"), f"dense{i}.norm", kind)
        return self.classifier(x)


class Residual(Client):
    """A 3x3 stem, stages of basic blocks, average pooling; FN's norm stands on the pooled feature."""

    def logits(self, x):
        """x (N, H, W, C) -> (N, classes)."""
        x = self.activation(self.conv(nchw(x), "stem", padding=1), "stem.norm", self.main)
        stages = self.case.blocks
        for stage, count in enumerate(stages, start=1):
            for block in range(1, count + 1):
                last = (stage, block) == (len(stages), count) and self.last is not feature_norm
                x = self.block(x, f"stage{stage}.block{block}", 2 if stage > 1 and block == 1 else 1,
                               self.last if last else self.main)
        x = nhwc(F.avg_pool2d(x, self.case.pool)).flatten(1)
        return self.classifier(self.norm(x, "feature.norm", feature_norm) if self.last is feature_norm else x)

    def block(self, x, name, stride, end):
        y = self.activation(self.conv(x, f"{name}.conv1", stride=stride, padding=1), f"{name}.norm1", self.branch)
        y = self.conv(y, f"{name}.conv2", padding=1)
        if stride > 1:   # every stage has a width of its own here
            x = self.conv(x, f"{name}.shortcut", stride=stride)
        return self.activation(x + y, f"{name}.norm2", end)
