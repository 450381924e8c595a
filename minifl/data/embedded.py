"""An embedded, generated set of 32x32 colour images: ten shapes in four rendering styles ("domains").

It is there so that everything runs without a download. The class is a shape (disc, ring, square, ...). Its
position, size, tilt, aspect and stroke width vary, and so do all colours, the texture, stray strokes behind
it and the noise; none of these depends on the class, so colour does not tell it. Objects tend to be lighter
than the ground. The domains (shaded, painted, flat, line drawing) show the same shapes in different ways,
for studies of covariate shift. Every shape is its own mirror image: flips are a legitimate augmentation.

How an image is drawn: a function of the shape gives at each pixel the depth below the outline (positive
inside, about a distance in pixels); the domain turns depth, two colours, a lattice of value noise and two
strokes into colours; pixel noise comes last.

The set is the same to the byte everywhere, which a test pins by a hash. Hence only operations with one
correct result are used: integers, comparisons, and + - * / sqrt min max floor on float64. There is no sin,
cos, exp, log or power (they differ between libraries), no floating-point reduction (its order of summation
differs between CPUs), and the randomness is the raw output of PCG64, which numpy guarantees, not the
methods of Generator, which it may change.

Image i of a split uses its own block of the random stream, hence smaller sets are prefixes of larger ones
and images can be drawn in chunks of any size.
"""

from collections import namedtuple
from collections.abc import Iterator

import numpy as np

from minifl.backend import Array
from minifl.errors import InputError

CLASS_NAMES = ("disc", "ring", "square", "triangle", "star", "cross", "crescent", "heart", "arrow", "bars")
DOMAIN_NAMES = ("shaded", "painted", "flat", "line")
N_TRAIN, N_TEST = 10_000, 2_000

Embedded = namedtuple("Embedded", "x_train y_train domain_train x_test y_test domain_test")

SIDE = 32                  # pixels
LATTICE = 8                # value-noise cells along one side of the (periodic) lattice
TILT = 0.3                 # tangent of half the largest tilt: 33 degrees either way
STREAM = 7_001_032         # keeps these random numbers apart from those of minifl.rng.address
CHUNK = 400                # images drawn at a time: some MB of temporaries, no influence on the result

# One uniform number per image and name; colours have three. The order is part of the set's identity.
FACTORS = ("row", "column", "size", "tilt", "aspect", "stroke_width", "light", "wobble", "noise", "board",
           "texture_turn", "texture_scale", "texture_row", "texture_column", "texture_gain",
           "start1_x", "start1_y", "run1_x", "run1_y", "start2_x", "start2_y", "run2_x", "run2_y",
           "ground_r", "ground_g", "ground_b", "object_r", "object_g", "object_b",
           "second_r", "second_g", "second_b")
WORDS = len(FACTORS) + LATTICE * LATTICE + SIDE * SIDE      # 64-bit random words per image


