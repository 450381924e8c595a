"""The variants of assignment 2: where eps stands, what the squares sum to, what a vector is. Never handed out.

The patches of one axis leave those of the others alone, so that all combinations exist.
"""

from minifl.course.assignments import Choice, Patch

NORM, JACOBIANS = "minifl/layers/norm.py", "minifl/gradcheck/jacobians.py"


def _patches(file, *pairs):
    return tuple(Patch(file, old, new) for old, new in pairs)


TABLE = """ / max(eps, ||x||)    the paper's definition of n, and
    group_norm, instance_norm                                  n_MV(x) = n(x - mean(x)): a clamp, inactive unless
                                                               ||x|| < eps
    layer_norm, rms_norm        (x - mean) / sqrt(q + eps)     what layer-norm and RMS-norm code does: eps in the root
                                                               (q is defined there)
"""
BELOW = """It has the eigenvalue 0 once (along x: the length is lost) and r otherwise. Below the clamp, ||x|| < eps,
    y = (c/eps) x is linear: r = c/eps, and the radial term m y is not there.
"""
IN_J = """        J = (c/||x||) (I - uu'),  below the clamp  J = (c/eps) I
    Eigenvalues 0 (along x) and d-1 times c/||x||.
"""
IN_J_CODE = """    if length <= eps:
        return c / eps * np.eye(len(x))
    return c / length * (np.eye(len(x)) - np.outer(x, x) / length**2)
"""
MV_J = """Above the clamp, with y = n_MV(x) and
    sigma = ||x - mean(x)||/c,
        J = (P - yy'/c²)/sigma,  rank d-2, null space {1, y}
"""
LN_J = """        J = diag(gain) (P - hh'/c²)/sigma
    It is that of n_MV with eps in sigma and in h. J1 = 0, but Jh = gain*h eps/sigma³ is not 0, as h'h < c².
"""
LN_END = """    Exact for eps > 0. Identities: J1 = 0, Jh = (eps/sigma²) h/sigma.
"""

EXCHANGED = (
    *_patches(
        NORM,
        (TABLE, """ / sqrt(||x||² + eps) eps in the root; n_MV(x) = n(x - mean(x))
    layer_norm                  (x - mean) / max(eps, sqrt(q)) a clamp, inactive unless sqrt(q) < eps (q is defined
                                                               there)
"""),
        ("/ max(eps, ||x||), the FN layer", "/ sqrt(||x||² + eps), the FN layer"),
        ("l = ||x||, r = c/l", "l² = ||x||² + eps, r = c/l"),
        (BELOW, """It has the eigenvalue r eps/l² once (along x: what eps keeps of the length) and r otherwise.
"""),
        ("symmetric, null space {1, y}", "symmetric, null space {1}"),
        ("also covers the clamp", "also covers eps"),
        (" v / max(eps, ||v||) along", " v / sqrt(||v||² + eps) along"),
        ("cache = (y, r, whether ||v|| > eps)", "cache = (y, r)"),
        ("    length = xp.sqrt((v * v).sum(axis=2, keepdims=True))\n    above = length.real > eps\n",
         "    length = xp.sqrt((v * v).sum(axis=2, keepdims=True) + eps)\n"),
        ("xp.where(above, length, eps).astype(v.dtype)", "length"),
        ("return y, (y, r, above)", "return y, (y, r)"),
        ("    y, r, above = cache\n", "    y, r = cache\n"),
        (" * above\n", "\n"),
        # layer norm
        ("with eps inside the root, then", "with eps as a clamp, then"),
        ("sigma = sqrt(q + eps)    h", "sigma = max(eps, sqrt(q))    h"),
        ("        d sigma/dxc_j = xc_j/(c² sigma) = h_j/c²\n",
         "        d sigma/dxc_j = xc_j/(c² sigma) = h_j/c²   where sqrt(q) > eps, else 0\n"),
        (LN_END, """    Below the clamp, sqrt(q) < eps, sigma is a constant and the terms hh'/c² and m h are not there.
    Identities: J1 = 0, and above the clamp Jh = 0.
"""),
        ("    sigma = xp.sqrt((xc", "    spread = xp.sqrt((xc"),
        (" + eps)\n    h = xc / sigma\n",
         ")\n    above = spread.real > eps\n    sigma = xp.where(above, spread, eps).astype(v.dtype)\n"
         "    h = xc / sigma\n"),
        ("return y, (h, sigma, affine_cache)", "return y, (h, sigma, above, affine_cache)"),
        ("    h, sigma, affine_cache = cache\n", "    h, sigma, above, affine_cache = cache\n"),
        ("keepdims=True) - h * ", "keepdims=True) - above * h * ")),
    *_patches(
        JACOBIANS,
        ("x / max(eps, ||x||).", "x / sqrt(||x||² + eps)."),
        (IN_J, """        J = (c/l) (I - (||x||²/l²) uu'),  l = sqrt(||x||² + eps)
    Eigenvalues c eps/l³ (along x) and d-1 times c/l.
"""),
        (IN_J_CODE, """    divisor = np.sqrt(length**2 + eps)
    return c / divisor * (np.eye(len(x)) - np.outer(x, x) / divisor**2)
"""),
        (MV_J, """With y = n_MV(x) and
    sigma = sqrt(||x - mean(x)||² + eps)/c,
        J = (P - yy'/c²)/sigma,  rank d-1, null space {1}
"""),
        ("sigma = sqrt(q + eps), h = xc/sigma.", "sigma = max(eps, sqrt(q)),\n    h = xc/sigma."),
        (LN_J, """        J = diag(gain) (P - hh'/c²)/sigma,  below the clamp, sqrt(q) < eps,  J = diag(gain) P/eps
    Above it J1 = Jh = 0, below it J1 = 0.
"""),
        ("    sigma = np.sqrt(centred", "    spread = np.sqrt(centred"),
        (" + eps)\n    h = centred / sigma\n", ")\n    sigma = max(eps, spread)\n    h = centred / sigma\n"),
        ("np.eye(d) - 1 / d - np", "np.eye(d) - 1 / d - (spread > eps) * np")))

