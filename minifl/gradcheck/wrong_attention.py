"""Wrong backward passes of attention, of the tokens of a sequence, and of the vision transformer's blocks."""

from typing import Any

from minifl.backend import Array, get_xp
from minifl.layers import attention, tokens
from minifl.models.blocks import dense_backward, normalize_backward


# --- attention ---------------------------------------------------------------------------------------------

def _dp(do, cache):
    """(do by heads, dp)."""
    q, k, v, p = cache
    do = attention._split(do, q.shape[2])
    return do, do @ get_xp(do).swapaxes(v, 3, 4)


def _from_dz(do, cache, dz):
    """(dq, dk, dv) if dz were the gradient of the scaled scores."""
    q, k, v, p = cache
    dz = attention._scale(q) * dz
    return (attention._join(dz @ k), attention._join(get_xp(dz).swapaxes(dz, 3, 4) @ q),
            attention.attention_backward(do, cache)[2])


def softmax_without_mean(do: Array, cache: Any) -> tuple:
    p = cache[3]
    _, dp = _dp(do, cache)
    return _from_dz(do, cache, p * dp)


def softmax_along_queries(do: Array, cache: Any) -> tuple:
    p = cache[3]
    _, dp = _dp(do, cache)
    return _from_dz(do, cache, p * (dp - (p * dp).sum(axis=3, keepdims=True)))


def softmax_unweighted_mean(do: Array, cache: Any) -> tuple:
    p = cache[3]
    _, dp = _dp(do, cache)
    return _from_dz(do, cache, p * (dp - dp.mean(axis=4, keepdims=True)))


def softmax_forgotten(do: Array, cache: Any) -> tuple:
    _, dp = _dp(do, cache)
    return _from_dz(do, cache, dp)


def scale_forgotten(do: Array, cache: Any) -> tuple:
    dq, dk, dv = attention.attention_backward(do, cache)
    scale = attention._scale(cache[0])
    return dq / scale, dk / scale, dv


def scale_of_all_heads(do: Array, cache: Any) -> tuple:
    dq, dk, dv = attention.attention_backward(do, cache)
    ratio = cache[0].shape[2] ** -0.5
    return dq * ratio, dk * ratio, dv


def query_and_key_exchanged(do: Array, cache: Any) -> tuple:
    dq, dk, dv = attention.attention_backward(do, cache)
    return dk, dq, dv


def key_untransposed(do: Array, cache: Any) -> tuple:
    q, k, v, p = cache
    _, dp = _dp(do, cache)
    dz = attention._scale(q) * p * (dp - (p * dp).sum(axis=4, keepdims=True))
    dq, _, dv = attention.attention_backward(do, cache)
    return dq, attention._join(dz @ q), dv


def value_untransposed(do: Array, cache: Any) -> tuple:
    dq, dk, _ = attention.attention_backward(do, cache)
    return dq, dk, attention._join(cache[3] @ attention._split(do, cache[0].shape[2]))


def weights_detached(do: Array, cache: Any) -> tuple:
    dq, dk, dv = attention.attention_backward(do, cache)
    return dq * 0, dk * 0, dv


def heads_interleaved(do: Array, cache: Any) -> tuple:
    heads = cache[0].shape[2]
    order = [i for h in range(heads) for i in range(h, do.shape[3], heads)]
    return attention.attention_backward(do[..., order], cache)


# --- tokens ------------------------------------------------------------------------------------------------

def position_mean(dy: Array, cache: Any) -> tuple:
    return dy, dy.mean(axis=1)


def position_clients_summed(dy: Array, cache: Any) -> tuple:
    total = dy.sum(axis=1)
    return dy, total * 0 + total.sum(axis=0)


def position_one_place_off(dy: Array, cache: Any) -> tuple:
    return dy, get_xp(dy).roll(dy.sum(axis=1), 1, axis=1)


def token_first_example(dy: Array, cache: Any) -> tuple:
    return dy[:, :, 1:], dy[:, 0, 0]


def token_clients_summed(dy: Array, cache: Any) -> tuple:
    dx, dtoken = tokens.prepend_token_backward(dy, cache)
    return dx, dtoken * 0 + dtoken.sum(axis=0)


def token_taken_for_the_last(dy: Array, cache: Any) -> tuple:
    return dy[:, :, :-1], dy[:, :, -1].sum(axis=1)


def first_token_spread(dy: Array, cache: Any) -> Array:
    return get_xp(dy).broadcast_to(dy[:, :, None] / cache[2], cache)


def first_token_last(dy: Array, cache: Any) -> Array:
    return tokens.first_token_backward(dy, cache)[:, :, ::-1]


# --- the vision transformer --------------------------------------------------------------------------------

def _block_backward(joined):
    """ViT._block_backward with joined(dy, d_sum, branch) for d_sum + branch, d_sum being dy behind the norm."""
    def wrong(self, block, dy, cache, g):
        arr, name = self.arrangement, block.name
        before1, attend, after1, before2, mlp, after2 = cache
        d_sum = normalize_backward(arr, dy, after2, g, f"{name}.norm2", block.after2)
        d = self._mlp_backward(name, d_sum, mlp, g)
        dy = joined(dy, d_sum, normalize_backward(arr, d, before2, g, f"{name}.norm2", block.before))
        d_sum = normalize_backward(arr, dy, after1, g, f"{name}.norm1", block.after1)
        d = self._attend_backward(name, d_sum, attend, g)
        return joined(dy, d_sum, normalize_backward(arr, d, before1, g, f"{name}.norm1", block.before))

    return wrong


shortcut_dropped = _block_backward(lambda dy, d_sum, branch: branch)
branch_dropped = _block_backward(lambda dy, d_sum, branch: d_sum)
shortcut_around_the_norm = _block_backward(lambda dy, d_sum, branch: dy + branch)


def key_not_added(self: Any, name: str, dy: Array, cache: Any, g: dict) -> Array:
    query, key, value, meet, out = cache
    d = dense_backward(dy, out, g, f"{name}.out")
    dq, dk, dv = (a.reshape(d.shape) for a in
                  attention.attention_backward(d.reshape(len(d), -1, self._tokens, self.dim), meet))
    dense_backward(dk, key, g, f"{name}.key")
    return dense_backward(dq, query, g, f"{name}.query") + dense_backward(dv, value, g, f"{name}.value")