def generate(seed: int = 0, n_train: int = N_TRAIN, n_test: int = N_TEST) -> Embedded:
    """Draw the set; every argument has one answer, to the byte, on every machine.

    seed             integer >= 0; another seed gives another set from the same distribution
    n_train, n_test  number of images, >= 0; classes and domains are exactly balanced in multiples of 40

    returns Embedded(x_train, y_train, domain_train, x_test, y_test, domain_test):
        x       (N, 32, 32, 3) uint8, NHWC
        y       (N,) int64 in 0..9, an index of CLASS_NAMES
        domain  (N,) int64 in 0..3, an index of DOMAIN_NAMES
    raises InputError for anything but integers >= 0.
    """
    for name, value in (("seed", seed), ("n_train", n_train), ("n_test", n_test)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise InputError(f"embedded data: {name} must be an integer >= 0, not {value!r}")
    return Embedded(*draw_split(seed, 0, n_train), *draw_split(seed, 1, n_test))


def draw_split(seed: int, split: int, n: int, chunk: int = CHUNK) -> tuple:
    """Images, labels and domains 0..n-1 of one split (0 train, 1 test)."""
    index = np.arange(n, dtype=np.int64)
    y, domain = index % 10, index // 10 % 4
    x = np.empty((n, SIDE, SIDE, 3), np.uint8)
    stream = np.random.PCG64([STREAM, split, int(seed)])
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        words = stream.random_raw((part.stop - start) * WORDS).reshape(-1, WORDS)
        x[part] = draw(words, y[part], domain[part])
    return x, y, domain


def draw(words: Array, y: Array, domain: Array) -> Array:
    """Images (n, 32, 32, 3) uint8 from random words (n, WORDS) uint64, classes (n,) and domains (n,)."""
    x = np.empty((len(y), SIDE, SIDE, 3), np.uint8)
    for d, style in enumerate(STYLES):
        of_domain = np.flatnonzero(domain == d)
        factors, lattice, noise = np.split(words[of_domain], (len(FACTORS), WORDS - SIDE * SIDE), axis=1)
        factor = {name: u[:, None, None] for name, u in zip(FACTORS, uniform(factors).T)}
        image = style(depth(factor, y[of_domain]), texture(factor, uniform(lattice)), factor)
        sigma = between(factor["noise"], 0.01, 0.05)
        for c, (plane, grain) in enumerate(zip(image, pixel_noise(noise.reshape(-1, SIDE, SIDE)))):
            level = clip(plane + sigma * grain, 0.0, 1.0)
            x[of_domain, :, :, c] = np.floor(level * 255.0 + 0.5).astype(np.uint8)
    return x


# ---- exact building blocks ----

def uniform(words: Array) -> Array:
    """The top 53 bits of random words as float64 in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def between(u: Array, low: float, high: float) -> Array:
    return low + (high - low) * u


def clip(x: Array, low: float, high: float) -> Array:
    return np.minimum(np.maximum(x, low), high)


def mix(a: list, b: list, weight: Array) -> list:
    """Colours a and b (three planes each), weight of b in [0, 1]."""
    return [p + (q - p) * weight for p, q in zip(a, b)]


def rotate(x: Array, y: Array, t: Array) -> tuple:
    """Coordinates turned by the angle 2 arctan(t): the rational points of the circle need no sine."""
    scale = 1.0 / (1.0 + t * t)
    c, s = (1.0 - t * t) * scale, 2.0 * t * scale
    return c * x + s * y, c * y - s * x


def pixel_noise(words: Array) -> list:
    """Three planes of noise, mean 0 and deviation 1: each the sum of three 7-bit numbers of one word."""
    seven = np.uint64(127)
    parts = [((words >> np.uint64(7 * k)) & seven).astype(np.float64) for k in range(9)]
    return [(parts[c] + parts[c + 3] + parts[c + 6] - 190.5) / 64.0 for c in range(3)]


def grid() -> tuple:
    """Column and row of the pixel centres, (1, 1, 32) and (1, 32, 1), zero in the middle of the image."""
    position = np.arange(SIDE, dtype=np.float64) - (SIDE - 1) / 2
    return position[None, None, :], position[None, :, None]


def texture(factor: dict, lattice: Array) -> Array:
    """Value noise (n, 32, 32) in [0, 1]: a random periodic lattice, turned, stretched and interpolated."""
    col, row = rotate(*grid(), between(factor["texture_turn"], -1.0, 1.0))
    scale = between(factor["texture_scale"], 0.12, 0.35)           # lattice cells per pixel
    p = col * scale + LATTICE * factor["texture_column"]
    q = row * (0.35 * scale) + LATTICE * factor["texture_row"]      # stretched along one axis, like a brush
    p0, q0 = np.floor(p), np.floor(q)
    p, q = p - p0, q - q0
    p, q = p * p * (3.0 - 2.0 * p), q * q * (3.0 - 2.0 * q)
    i, j = p0.astype(np.int64) % LATTICE, q0.astype(np.int64) % LATTICE
    i1, j1 = (i + 1) % LATTICE, (j + 1) % LATTICE
    image = np.arange(len(lattice))[:, None, None]
    value = lattice.reshape(-1, LATTICE, LATTICE)
    top, bottom = (value[image, k, i] * (1.0 - p) + value[image, k, i1] * p for k in (j, j1))
    return top * (1.0 - q) + bottom * q


def strokes(factor: dict) -> Iterator[Array]:
    """Distances in pixels, two planes, from two stray segments that start and run somewhere."""
    col, row = grid()
    for k in "12":
        p, q = (axis - between(factor[f"start{k}_{a}"], -16.0, 16.0) for axis, a in ((col, "x"), (row, "y")))
        dp, dq = (between(factor[f"run{k}_{a}"], -12.0, 12.0) for a in "xy")
        along = clip((p * dp + q * dq) / (dp * dp + dq * dq + 1e-9), 0.0, 1.0)
        p, q = p - along * dp, q - along * dq
        yield np.sqrt(p * p + q * q)


# ---- the classes: depth below the outline at (u, v), for a shape of radius about 1, v downwards ----

PENTAGON = ((0.0, 1.0), (0.9510565162951535, 0.3090169943749474), (-0.9510565162951535, 0.3090169943749474),
            (0.5877852522924731, -0.8090169943749475), (-0.5877852522924731, -0.8090169943749475))


def disc(u: Array, v: Array) -> Array:
    return 0.85 - np.sqrt(u * u + v * v)


def ring(u: Array, v: Array) -> Array:
    return 0.24 - np.abs(np.sqrt(u * u + v * v) - 0.74)


def square(u: Array, v: Array) -> Array:
    return 0.76 - np.maximum(np.abs(u), np.abs(v))


def triangle(u: Array, v: Array) -> Array:
    return 0.53 - np.maximum(v - 0.1, 0.8660254037844386 * np.abs(u) - 0.5 * (v - 0.1))


def star(u: Array, v: Array) -> Array:
    """Five half-planes bound a pentagon; the star is where at most one of them is left."""
    first = second = np.full_like(u, -9.0)
    for a, b in PENTAGON:
        out = a * u + b * v
        first, second = np.maximum(first, out), np.maximum(second, np.minimum(first, out))
    return 0.38 - second


def cross(u: Array, v: Array) -> Array:
    u, v = np.abs(u), np.abs(v)
    return np.minimum(0.95 - np.maximum(u, v), 0.27 - np.minimum(u, v))


def crescent(u: Array, v: Array) -> Array:
    shifted = v + 0.55
    return np.minimum(0.95 - np.sqrt(u * u + v * v), np.sqrt(u * u + shifted * shifted) - 0.72)


def heart(u: Array, v: Array) -> Array:
    u, v = np.abs(u), v + 0.1
    du, dv = u - 0.4, v + 0.4
    lobes = 0.5656854249492381 - np.sqrt(du * du + dv * dv)
    return np.maximum(lobes, (0.8 - u - np.abs(v)) * 0.7071067811865476)


def arrow(u: Array, v: Array) -> Array:
    u = np.abs(u)
    head = np.minimum(-v, (v + 1.0 - u) * 0.7071067811865476)
    shaft = np.minimum(0.2 - u, np.minimum(v + 0.4, 0.95 - v))
    return np.maximum(head, shaft)


def bars(u: Array, v: Array) -> Array:
    v = np.abs(v)
    return np.minimum(0.9 - np.abs(u), np.maximum(0.16 - v, 0.17 - np.abs(v - 0.68)))


SHAPES = (disc, ring, square, triangle, star, cross, crescent, heart, arrow, bars)


def depth(factor: dict, y: Array) -> Array:
    """Depth below the outline in pixels, (n, 32, 32), for classes y (n,)."""
    col, row = grid()
    col = col - between(factor["column"], -4.0, 4.0)
    row = row - between(factor["row"], -4.0, 4.0)
    u, v = rotate(col, row, between(factor["tilt"], -TILT, TILT))
    size = between(factor["size"], 8.5, 13.0)
    aspect = between(factor["aspect"], 0.88, 1.14)
    u, v = u / (size * aspect), v * aspect / size
    result = np.empty_like(u)
    for c, shape in enumerate(SHAPES):
        of_class = np.flatnonzero(y == c)
        result[of_class] = shape(u[of_class], v[of_class])
    return result * size


# ---- the domains: (depth, texture, factors) to three colour planes in about [0, 1] ----

def colours(factor: dict) -> tuple:
    """Ground, object and second colour; the object differs from the ground by 0.4 in some channel."""
    ground, thing, second = ([between(factor[f"{name}_{c}"], low, low + 0.6) for c in "rgb"]
                             for name, low in (("ground", 0.0), ("object", 0.4), ("second", 0.0)))
    apart = [np.abs(a - b) for a, b in zip(ground, thing)]
    alike = np.maximum(apart[0], np.maximum(apart[1], apart[2])) < 0.4
    thing = [np.where(alike, a + 0.4, b) for a, b in zip(ground, thing)]
    return ground, thing, second


def shaded(inside: Array, noise: Array, factor: dict) -> list:
    """A lit relief with a bevelled edge and a shadow on a softly textured ground."""
    ground, thing, second = colours(factor)
    gain = between(factor["texture_gain"], 0.2, 0.6)
    image = mix(ground, second, gain * noise)
    shadow = np.zeros_like(inside)
    shadow[:, 2:, 2:] = clip(0.3 * inside[:, :-2, :-2] + 0.6, 0.0, 1.0)
    image = [p * (1.0 - 0.5 * shadow) for p in image]
    slope = np.zeros_like(inside)
    slope[:, 1:, 1:] = inside[:, 1:, 1:] - inside[:, :-1, :-1]
    bevel = clip(1.0 - inside * 0.25, 0.0, 1.0)
    light = 0.85 + between(factor["light"], 0.2, 0.4) * slope * bevel + 0.2 * (noise - 0.5)
    return mix(image, [p * light + 0.05 for p in thing], clip(inside + 0.5, 0.0, 1.0))


def painted(inside: Array, noise: Array, factor: dict) -> list:
    """Broad brush strokes in ground and object, a wobbling outline."""
    ground, thing, second = colours(factor)
    gain = between(factor["texture_gain"], 0.3, 0.6)
    stripe = clip(3.0 * noise - 1.0, 0.0, 1.0)
    image = mix(ground, second, gain * stripe)
    inside = inside + between(factor["wobble"], 1.0, 3.0) * (noise - 0.5)
    touch = [p * (1.25 - 0.5 * stripe) for p in thing]
    return mix(image, touch, clip(0.6 * inside + 0.5, 0.0, 1.0))


def flat(inside: Array, noise: Array, factor: dict) -> list:
    """Uniform colours; two strokes of a second colour lie behind the object."""
    ground, thing, second = colours(factor)
    width = between(factor["stroke_width"], 1.0, 2.5)
    image = mix(ground, second, 0.6 * clip(width + 0.5 - np.minimum(*strokes(factor)), 0.0, 1.0))
    return mix(image, thing, clip(inside + 0.5, 0.0, 1.0))


def line(inside: Array, noise: Array, factor: dict) -> list:
    """The outline in chalk on a board, rarely in ink on paper, with two stray lines outside the object."""
    ground, thing, _ = colours(factor)
    paper = [1.0 - 0.25 * p - 0.1 * noise for p in ground]
    ink = [0.45 * p for p in thing]
    width = between(factor["stroke_width"], 0.6, 1.1)
    stray = np.where(inside > -1.5, SIDE, np.minimum(*strokes(factor)) + 0.3)
    image = mix(paper, ink, clip(width + 0.5 - np.minimum(np.abs(inside), stray), 0.0, 1.0))
    return [np.where(factor["board"] < 0.85, 1.0 - p, p) for p in image]


STYLES = (shaded, painted, flat, line)
