"""A small vision transformer (Dosovitskiy et al. 2021, eq. 1-4): patches as tokens, attention, MLPs, the classifier.

    patch          conv of the patch's size and stride -> D: the pixels of its map, row by row, are the tokens
    class_token    with token = "class" a learned token is put before them
    position       a learned vector for each place is added
    block          x = x + out(attention(query(x), key(x), value(x)));  x = x + mlp2(act(mlp1(x))), ratio*D hidden units
    pool           the class token, or with token = "mean" the mean of all tokens; then the classifier

D = dim. All linear layers and norms treat a token as an example of its own, so that within the blocks activations are
(K, N*T, D) for T tokens: layer norm is one token's, and batch norm's statistics are a client's over its N*T tokens.

    --norm-position   a branch f                        kinds, from minifl/models/arrangement.py
    after             x = norm(x + f(x)), post-norm     main path; the last block's second is the network's last
    before            x = x + f(norm(x)), pre-norm      branch; and the network's last on the tokens behind the blocks
Where the network's last norm is n, feature norm, it stands on the feature instead, right before the classifier.

This network is not scale equivariant (see `attention`), so its fn-all is not its fn. --standardize-weights is about
`patch`, the only convolution. Linear layers have biases as --bias says, but `key` never: a bias b would change all
scores of a query q by the same q.b/sqrt(d), which softmax does not see.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from minifl.errors import InputError, unknown
from minifl.layers.attention import attention, attention_backward
from minifl.layers.pool import global_avg_pool, global_avg_pool_backward
from minifl.layers.tokens import (add_position, add_position_backward, first_token, first_token_backward, prepend_token,
                                  prepend_token_backward)
from minifl.models.arrangement import Arrangement
from minifl.models.blocks import (activate, activate_backward, classify, classify_backward, convolve, convolve_backward,
                                  dense, dense_backward, normalize, normalize_backward)
from minifl.models.network import Network, Row, conv_row, dense_row, norm_rows, unit_row, weight_entries
from minifl.models.norms import same_places
from minifl.params import Entry

TOKENS = ("class", "mean")


def same_as(norm: str, position: str) -> str | None:
    """The norm before it in NORMS that stands at the same places here, where one of its places is not used."""
    return same_places(norm, ("main" if position == "after" else "branch", "last"))


class Block(NamedTuple):
    """A transformer block: the kinds of the norms before its two branches, and behind the first and the second sum."""
    name: str
    before: str
    after1: str
    after2: str


@dataclass(frozen=True)
class ViT(Network):
    """The network for images of image_shape (H, W, C0), cut into squares of `patch` pixels a side.

    plan raises InputError if these do not tile the images, if the heads, or the groups of group norm, do not divide
    dim, or for an arrangement that makes no sense here.
    """
    num_classes: int = 10
    image_shape: tuple = (32, 32, 3)
    patch: int = 4
    dim: int = 128
    depth: int = 4
    heads: int = 4
    ratio: int = 2
    token: str = "class"
    arrangement: Arrangement = field(default_factory=Arrangement)
    maps = False      # tokens are vectors
    activation = "gelu"

    @classmethod
    def at_width(cls, width: float, **fields):
        """Heads keep their number."""
        return cls(dim=cls.heads * max(1, round(width * cls.dim / cls.heads)), **fields)

    @cached_property
    def _tokens(self):
        """T, the length of the sequence."""
        height, width = self.image_shape[:2]
        return (height // self.patch) * (width // self.patch) + (self.token == "class")

    @cached_property
    def _blocks(self):
        arr = self.arrangement
        names = [f"block{b}" for b in range(1, self.depth + 1)]
        if arr.position == "before":
            return tuple(Block(name, arr.branch, "identity", "identity") for name in names)
        blocks = [Block(name, "identity", arr.main, arr.main) for name in names]
        last = arr.main if arr.last == "n" else arr.last
        return (*blocks[:-1], blocks[-1]._replace(after2=last))

    @cached_property
    def _tokens_norm(self):
        """The norm on the tokens behind the last block."""
        arr = self.arrangement
        return arr.last if arr.position == "before" and arr.last != "n" else "identity"

    @cached_property
    def _feature_norm(self):
        """The norm of the pooled feature: n if it is the network's last one."""
        return "n" if self.arrangement.last == "n" else "identity"

    @cached_property
    def plan(self):
        self._check()
        arr, shape = self.arrangement, (self._tokens, self.dim)
        rows = [conv_row(arr, "patch", self.image_shape, self.patch, self.dim, stride=self.patch)]
        if self.token == "class":
            entry = Entry("class_token", (self.dim,), fan_in=self.dim)
            rows.append(Row("class_token", "prepend_token", shape, "before the others", (entry,)))
        rows.append(Row("position", "add_position", shape, "added", (Entry("position", shape, fan_in=self.dim),)))
        for block in self._blocks:
            rows += self._block_rows(block, shape)
        rows += norm_rows(arr, "tokens.norm", shape, self._tokens_norm)
        shape = (self.dim,)
        kind, what = (("first_token", "the class token") if self.token == "class" else
                      ("global_avg_pool", "mean of the tokens"))
        rows.append(Row("pool", kind, shape, what))
        rows += norm_rows(arr, "feature.norm", shape, self._feature_norm)
        return (*rows, dense_row(arr, "classifier", shape, self.num_classes, classifier=True))

    def forward(self, p, x):
        """x (K, N, H, W, C) and the named views p of theta -> logits (K, N, num_classes), cache."""
        arr = self.arrangement
        a, patch = convolve(arr, x, p, "patch", stride=self.patch)
        grid = a.shape
        a = a.reshape(*grid[:2], -1, self.dim)
        if self.token == "class":
            a, _ = prepend_token(a, p["class_token"])
        a, _ = add_position(a, p["position"])
        sequence = a.shape
        a = a.reshape(len(a), -1, self.dim)
        blocks = []
        for block in self._blocks:
            a, cache = self._block(block, a, p)
            blocks.append(cache)
        a, tokens = normalize(arr, a, p, "tokens.norm", self._tokens_norm)
        a, pool = first_token(a.reshape(sequence)) if self.token == "class" else global_avg_pool(a.reshape(grid))
        a, feature = normalize(arr, a, p, "feature.norm", self._feature_norm)
        logits, classifier = classify(arr, a, p)
        return logits, (patch, grid, sequence, blocks, tokens, pool, feature, classifier)

    def backward(self, dlogits, cache, dfeature=0):
        """dL/dlogits -> the gradient of every parameter block by name, in mirrored order.

        dfeature (K, N, D): what the loss adds to the feature's gradient besides what comes through the logits.
        """
        arr = self.arrangement
        patch, grid, sequence, blocks, tokens, pool, feature, classifier = cache
        g = {}
        d = classify_backward(arr, dlogits, classifier, g) + dfeature
        d = normalize_backward(arr, d, feature, g, "feature.norm", self._feature_norm)
        d = first_token_backward(d, pool) if self.token == "class" else global_avg_pool_backward(d, pool)
        d = normalize_backward(arr, d.reshape(len(d), -1, self.dim), tokens, g, "tokens.norm", self._tokens_norm)
        for block, cache in zip(reversed(self._blocks), reversed(blocks)):
            d = self._block_backward(block, d, cache, g)
        d, g["position"] = add_position_backward(d.reshape(sequence), None)
        if self.token == "class":
            d, g["class_token"] = prepend_token_backward(d, None)
        convolve_backward(arr, d.reshape(grid), patch, g, "patch", input_gradient=False)
        return g

    def _block(self, block, x, p):
        """Both norms of a branch have the same name: one of them is the identity, as --norm-position says."""
        arr, name = self.arrangement, block.name
        a, before1 = normalize(arr, x, p, f"{name}.norm1", block.before)
        a, attend = self._attend(name, a, p)
        x, after1 = normalize(arr, x + a, p, f"{name}.norm1", block.after1)
        a, before2 = normalize(arr, x, p, f"{name}.norm2", block.before)
        a, mlp = self._mlp(name, a, p)
        x, after2 = normalize(arr, x + a, p, f"{name}.norm2", block.after2)
        return x, (before1, attend, after1, before2, mlp, after2)

    def _block_backward(self, block, dy, cache, g):
        """Each sum hands its gradient to both sides: s = x + f(x)  =>  dx = ds + f'(ds)."""
        arr, name = self.arrangement, block.name
        before1, attend, after1, before2, mlp, after2 = cache
        d_sum = normalize_backward(arr, dy, after2, g, f"{name}.norm2", block.after2)
        d = self._mlp_backward(name, d_sum, mlp, g)
        d = d_sum + normalize_backward(arr, d, before2, g, f"{name}.norm2", block.before)
        d_sum = normalize_backward(arr, d, after1, g, f"{name}.norm1", block.after1)
        d = self._attend_backward(name, d_sum, attend, g)
        return d_sum + normalize_backward(arr, d, before1, g, f"{name}.norm1", block.before)

    def _attend(self, name, x, p):
        """Only here tokens meet: (K, N*T, D) is read as (K, N, T, D)."""
        sequence = (len(x), -1, self._tokens, self.dim)
        q, query = dense(x, p, f"{name}.query")
        k, key = dense(x, p, f"{name}.key")
        v, value = dense(x, p, f"{name}.value")
        a, meet = attention(q.reshape(sequence), k.reshape(sequence), v.reshape(sequence), heads=self.heads)
        a, out = dense(a.reshape(x.shape), p, f"{name}.out")
        return a, (query, key, value, meet, out)

    def _attend_backward(self, name, dy, cache, g):
        """x is query, key and value at once: dx is the sum of what comes back from the three."""
        query, key, value, meet, out = cache
        d = dense_backward(dy, out, g, f"{name}.out")
        dq, dk, dv = attention_backward(d.reshape(len(d), -1, self._tokens, self.dim), meet)
        return (dense_backward(dq.reshape(d.shape), query, g, f"{name}.query")
                + dense_backward(dk.reshape(d.shape), key, g, f"{name}.key")
                + dense_backward(dv.reshape(d.shape), value, g, f"{name}.value"))

    def _mlp(self, name, x, p):
        a, mlp1 = dense(x, p, f"{name}.mlp1")
        a, act = activate(self.arrangement, a)
        a, mlp2 = dense(a, p, f"{name}.mlp2")
        return a, (mlp1, act, mlp2)

    def _mlp_backward(self, name, dy, cache, g):
        mlp1, act, mlp2 = cache
        d = dense_backward(dy, mlp2, g, f"{name}.mlp2")
        d = activate_backward(self.arrangement, d, act)
        return dense_backward(d, mlp1, g, f"{name}.mlp1")

    def _block_rows(self, block, shape):
        arr, name, (tokens, dim) = self.arrangement, block.name, shape
        query, value, out, mlp1 = (dense_row(arr, f"{name}.{part}", shape, units) for part, units in
                                   (("query", dim), ("value", dim), ("out", dim), ("mlp1", self.ratio * dim)))
        key = query._replace(name=f"{name}.key", entries=weight_entries(f"{name}.key", (dim, dim), bias=False))
        meet = Row(f"{name}.attention", "attention", shape, f"{self.heads} heads", flops=2 * 2 * tokens * tokens * dim)
        act = unit_row(arr, f"{name}.act", mlp1.shape, "identity")._replace(kind="activate")
        mlp2 = dense_row(arr, f"{name}.mlp2", mlp1.shape, dim)
        return (*norm_rows(arr, f"{name}.norm1", shape, block.before), query, key, value, meet, out,
                *norm_rows(arr, f"{name}.norm1", shape, block.after1),
                *norm_rows(arr, f"{name}.norm2", shape, block.before), mlp1, act, mlp2,
                *norm_rows(arr, f"{name}.norm2", shape, block.after2))

    def _check(self):
        arr, (height, width) = self.arrangement, self.image_shape[:2]
        if self.token not in TOKENS:
            raise unknown("--vit-token", self.token, TOKENS)
        if self.patch < 1 or height % self.patch or width % self.patch:
            raise InputError(f"--patch-size {self.patch} does not tile images of {height}x{width} pixels; it must "
                             "divide both sides.")
        if min(self.dim, self.depth, self.heads, self.ratio) < 1 or self.dim % self.heads:
            raise InputError(f"--model vit cannot have {self.dim} features, {self.heads} heads, {self.depth} blocks "
                             f"and ratio {self.ratio}; all must be at least 1, and the heads must divide the features.")
        self.check_arrangement()
        if same := same_as(arr.norm, arr.position):
            other = "before" if arr.position == "after" else "after"
            raise InputError(f"--norm {arr.norm} with --norm-position {arr.position} is the same as --norm {same} in "
                             f"--model vit; choose that, or --norm-position {other}.")