ADDED = (
    *_patches(
        NORM,
        (TABLE, """ / (||x|| + eps)      eps is added to the length; n_MV(x) = n(x - mean(x))
    layer_norm                  (x - mean) / (sqrt(q) + eps)   eps is added to the root (q is defined there)
"""),
        ("/ max(eps, ||x||), the FN layer", "/ (||x|| + eps), the FN layer"),
        ("l = ||x||, r = c/l", "l = ||x|| + eps, r = c/l"),
        ("and dl/dx_j = x_j/l:\n", "and dl/dx_j = x_j/||x||,\n    s = l/||x||:\n"),
        ("r delta_ij - c x_i x_j/l³ = r (delta_ij - y_i y_j/c²)",
         "r delta_ij - c x_i x_j/(l² ||x||) = r (delta_ij - s y_i y_j/c²)"),
        ("J = r (I - yy'/c²) is symmetric, hence", "J = r (I - s yy'/c²) is symmetric, hence"),
        ("dx = r (dy - m y)   ", "dx = r (dy - s m y) "),
        (BELOW, """It has the eigenvalue r eps/l once (along x: what eps keeps of the length) and r otherwise. At x = 0
    it is (c/eps) I, and y = 0: the radial term s m y is not there.
"""),
        ("so J = r (I - yy'/c²) P with P = I - 11'/d and feature norm's r, c and m at",
         "so J = r (I - s yy'/c²) P with P = I - 11'/d and feature norm's r, s, c, m at"),
        ("J = r (I - 11'/d - yy'/c²), symmetric, null space {1, y}",
         "J = r (I - 11'/d - s yy'/c²), symmetric, null space {1}"),
        ("dx = r (dy - mean(dy) - m y)   ", "dx = r (dy - mean(dy) - s m y) "),
        ("also covers the clamp", "also covers eps"),
        (" v / max(eps, ||v||) along", " v / (||v|| + eps) along"),
        ("cache = (y, r, whether ||v|| > eps)", "cache = (y, r, s)"),
        ("    above = length.real > eps\n",
         "    s = (length + eps) / xp.where(length == 0, 1, length).astype(v.dtype)\n"),
        ("xp.where(above, length, eps).astype(v.dtype)", "(length + eps)"),
        ("return y, (y, r, above)", "return y, (y, r, s)"),
        ("    y, r, above = cache\n", "    y, r, s = cache\n"),
        (" * above\n", " * s\n"),
        # layer norm
        ("with eps inside the root, then", "with eps added, then"),
        ("sigma = sqrt(q + eps)    h", "sigma = sqrt(q) + eps    h"),
        ("        d sigma/dxc_j = xc_j/(c² sigma) = h_j/c²\n",
         "        d sigma/dxc_j = xc_j/(c² sqrt(q)) = s h_j/c²   with s = sigma/sqrt(q)\n"),
        ("(delta_ij - h_i h_j/c²)/sigma         dxc", "(delta_ij - s h_i h_j/c²)/sigma       dxc"),
        ("so J = (I - hh'/c²)(I - 11'/d)/sigma = (I - 11'/d - hh'/c²)/sigma, as",
         "so J = (I - s hh'/c²)(I - 11'/d)/sigma = (I - 11'/d - s hh'/c²)/sigma, as"),
        ("dx = (dh - mean(dh) - m h)/sigma   ", "dx = (dh - mean(dh) - s m h)/sigma "),
        (LN_END, """    At q = 0 h is 0, and the term s m h is not there. Identities: J1 = 0, Jh = (eps/sigma) h/sigma.
"""),
        ("    sigma = xp.sqrt((xc", "    spread = xp.sqrt((xc"),
        (" + eps)\n    h = xc / sigma\n", ")\n    sigma = spread + eps\n"
         "    s = sigma / xp.where(spread == 0, 1, spread).astype(v.dtype)\n    h = xc / sigma\n"),
        ("return y, (h, sigma, affine_cache)", "return y, (h, sigma, s, affine_cache)"),
        ("    h, sigma, affine_cache = cache\n", "    h, sigma, s, affine_cache = cache\n"),
        ("keepdims=True) - h * ", "keepdims=True) - s * h * ")),
    *_patches(
        JACOBIANS,
        ("x / max(eps, ||x||).", "x / (||x|| + eps)."),
        (IN_J, """        J = (c/l) (I - (||x||/l) uu'),  l = ||x|| + eps
    Eigenvalues c eps/l² (along x) and d-1 times c/l.
"""),
        (IN_J_CODE, """    divisor = length + eps
    return c / divisor * (np.eye(len(x)) - np.outer(x, x) / (divisor * (length or 1)))
"""),
        (MV_J, """With y = n_MV(x),
    sigma = (||x - mean(x)|| + eps)/c and s = (||x - mean(x)|| + eps)/||x - mean(x)||
        J = (P - s yy'/c²)/sigma,  rank d-1, null space {1}
"""),
        ("sigma = sqrt(q + eps), h = xc/sigma.", "sigma = sqrt(q) + eps,\n    h = xc/sigma."),
        ("(delta_ik - 1/d - h_i h_k/c²)/sigma with",
         "(delta_ik - 1/d - s h_i h_k/c²)/sigma with s = sigma/sqrt(q),\n   "),
        (LN_J, """        J = diag(gain) (P - s hh'/c²)/sigma
    J1 = 0, but Jh = gain*h eps/sigma² is not 0.
"""),
        ("    sigma = np.sqrt(centred", "    spread = np.sqrt(centred"),
        (" + eps)\n    h = centred / sigma\n", ")\n    sigma = spread + eps\n    h = centred / sigma\n"),
        ("np.eye(d) - 1 / d - np", "np.eye(d) - 1 / d - sigma / (spread or 1) * np")))


