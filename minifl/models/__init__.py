"""Networks: a frozen description with `plan`, `forward` and `backward` written out layer by layer."""

from minifl.errors import unknown
from minifl.layers.smoothing import smoothed_cross_entropy, smoothed_cross_entropy_backward
from minifl.models.arrangement import Arrangement
from minifl.models.cnn import CNN, RELEASED, TABLE7
from minifl.models.mlp import MLP
from minifl.models.resnet import ResNet
from minifl.models.vit import TOKENS, ViT

MODELS = ("cnn", "cnn-table7", "mlp", "resnet8", "resnet18", "resnet20", "vit")
HEADS = 4   # of the ViT


def build(name, num_classes, image_shape, arrangement=None, *, width=1.0, patch=4, token="class"):
    """The network of that name; minifl/models has a file for each family.

    width         multiplies the number of channels and of hidden units (1 is the paper's), rounded to whole numbers
    patch, token  of the ViT: pixels a side; "class" or "mean"
    Raises InputError for an unknown name.
    """
    def scaled(sizes):
        return tuple(max(1, round(width * size)) for size in sizes)

    common = {"num_classes": num_classes, "image_shape": tuple(image_shape),
              "arrangement": arrangement or Arrangement()}
    if name == "mlp":
        return MLP(hidden=scaled((200, 200)), **common)
    if name in ("cnn", "cnn-table7"):
        return CNN(channels=scaled((64, 64)), dense=scaled(RELEASED if name == "cnn" else TABLE7), **common)
    if name == "resnet18":
        return ResNet(channels=scaled((64, 128, 256, 512)), **common)
    if name in ("resnet8", "resnet20"):
        return ResNet(channels=scaled((16, 32, 64)), blocks=((1,) if name == "resnet8" else (3,)) * 3, pool=8, **common)
    if name == "vit":
        return ViT(dim=HEADS * max(1, round(32 * width)), heads=HEADS, patch=patch, token=token, **common)
    raise unknown("--model", name, MODELS)


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
