"""Assignment 1, with its variants and wrong submissions. Never handed out."""

from minifl.course.assignments import Assignment, Choice, Mistake, Patch

LAYER, LOSS, CHECKER = "minifl/layers/linear.py", "minifl/layers/loss.py", "minifl/gradcheck/instruments.py"
SHEET = "minifl/course/hw1/sheet.md"


def _patches(file, *pairs):
    return tuple(Patch(file, old, new) for old, new in pairs)


PYTORCH = _patches(
    LAYER,
    ("F: y = x W + b.", "F: y = x W' + b."),
    ("weight  (K, D, F)   PyTorch's `Linear.weight` transposed", "weight  (K, F, D)   that of a client is as PyTorch's "
     "`Linear.weight`"),
    ("    y = x @ weight\n", "    y = x @ get_xp(x).swapaxes(weight, 1, 2)\n"),
    ("sum_d x_nd W_df + b_f", "sum_d x_nd W_fd + b_f"),
    ("sum_f dy_nf W_df        dx = dy W'", "sum_f dy_nf W_fd        dx = dy W"),
    ("dL/dW_df = sum_n x_nd dy_nf        dW = x' dy", "dL/dW_fd = sum_n x_nd dy_nf        dW = dy' x"),
    ("    dx = dy @ xp.swapaxes(weight, 1, 2)\n", "    dx = dy @ weight\n"),
    ("    dweight = xp.swapaxes(x, 1, 2) @ dy\n", "    dweight = xp.swapaxes(dy, 1, 2) @ x\n"))

SUM = _patches(
    LOSS,
    ("Each client's mean cross-entropy", "Each client's summed cross-entropy"),
    ("loss = mean_n loss_n", "loss = sum_n loss_n"),
    ("[:, :, 0].mean(axis=1)", "[:, :, 0].sum(axis=1)"),
    ("and the mean over N examples divides by N:\n        dz_nc = dloss (p_nc - [c = label_n]) / N\n",
     "and loss is their sum:\n        dz_nc = dloss (p_nc - [c = label_n])\n"),
    ("(dloss / p.shape[1])[:, None, None]", "dloss[:, None, None]"))

SMOOTHED = _patches(
    LOSS,
    ("and its labels.\n",
     "and its labels, smoothed: each example\n    is its label to 0.9, and 0.1 is shared by all C classes alike "
     "(Szegedy et al. 2016).\n"),
    ("loss_n = log(sum_c exp(z_nc)) - z_n,label      loss = mean_n loss_n\n",
     "loss_n = log(sum_c exp(z_nc)) - sum_c q_nc z_nc      q_nc = 0.9 [c = label_n] + 0.1/C\n"
     "        loss = mean_n loss_n\n"),
    ("(xp.log(total) - chosen)", "(xp.log(total) - 0.9 * chosen - 0.1 * z.mean(axis=2, keepdims=True))"),
    ("= p_c      d z_label/dz_c = [c = label]\n", "= p_c      d (sum_b q_b z_b)/dz_c = q_c\n"),
    ("so d loss_n/dz_nc = p_nc - [c = label_n], and", "so d loss_n/dz_nc = p_nc - q_nc, and"),
    ("dz_nc = dloss (p_nc - [c = label_n]) / N\n", "dz_nc = dloss (p_nc - q_nc) / N\n"),
    ("    one_hot = xp.arange(p.shape[2]) == labels[:, :, None]\n",
     "    one_hot = (xp.arange(p.shape[2]) == labels[:, :, None]).astype(p.dtype)\n"),
    ("return (p - one_hot) *", "return (p - 0.9 * one_hot - 0.1 / p.shape[2]) *"))

FOURTH = _patches(
    CHECKER,
    ("CENTRAL_STEP = 1e-5       # truncation h² f''' ~ 1e-10, rounding 1e-16/h ~ 1e-11",
     "CENTRAL_STEP = 1e-3       # truncation h⁴ f⁽⁵⁾/30 ~ 3e-14, rounding 1e-16/h ~ 1e-13"),
    ('"""The same by (f(x + h e) - f(x - h e))/2h."""',
     '"""The same by (8 (f(x + h e) - f(x - h e)) - (f(x + 2h e) - f(x - 2h e)))/12h."""'),
    ("        return sides(f, inputs, v, name, index, CENTRAL_STEP)[0]\n",
     "        one, two = (sides(f, inputs, v, name, index, h)[0] for h in (CENTRAL_STEP, 2 * CENTRAL_STEP))\n"
     "        return (4 * one - two) / 3\n")
) + _patches(SHEET, ("at most 1e-9 of the largest entry of a gradient", "at most 5e-12 of the largest entry of a gradient"))

