"""Networks: a frozen description with `plan`, `forward` and `backward` written out layer by layer."""

from typing import NamedTuple

from minifl.errors import unknown
from minifl.layers.smoothing import smoothed_cross_entropy, smoothed_cross_entropy_backward
from minifl.models.arrangement import Arrangement
from minifl.models.cnn import CNN, TABLE7
from minifl.models.mlp import MLP
from minifl.models.network import Network
from minifl.models.resnet import ResNet
from minifl.models.vit import TOKENS, ViT


class Model(NamedTuple):
    """A network of --model: its class, what of its fields is not the class's default, and its help."""
    network: type[Network]
    fields: dict
    help: str = ""


MODELS = {
    "cnn": Model(CNN, {}, "as the authors released it"),
    "cnn-table7": Model(CNN, {"dense": TABLE7}, "as they printed it"),
    "mlp": Model(MLP, {}),
    "resnet8": Model(ResNet, {"channels": (16, 32, 64), "blocks": (1, 1, 1), "pool": 8}),
    "resnet18": Model(ResNet, {}),
    "resnet20": Model(ResNet, {"channels": (16, 32, 64), "blocks": (3, 3, 3), "pool": 8}),
    "vit": Model(ViT, {}, "small"),
}


def build(name: str, num_classes: int, image_shape: tuple, arrangement: Arrangement | None = None, *, width: float = 1.0,
          **options) -> Network:
    """The network of that name in MODELS.

    width    multiplies the number of channels and of hidden units (1 is the paper's), rounded to whole numbers
    options  other fields of its class, as the ViT's patch and token
    Raises InputError for an unknown name.
    """
    if name not in MODELS:
        raise unknown("--model", name, MODELS)
    network, fields, _ = MODELS[name]
    return network.at_width(width, num_classes=num_classes, image_shape=tuple(image_shape),
                            arrangement=arrangement or Arrangement(), **fields, **options)


def loss_and_grad(model, theta, x, labels, smoothing=0.0):
    """Each client's mean cross-entropy on its batch, and its gradient.

    theta   (K, P)
    x       (K, N, H, W, C), the dtype of theta
    labels  (K, N) integers
    smoothing  of the labels (layers/smoothing.py)
    returns loss (K,), gradient (K, P), what the batch norms saw (K, S)
    """
    logits, cache = model.forward(model.spec.views(theta), x)
    loss, loss_cache = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
    dlogits = smoothed_cross_entropy_backward(loss * 0 + 1, loss_cache)
    return loss, *flat_gradient(model, model.backward(dlogits, cache), theta)


def flat_gradient(model, blocks, theta):
    """What `backward` returned as two arrays of theta's dtype: gradient (K, P), what the batch norms saw (K, S)."""
    return model.spec.flatten(blocks, like=theta), model.statistics.flatten(blocks, like=theta)
