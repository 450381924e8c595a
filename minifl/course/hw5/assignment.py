"""Assignment 5, with its variants and wrong submissions. Never handed out."""

from minifl.course.assignments import Assignment, Choice, Mistake, Patch

METHODS = "minifl/fl/algorithms"
PROX, SCAFFOLD, OPT, YOGI = (f"{METHODS}/{name}.py" for name in ("fedprox", "scaffold", "fedopt", "fedyogi"))
HERE = "minifl/course/hw5"
SHEET = f"{HERE}/sheet.md"

TERM = "F_k(theta) + mu/2 ||theta - w||^2,"
PULL = "is mu (theta - w), so a step takes grad F_k(theta) + mu (theta - w)."
PULLED = "g + self.mu * (theta - work.w), seen"

WHOLE = (Patch(PROX, TERM, "F_k(theta) + mu ||theta - w||^2,"),
         Patch(PROX, PULL, "is 2 mu (theta - w), so a step takes grad F_k(theta) + 2 mu (theta - w)."),
         Patch(PROX, PULLED, PULLED.replace("self.mu", "2 * self.mu")))

ABSOLUTE = (Patch(PROX, TERM, "F_k(theta) + mu ||theta - w||_1,"),
            Patch(PROX, "w the server's parameters\n",
                  "w the server's parameters\n    (||u||_1 = sum_i |u_i|, whose slope at u_i = 0 is taken to be 0)\n"),
            Patch(PROX, PULL, "is mu sign(theta - w), so a step takes grad F_k(theta) + mu sign(theta - w)."),
            Patch(PROX, PULLED, "g + self.mu * get_xp(g).sign(theta - work.w), seen"),
            Patch(PROX, "from minifl.fl.algorithms.fedavg import",
                  "from minifl.backend import get_xp\nfrom minifl.fl.algorithms.fedavg import"))

RETURN = '        return message | {"control": new - control}, {"control": new}\n'
OPTION_I = "c_k+ = grad F_k(w), here the mean gradient at w over the batches of the round\n"
OPTION_II = "c_k+ = the mean gradient along the way, without"
DERIVED = "c_k+ = mean_e(g_e) = c_k - c + (w - theta)/(E lr)\n"

HALF = (Patch(SCAFFOLD, OPTION_I, "c_k+ = (c_k + grad F_k(w))/2, where grad F_k(w) is the mean gradient at w over the\n"
                                  "                batches of the round\n"),
        Patch(SCAFFOLD, OPTION_II, "c_k+ = (c_k + mean gradient along the way)/2, without"),
        Patch(SCAFFOLD, "\nAll controls start at 0.",
              "\nA new control goes half of the way from the old one only.\nAll controls start at 0."),
        Patch(SCAFFOLD, DERIVED, "mean_e(g_e) = c_k - c + (w - theta)/(E lr);   c_k+ = (c_k + mean_e(g_e))/2\n"),
        Patch(SHEET, "option I there is `_mean_gradient_at_server`.",
              "option I there is `_mean_gradient_at_server`.\n"
              "The new control is half of the old one and half of what was found."),
        Patch(SCAFFOLD, RETURN, f"        new = (control + new) / 2\n{RETURN}"))

NEGATIVE = (Patch(SCAFFOLD, "theta <- theta - lr (grad F_k(theta) - c_k + c)",
                  "theta <- theta - lr (grad F_k(theta) + c_k - c)"),
            Patch(SCAFFOLD, OPTION_I, OPTION_I.replace("grad F_k(w), here", "-grad F_k(w), here minus")),
            Patch(SCAFFOLD, OPTION_II, "c_k+ = minus the mean gradient along the way, without"),
            Patch(SCAFFOLD, "\nAll controls start at 0.",
                  "\nThese controls are corrections, minus the gradients that they stand for.\n"
                  "All controls start at 0."),
            Patch(SCAFFOLD, "c_k = grad F_k and c = 0.", "c_k = -grad F_k and c = 0."),
            Patch(SCAFFOLD, 'g - work.own["control"] + work.server["control"], seen',
                  'g + work.own["control"] - work.server["control"], seen'),
            Patch(SCAFFOLD, "sum_e (g_e - c_k + c),   hence   (w - theta)/(E lr) = mean_e(g_e) - c_k + c,",
                  "sum_e (g_e + c_k - c),   hence   (w - theta)/(E lr) = mean_e(g_e) + c_k - c,"),
            Patch(SCAFFOLD, DERIVED, "c_k+ = -mean_e(g_e) = c_k - c - (w - theta)/(E lr)\n"),
            Patch(SCAFFOLD, '- message["update"] / (work.steps', '+ message["update"] / (work.steps'),
            Patch(SCAFFOLD, "            new = _mean_gradient", "            new = -_mean_gradient"))