def _scale(y, root, square, code, mean, mv, ln):
    """Patches for c² = `square`. y: what c x is called; code: of a vector's length d, c² as an expression; mean(z): the
    sum of z over c²; mv, ln: what the docstrings call the size of y."""
    divided = "" if code == "1" else " / {}"
    return (
        *_patches(
            NORM,
            ("feature_norm, mv_norm,      sqrt(d) x /", f"feature_norm, mv_norm,      {y} /"),
            ('"""n(x) = sqrt(d) x', f'"""n(x) = {y}'),
            ("sphere of radius sqrt(d).", f"sphere of radius {root}."),
            ("with c = sqrt(d), y", f"with c = {root}, y"),
            ("= mean(dy*y)\n", f"= {mean('dy*y')}\n"),
            ("variance 1 (biased, 1/d); layer norm as the paper defines\n    it, without",
             f"{mv};\n    layer norm without"),
            ("the standard deviation sigma. Computed", f"||x - mean(x)||{'' if root == '1' else '/' + root}. Computed"),
            ("q = mean(xc*xc)", f"q = {mean('xc*xc')}"),
            ("mean 0 and variance 1 with", f"mean 0 and {ln} with"),
            ("q = xc'xc/c² with c² = d:", f"q = xc'xc/c² with c² = {square}:"),
            ("= mean(dh*h)\n", f"= {mean('dh*h')}\n"),
            ('"""sqrt(d) v /', f'"""{y.replace("x", "v")} /'),
            ("r = v.shape[2] ** 0.5 /", "r = 1 /" if code == "1" else f"r = {code.format('v.shape[2]')} ** 0.5 /"),
            ("(dv * y).mean(axis=2, keepdims=True)",
             "(dv * y).sum(axis=2, keepdims=True)" + divided.format(code.format("dv.shape[2]"))),
            ("(xc * xc).mean(axis=2, keepdims=True)",
             "(xc * xc).sum(axis=2, keepdims=True)" + divided.format(code.format("v.shape[2]"))),
            ("(g * h).mean(axis=2, keepdims=True)) / sigma\n",
             "(g * h).sum(axis=2, keepdims=True)" + divided.format(code.format("h.shape[2]")) + ") / sigma\n")),
        *_patches(
            JACOBIANS,
            ('"""J of n(x) = sqrt(d) x', f'"""J of n(x) = {y}'),
            ("with c = sqrt(d) and", f"with c = {root} and"),
            ("np.sqrt(x @ x), np.sqrt(len(x))\n",
             "np.sqrt(x @ x), " + ("1.0" if code == "1" else f"np.sqrt({code.format('len(x)')[1:-1]})") + "\n"),
            ("q = mean(xc*xc)", f"q = {mean('xc*xc')}"),
            ("c² = d, and row", f"c² = {square}, and row"),
            ("centred @ centred / d", "centred @ centred" + divided.format(code.format("d"))),
            ("np.outer(h, h) / d)", "np.outer(h, h)" + divided.format(code.format("d")) + ")")))


