"""Numbers that random ones never hit: ties, zeros, saturation."""

import numpy as np

SPECIAL = {   # kind -> (rng, standard normal array) -> array
    "zeros": lambda rng, x: x * (rng.random(x.shape) < 0.7),     # kinks at 0
    "ties": lambda rng, x: np.round(2 * x) / 2,                  # equal numbers, zeros among them
    "large": lambda rng, x: 1e3 * x,
    "small": lambda rng, x: 1e-3 * x,
    "saturation": lambda rng, x: np.where(rng.random(x.shape) < 0.5, x, 20 * np.sign(x)),     # exp(-20) is 2e-9
    "rows of zeros": lambda rng, x: x * (rng.random((*x.shape[:-1], *(1 for _ in x.shape[-1:]))) < 0.6),
}
FLOAT32 = "float32"     # numbers in another precision are special, too