STEP = "w <- w + server_lr m / (sqrt(v) + server_tau)\n"
DONE = "        return w + self.server_lr * m / (get_xp(w).sqrt(v) + self.server_tau), {\"m\": m, \"v\": v}\n"

INSIDE = (Patch(OPT, STEP, "w <- w + server_lr m / sqrt(v + server_tau^2)\n"),
          Patch(OPT, DONE, DONE.replace("(get_xp(w).sqrt(v) + self.server_tau)",
                                        "get_xp(w).sqrt(v + self.server_tau**2)")))

CORRECTED = (Patch(OPT, STEP, "ones <- beta1 ones + (1 - beta1)           from ones = 0, (P,) like m\n"
                              "             w <- w + server_lr (m/ones) / (sqrt(v) + server_tau)\n"),
             Patch(OPT, "There is no bias correction in their algorithm.",
                   "`ones` is what m would be if every D were 1: m/ones is the mean of the updates with weights that "
                   "sum to 1.\nThis bias correction is not in their algorithm."),
             Patch(SHEET, "their names are m and v.", "their names are m, v and ones."),
             Patch(OPT, "self.server_v0)}\n", "self.server_v0), \"ones\": xp.zeros_like(w)}\n"),
             Patch(OPT, DONE, "        ones = self.beta1 * state[\"ones\"] + (1 - self.beta1)\n"
                              "        step = m / ones / (get_xp(w).sqrt(v) + self.server_tau)\n"
                              "        return w + self.server_lr * step, {\"m\": m, \"v\": v, \"ones\": ones}\n"))

STOP = (Patch(YOGI, "as fast as Adam's and falls more slowly.\n",
              "as fast as Adam's and falls more slowly.\n"
              "It never passes D^2: where less than a step is left, it stops there.\n"),
        Patch(YOGI, "            v <- v - (1 - beta2) D^2 sign(v - D^2)\n",
              "            v <- v - min((1 - beta2) D^2, |v - D^2|) sign(v - D^2)\n"),
        Patch(YOGI, "        return v - (1 - self.beta2) * square * get_xp(v).sign(v - square)\n",
              "        step, gap = (1 - self.beta2) * square, v - square\n"
              "        return v - get_xp(v).minimum(step, abs(gap)) * get_xp(v).sign(gap)\n"))

