"""The layers that are compared with PyTorch's, and their arguments."""

from dataclasses import dataclass, field

import numpy as np

from drawing import labels, uniform


@dataclass(frozen=True)
class Layer:
    """One call of a layer: its function's name, the shapes of its arguments, and its keywords.

    scale   of the first argument
    levels  if not 0, the first argument is rounded to this many steps per unit, so that zeros and ties occur
    fixed   arguments without a gradient
    """
    layer: str
    shapes: dict
    options: dict = field(default_factory=dict)
    scale: float = 1.0
    levels: int = 0
    fixed: tuple = ("labels",)

    def inputs(self, name):
        """Arguments by name, float64; `labels` are whole numbers below the number of logits, or of embeddings."""
        first = next(iter(self.shapes))
        out = {}
        for tensor, shape in self.shapes.items():
            if tensor == "labels":
                out[tensor] = labels(f"{name}.labels", shape, self.shapes.get("logits", self.shapes.get("weight"))[-1])
            else:
                out[tensor] = uniform(f"{name}.{tensor}", shape, self.scale if tensor == first else 1.0)
            if tensor == "variance":
                out[tensor] = abs(out[tensor]) + 0.05
        if self.levels:
            out[first] = np.round(out[first] * self.levels) / self.levels
        return out


def _layers():
    vector, image, odd = (2, 5, 6), (2, 5, 4, 3, 4), (3, 2, 9, 7, 2)
    logits = {"logits": (3, 5, 10), "labels": (3, 5)}
    cases = {
        "linear": Layer("linear", {"x": (3, 4, 5), "weight": (3, 5, 6)}),
        "linear-bias": Layer("linear", {"x": (3, 4, 5), "weight": (3, 5, 6), "bias": (3, 6)}),
        "flatten": Layer("flatten", {"x": image}),
        "relu": Layer("relu", {"x": image}),
        "relu-zeros": Layer("relu", {"x": image}, levels=2),
        "leaky-relu": Layer("leaky_relu", {"x": image}),
        "leaky-relu-zeros": Layer("leaky_relu", {"x": vector}, {"slope": 0.2}, levels=2),
        "cross-entropy": Layer("softmax_cross_entropy", logits, scale=3.0),
        "cross-entropy-large": Layer("softmax_cross_entropy", logits, scale=900.0),
        "smoothed-cross-entropy": Layer("smoothed_cross_entropy", logits, {"smoothing": 0.1}, scale=3.0),
        "smoothed-cross-entropy-large": Layer("smoothed_cross_entropy", logits, {"smoothing": 0.7}, scale=900.0),
        "max-pool-2": Layer("max_pool2d", {"x": (2, 2, 6, 8, 3)}),
        "max-pool-2-odd": Layer("max_pool2d", {"x": odd}),
        "max-pool-2-ties": Layer("max_pool2d", {"x": odd}, levels=1),
        "max-pool-3-stride-2": Layer("max_pool2d", {"x": odd}, {"size": 3, "stride": 2}),
        "max-pool-3-stride-2-ties": Layer("max_pool2d", {"x": odd}, {"size": 3, "stride": 2}, levels=1),
        "avg-pool-2": Layer("avg_pool2d", {"x": (2, 2, 6, 8, 3)}),
        "avg-pool-2-odd": Layer("avg_pool2d", {"x": odd}),
        "avg-pool-3-stride-2": Layer("avg_pool2d", {"x": odd}, {"size": 3, "stride": 2}),
        "global-avg-pool": Layer("global_avg_pool", {"x": odd}),
    }
    tokens = (3, 2, 5, 6)
    features = {"feature": (3, 5, 6), "positive": (3, 5, 6), "negative": (3, 5, 6)}
    embeddings = {"feature": (3, 5, 6), "weight": (3, 6, 4), "labels": (3, 5)}
    cases |= {
        "model-contrastive": Layer("model_contrastive", features, fixed=("positive", "negative")),
        "model-contrastive-tau": Layer("model_contrastive", features, {"tau": 0.05}, fixed=("positive", "negative")),
        "decorrelation-few-features": Layer("decorrelation", {"z": (2, 6, 4)}),
        "decorrelation-few-examples": Layer("decorrelation", {"z": (2, 4, 7)}),
        "decorrelation-released-few-features": Layer("decorrelation_released", {"z": (2, 6, 4)}),
        "decorrelation-released-few-examples": Layer("decorrelation_released", {"z": (2, 4, 7)}),
        "decorrelation-released-eps": Layer("decorrelation_released", {"z": (2, 5, 4)}, {"eps": 0.3}),
        "decorrelation-eps": Layer("decorrelation", {"z": (2, 5, 4)}, {"eps": 0.3}),
        "positive-hinge": Layer("positive_hinge", embeddings),
        "positive-hinge-margin": Layer("positive_hinge", embeddings, {"margin": 0.1}),
        "spreadout": Layer("spreadout", {"weight": (3, 6, 4)}),
        "spreadout-margin": Layer("spreadout", {"weight": (3, 3, 5)}, {"margin": 1.7}),
        "attention": Layer("attention", {"q": tokens, "k": tokens, "v": tokens}, {"heads": 2}),
        "attention-1-head": Layer("attention", {"q": tokens, "k": tokens, "v": tokens}, {"heads": 1}),
        "attention-large-scores": Layer("attention", {"q": tokens, "k": tokens, "v": tokens}, {"heads": 3}, scale=20.0),
        "add-position": Layer("add_position", {"x": tokens, "position": (3, 5, 6)}),
        "prepend-token": Layer("prepend_token", {"x": tokens, "token": (3, 6)}),
        "first-token": Layer("first_token", {"x": tokens}),
    }
    for kernel in (5, 3, 1):
        for stride in (1, 2):
            for padding in (0, 1, 2):
                for bias in (False, True):
                    shapes = {"x": (2, 2, 7, 6, 2), "weight": (2, kernel, kernel, 2, 3)}
                    shapes |= {"bias": (2, 3)} if bias else {}
                    name = f"conv-{kernel}x{kernel}-stride-{stride}-padding-{padding}{'-bias' * bias}"
                    cases[name] = Layer("conv2d", shapes, {"stride": stride, "padding": padding})
    cases["conv-3x5"] = Layer("conv2d", {"x": (3, 1, 5, 9, 1), "weight": (3, 3, 5, 1, 2)})
    for kind, shape in (("vector", vector), ("map", image)):
        channels = {"gain": (2, shape[-1]), "bias": (2, shape[-1])}
        cases |= {
            f"shift-{kind}": Layer("shift", {"x": shape}),
            f"affine-{kind}": Layer("affine", {"x": shape} | channels),
            f"layer-norm-{kind}": Layer("layer_norm", {"x": shape} | channels),
            f"layer-norm-{kind}-small": Layer("layer_norm", {"x": shape} | channels, scale=3e-3),
            f"group-norm-{kind}-2": Layer("group_norm", {"x": shape}, {"groups": 2}),
            f"group-norm-{kind}-1": Layer("group_norm", {"x": shape}, {"groups": 1}),
        }
        statistics = {"mean": (2, shape[-1]), "variance": (2, shape[-1])}
        cases |= {
            f"batch-norm-{kind}": Layer("batch_norm", {"x": shape}),
            f"batch-norm-{kind}-small": Layer("batch_norm", {"x": shape}, scale=3e-3),
            f"batch-norm-{kind}-eps": Layer("batch_norm", {"x": shape}, {"eps": 0.3}),
            f"batch-norm-fixed-{kind}": Layer("batch_norm_fixed", {"x": shape} | statistics, fixed=tuple(statistics)),
            f"rms-norm-{kind}": Layer("rms_norm", {"x": shape}),
            f"rms-norm-{kind}-small": Layer("rms_norm", {"x": shape}, scale=3e-3),
            f"rms-norm-{kind}-eps": Layer("rms_norm", {"x": shape}, {"eps": 0.3}),
        }
        for layer in ("feature", "mv"):
            name, eps = f"{layer}-norm-{kind}", {"vector": 1.4, "map": 4.0}[kind]
            cases[name] = Layer(f"{layer}_norm", {"x": shape})
            cases[f"{name}-below-clamp"] = Layer(f"{layer}_norm", {"x": shape}, scale=1e-7)
            cases[f"{name}-both-sides-of-clamp"] = Layer(f"{layer}_norm", {"x": shape}, {"eps": eps})
    for layer in ("elu", "gelu", "silu", "softplus", "tanh", "sigmoid"):
        cases |= {layer: Layer(layer, {"x": image}, scale=3.0),
                  f"{layer}-large": Layer(layer, {"x": vector}, scale=30.0)}
    cases["elu-alpha"] = Layer("elu", {"x": image}, {"alpha": 0.7}, scale=3.0)
    cases |= {
        "instance-norm": Layer("instance_norm", {"x": image}),
        "instance-norm-below-clamp": Layer("instance_norm", {"x": image}, scale=1e-7),
        "instance-norm-both-sides-of-clamp": Layer("instance_norm", {"x": image}, {"eps": 1.9}),
        "standardize-3x3": Layer("standardize", {"weight": (2, 3, 3, 4, 5)}),
        "standardize-1x1-small": Layer("standardize", {"weight": (3, 1, 1, 6, 2)}, scale=3e-3),
        "standardize-linear-eps": Layer("standardize", {"weight": (2, 6, 3)}, {"eps": 0.3}),
        "unit-columns": Layer("unit_columns", {"weight": (3, 6, 4)}),
        "unit-columns-below-clamp": Layer("unit_columns", {"weight": (2, 3, 5)}, scale=1e-7),
        "unit-columns-both-sides-of-clamp": Layer("unit_columns", {"weight": (2, 6, 9)}, {"eps": 1.4}),
    }
    return cases


LAYERS = _layers()