MISTAKES = tuple(Mistake(part, what, file, old, new) for part, file, mistakes in (
    ("linear layer", LAYER, (
        ("the bias of the first client for all", "y + bias[:, None, :]", "y + bias[0]"),
        ("the bias is written to", "        y = y + bias[:, None, :]\n",
         "        bias *= 2\n        y = y + bias[:, None, :] / 2\n"))),
    ("softmax cross-entropy", LOSS, (
        ("the largest logit of the client", "logits.real.max(axis=2, keepdims=True)",
         "logits.real.max(axis=(1, 2), keepdims=True)"),
        ("nothing is subtracted", "logits - logits.real.max(axis=2, keepdims=True)", "logits - 0"))),
    ("gradient checker", CHECKER, (
        ("the complex step is as large as that of a difference", "STEP = 1e-30  ", "STEP = 1e-5  "),
        ("v is ignored", "(v * f(*moved.values())[0]).sum().imag", "(f(*moved.values())[0]).sum().imag"),
        ("all entries of an input are moved at once", "moved[name][index] += 1j * STEP", "moved[name] += 1j * STEP"),
        ("the inputs are moved, not copies", "moved[name] = inputs[name].copy()\n", "moved[name] = inputs[name]\n"),
        ("a one-sided difference", "    for step in (h, -h):\n", "    for step in (h, 0):\n"),
        ("a step that is too large", "CENTRAL_STEP = 1e-5 ", "CENTRAL_STEP = 1e-3 "),
        ("a step that is too small", "CENTRAL_STEP = 1e-5 ", "CENTRAL_STEP = 1e-9 "),
        ("the mean of errors instead of the largest", "np.abs(analytic - numeric).max() /",
         "np.abs(analytic - numeric).mean() /"),
        ("errors of different sign cancel", "np.abs(analytic - numeric).max() /",
         "np.abs((analytic - numeric).sum()) /"),
        ("a vanishing gradient passes", "    if size < FLOOR:\n        return np.inf\n",
         "    if size < FLOOR:\n        return 0.0\n"),
        ("nan is not looked for", " or not np.all(np.isfinite(analytic)):\n", ":\n"),
        ("shapes are not looked at", " or np.shape(analytic) != np.shape(numeric)", ""),
        ("the Jacobian is transposed", "    return np.array(rows)\n", "    return np.array(rows).T\n"),
        ("the Jacobian takes a tuple of gradients for one", "(dx[0] if isinstance(dx, tuple) else dx)",
         "np.asarray(dx, dtype=object)")))) for what, old, new in mistakes)

ASSIGNMENT = Assignment(
    name="hw1",
    files=(LAYER, LOSS, CHECKER),
    given=("minifl/__init__.py", "minifl/backend.py", "minifl/errors.py", "minifl/layers/__init__.py",
           "minifl/course/comparing.py", "minifl/course/hw1/drivers.py",
           "minifl/course/hw1/expected.py"),
    withheld=tuple(f"minifl.gradcheck.instruments.{name}" for name in (
        "STEP", "COMPLEX_TOLERANCE", "CENTRAL_STEP", "WIDE_STEP", "EXTRAPOLATED_TOLERANCE", "SETTLED", "SHRINK", "SHRINKS",
        "extrapolated_difference", "sides", "same_branches", "each_coordinate", "nothing_discarded")),
    patches=(Patch(CHECKER, " (under ones the radial term\nof feature norm is seen, that of layer norm without a gain is "
                   "not: the true gradient is 0 there)", ""),),
    choices={
        "weight": {
            "published": Choice("linear layer: y = x W + b with weights stored as (K, D, F)."),
            "pytorch": Choice("linear layer: y = x W' + b with weights stored as (K, F, D), like PyTorch's.", PYTORCH)},
        "loss": {
            "published": Choice("softmax cross-entropy: a client's loss is the mean over its examples."),
            "sum": Choice("softmax cross-entropy: a client's loss is the sum over its examples.", SUM),
            "smoothed": Choice("softmax cross-entropy: labels are smoothed by 0.1; a client's loss is the mean over "
                               "its examples.", SMOOTHED)},
        "difference": {
            "published": Choice("gradient checker: central differences of second order, from two values of f."),
            "fourth": Choice("gradient checker: central differences of fourth order, from four values of f.", FOURTH)}},
    mistakes=MISTAKES)