ASSIGNMENT = Assignment(
    name="hw5",
    files=(PROX, SCAFFOLD, OPT, YOGI),
    given=("minifl/__init__.py", "minifl/backend.py", "minifl/declared.py", "minifl/errors.py", "minifl/params.py",
           "minifl/rng.py", "minifl/fl/participation.py", f"{METHODS}/fedavg.py",
           *(f"minifl/layers/{name}.py" for name in (
               "__init__", "activations", "attention", "batchnorm", "conv", "linear", "loss", "norm",
               "pool", "smoothing", "tokens", "weights")),
           *(f"minifl/fast/{name}.py" for name in ("__init__", "conv", "filtering", "pool")),
           *(f"minifl/models/{name}.py" for name in (
               "__init__", "arrangement", "blocks", "cnn", "mlp", "network", "norms", "resnet", "vit")),
           f"{HERE}/drivers.py", f"{HERE}/expected.py"),
    choices={
        "prox": {
            "published": Choice("FedProx: the term is mu/2 ||theta - w||^2."),
            "whole": Choice("FedProx: the term is mu ||theta - w||^2, without the half.", WHOLE),
            "absolute": Choice("FedProx: the term is mu times the sum of the absolute values of theta - w.", ABSOLUTE)},
        "control": {
            "published": Choice("SCAFFOLD: a control stands for a gradient, and a new one replaces the old one."),
            "half": Choice("SCAFFOLD: a control stands for a gradient, and a new one is half of the old one and half "
                           "of what the client found.", HALF),
            "negative": Choice("SCAFFOLD: a control is a correction, minus the gradient that it stands for.",
                               NEGATIVE)},
        "server": {
            "published": Choice("server optimizers: tau stands outside of the root, and there is no bias correction."),
            "inside": Choice("server optimizers: tau stands inside the root, as its square.", INSIDE),
            "corrected": Choice("server optimizers: m is corrected for its start at 0.", CORRECTED)},
        "yogi": {
            "published": Choice("FedYogi: a step of v may pass D^2."),
            "stop": Choice("FedYogi: v stops at D^2 instead of passing it.", STOP)}},
    mistakes=(
        Mistake("FedProx", "pushed away from the server", PROX, "g + self.mu * (theta", "g - self.mu * (theta"),
        Mistake("FedProx", "the factor of the square", PROX, "g + self.mu * (theta", "g + self.mu / 2 * (theta"),
        Mistake("FedProx", "pulled to zero", PROX, "self.mu * (theta - work.w), seen", "self.mu * theta, seen"),
        Mistake("FedProx", "the loss holds the term", PROX, "return loss, g",
                "return loss + self.mu / 2 * ((theta - work.w) ** 2).sum(axis=1), g"),
        Mistake("SCAFFOLD", "the controls have their signs exchanged in the step", SCAFFOLD,
                'g - work.own["control"] + work.server["control"], seen',
                'g + work.own["control"] - work.server["control"], seen'),
        Mistake("SCAFFOLD", "the server's control is left out of the step", SCAFFOLD,
                ' + work.server["control"], seen', ", seen"),
        Mistake("SCAFFOLD", "the new control has the way's sign", SCAFFOLD, '- message["update"] / (work.steps',
                '+ message["update"] / (work.steps'),
        Mistake("SCAFFOLD", "the way is not divided by the steps", SCAFFOLD, '["update"] / (work.steps * work.lr)',
                '["update"] / work.lr'),
        Mistake("SCAFFOLD", "the server's control is left out of option II", SCAFFOLD,
                'new = control - work.server["control"] - message', "new = control - message"),
        Mistake("SCAFFOLD", "the new control is sent instead of its change", SCAFFOLD, '{"control": new - control}',
                '{"control": new}'),
        Mistake("SCAFFOLD", "the controls are never updated, as in the paper's released code", SCAFFOLD,
                '{"control": new - control}, {"control": new}', '{"control": 0 * control}, {"control": control}'),
        Mistake("SCAFFOLD", "option I and II are exchanged", SCAFFOLD, 'self.scaffold_option == "II"',
                'self.scaffold_option == "I"'),
        Mistake("SCAFFOLD", "option I with batches of steps that are not done", SCAFFOLD,
                "total += xp.where(work.active[:, step, None], g, xp.zeros_like(g))", "total += g"),
        Mistake("SCAFFOLD", "the server's control is not scaled by the share", SCAFFOLD,
                'state["control"] + share * mean', 'state["control"] + mean'),
        Mistake("SCAFFOLD", "the server's control is replaced", SCAFFOLD, 'state["control"] + share * mean',
                "share * mean"),
        Mistake("SCAFFOLD", "server_lr is forgotten", SCAFFOLD, "w + self.server_lr * mean", "w + mean"),
        Mistake("server optimizers", "v starts at 0", OPT, "xp.full_like(w, self.server_v0)", "xp.zeros_like(w)"),
        Mistake("server optimizers", "momentum of w instead of m", OPT, 'self.beta1 * state["m"] +',
                "self.beta1 * w +"),
        Mistake("server optimizers", "the update is not averaged in", OPT, "(1 - self.beta1) * update", "update"),
        Mistake("server optimizers", "against the update, as if it were a gradient", OPT, "return w + self.server_lr",
                "return w - self.server_lr"),
        Mistake("server optimizers", "no root", OPT, "(get_xp(w).sqrt(v) + self", "(v + self"),
        Mistake("server optimizers", "the old v under the root", OPT, "sqrt(v) + self", 'sqrt(state["v"]) + self'),
        Mistake("FedYogi", "away from the square", YOGI, "return v - (1", "return v + (1"),
        Mistake("FedYogi", "the sign of v - D", YOGI, "sign(v - square)", "sign(v - update)"),
        Mistake("FedYogi", "Adam's", YOGI, "square * get_xp(v).sign(v - square)", "(v - square)"),
        Mistake("FedYogi", "a step of the size of v", YOGI, "square * get_xp", "v * get_xp"),
        Mistake("FedYogi", "beta2 for 1 - beta2", YOGI, "(1 - self.beta2) * square", "self.beta2 * square")))
