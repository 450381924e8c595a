"""A norm and a network of one's own: what is asked of them, in the words of an error, and their entries in our tables.

A norm is a pair in one file, my_norm(x) -> y, cache and my_norm_backward(dy, cache) -> dx, arrays (K, N, ...) of any float
or complex type. Where norms are learnable a gain and a bias stand behind it; my_norm(x, gain, bias) has its own, (K, C), and
its backward returns their gradients after dx. It stands at every activation, or where the file says:
where = {"my_norm": ("last",)}, of main, last and branch.

A network is a class made from minifl.models.network.Network, a frozen dataclass as minifl/models/mlp.py.
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass

import numpy as np

from minifl import own
from minifl.errors import InputError
from minifl.models import MODELS, Arrangement, Model, loss_and_grad
from minifl.models.network import Network
from minifl.models.norms import KINDS, NORMS, Kind, Norm

PLACES = ("main", "last", "branch")
SHAPES = ((2, 3, 4, 4, 6), (2, 3, 6))     # a map's and a vector's, on which a norm is tried
IMAGE, CLASSES = (32, 32, 3), 3           # on which a network is tried


def norm_of_ones_own(forward: Callable) -> Norm:
    """The entry of a norm. Raises InputError for what is missing or of the wrong form."""
    if not inspect.isfunction(forward):
        raise InputError(f"is {type(forward).__name__}; it must be a function, f(x) -> y, cache, beside f_backward.")
    name, scope = forward.__name__, forward.__globals__
    backward = scope.get(f"{name}_backward")
    if not callable(backward):
        raise InputError(f"its file has no function {name}_backward(dy, cache), which returns dL/dx.")
    places = scope.get("where", {}).get(name, PLACES)
    if not places or not set(places) <= set(PLACES):
        raise InputError(f"where says {places!r} of it; it must be some of {', '.join(PLACES)}.")
    kind = Kind(forward, backward, gain="own" if "gain" in inspect.signature(forward).parameters else True)
    for shape in SHAPES:
        _try_norm(kind, np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    key = f"{scope.get('__file__', '')}:{name}"
    KINDS[key] = kind
    return Norm(*(key if place in places else "identity" for place in PLACES), f"of {scope.get('__file__', 'your own')}")


def _try_norm(kind, x):
    name = kind.forward.__name__
    affine = (np.ones(x.shape[::len(x.shape) - 1], x.dtype),) * 2 if kind.gain == "own" else ()
    found = kind.forward(x, *affine)
    if not isinstance(found, tuple) or len(found) != 2:
        raise InputError(f"returns {type(found).__name__}; it must return y, cache.")
    y, cache = found
    back = kind.backward(y, cache)
    blocks = back if isinstance(back, tuple) else (back,)
    if len(blocks) != 1 + len(affine):
        wanted = "dx, dgain, dbias" if affine else "dx"
        raise InputError(f"{name}_backward returns {len(blocks)} arrays; it must return {wanted}.")
    for what, array, like in (("y", y, x), *zip((f"dx of {name}_backward", "dgain", "dbias"), blocks, (x, *affine))):
        if getattr(array, "shape", None) != like.shape or array.dtype != like.dtype:
            said = f"{array.dtype} {array.shape}" if hasattr(array, "shape") else type(array).__name__
            raise InputError(f"{what} is {said} for x {x.dtype} {x.shape}; it must be {like.dtype} {like.shape}.")
    alone = kind.forward(x[:1, :1], *(block[:1] for block in affine))[0]
    if not np.allclose(alone, y[:1, :1], rtol=1e-3, atol=1e-4):
        raise InputError("makes something else of an example where others are beside it; it must take each alone, as it has "
                         "no running statistics to be tested with.")


def model_of_ones_own(network: type) -> Model:
    """The entry of a network. Raises InputError for what is missing or of the wrong form."""
    if not isinstance(network, type) or not issubclass(network, Network):
        raise InputError("is not made from minifl.models.network.Network, which says what a network is.")
    lacking = [name for name in ("plan", "forward", "backward") if not hasattr(network, name)]
    if lacking:
        raise InputError(f"has no {' and no '.join(lacking)}; minifl/models/network.py says what they are.")
    if not is_dataclass(network) or not {"num_classes", "image_shape", "arrangement"} <= set(network.__dataclass_fields__):
        raise InputError("is no dataclass with the fields num_classes, image_shape and arrangement; write "
                         "@dataclass(frozen=True) above it, and these first.")
    _try_model(network(num_classes=CLASSES, image_shape=IMAGE, arrangement=Arrangement(activation=network.activation)))
    return Model(network, {})


def _try_model(model):
    try:
        theta, x = model.spec.init(0)[None].astype(np.float32), np.zeros((1, 2, *IMAGE), np.float32)
    except InputError:      # it is for images of other sizes
        return
    logits, cache = model.forward(model.spec.views(theta), x)
    if logits.shape != (1, 2, CLASSES):
        raise InputError(f"forward returns logits {logits.shape} for 1 client, 2 images and {CLASSES} classes; they must be "
                         f"{(1, 2, CLASSES)}.")
    blocks = model.backward(logits, cache)
    for name, view in model.spec.views(theta).items():
        if name not in blocks or blocks[name].shape != view.shape:
            said = f"has the shape {blocks[name].shape}" if name in blocks else "is missing"
            raise InputError(f"the gradient of {name} {said} in what backward returns; it must be {view.shape}.")
    loss_and_grad(model, theta, x, np.zeros((1, 2), int))


own.kind("norm", NORMS, norm_of_ones_own, "minifl.norms")
own.kind("model", MODELS, model_of_ones_own, "minifl.models")