UNIT = _scale("x", "1", "1", "1", "sum({})".format, "length 1", "length 1")
UNBIASED = _scale("sqrt(d-1) x", "sqrt(d-1)", "d-1", "({} - 1)", "sum({})/(d-1)".format,
                  "variance 1 (unbiased, 1/(d-1))", "unbiased variance 1")

PLACES = _patches(
    NORM,
    ("Normalizations of one example: shift", "Normalizations of one place: shift"),
    ("""All of them see one example's numbers as one vector x of d entries (a map (H, W, C) is read as d = H*W*C;
group norm splits it first), so no statistic mixes examples or clients.""",
     """All of them see the C channels at one place of one example as one vector x of d = C entries (a map (H, W, C)
holds H*W vectors), so no statistic mixes places, examples or clients."""),
    ("over each example. x (K, N, ...). Returns", "over the channels of each place. x (K, N, ..., C). Returns"),
    ("an example's vector on the", "a place's vector on the"),
    ("x        (K, N, ...)   d numbers an example: all of a map's",
     "x        (K, N, ..., C)   d = C numbers at each place"),
    ("x        (K, N, ...)   d numbers an example; for a map all of H, W, C",
     "x        (K, N, ..., C)   d = C numbers at each place"),
    ("Normalize each example to mean 0", "Normalize each place to mean 0"),
    ("x           (K, N, ..., C)   d numbers an example", "x           (K, N, ..., C)   d = C numbers at each place"),
    ("(K, N, ...) -> (K, N, d): each example's numbers as the vector that is normalized.",
     "(K, N, ..., C) -> (K, N*places, C): the channels of each place as a vector that is normalized."),
    ("    return x.reshape(*x.shape[:2], -1)\n", "    return x.reshape(x.shape[0], -1, x.shape[-1])\n"))

CHOICES = {
    "eps": {
        "published": Choice("eps: feature norm and MV norm divide by max(eps, ||x||), layer norm by sqrt(q + eps)."),
        "exchanged": Choice("eps: feature norm and MV norm divide by sqrt(||x||² + eps), layer norm by "
                            "max(eps, sqrt(q)).", EXCHANGED),
        "added": Choice("eps: feature norm and MV norm divide by ||x|| + eps, layer norm by sqrt(q) + eps.", ADDED)},
    "scale": {
        "published": Choice("scale: the squares of y (of h in layer norm) sum to d, but for eps: variance 1, with "
                            "1/d."),
        "unit": Choice("scale: the squares of y (of h in layer norm) sum to 1, but for eps.", UNIT),
        "unbiased": Choice("scale: the squares of y (of h in layer norm) sum to d - 1, but for eps: variance 1, with "
                           "1/(d - 1).", UNBIASED)},
    "axes": {
        "published": Choice("axes: a vector is a whole example, of a map all places and channels."),
        "places": Choice("axes: a vector is the channels of one place of an example.", PLACES)}}
