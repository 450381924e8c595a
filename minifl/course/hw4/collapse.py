"""How low the loss of a client with one class can go: the floor that feature norm keeps under it.

Client k has examples of class k alone, so every step of its own says "more of class k". Its loss goes to 0 without end:
the plain network can always make features longer, and so the logits of class k larger. That is its collapse: after a
few local steps the model says k whatever it is shown (`python -m minifl.course.hw4.experiment`). Feature norm gives all
features one length; then only the weights can grow.

There are no biases: the logits of an example with feature g (d,) are z_c = w_c.g, its loss is log sum_c exp(z_c) - z_k.
"""

import numpy as np


def lowest_loss(classes, features, radius):
    """The floor under the loss of a client with one class.

    classes   C
    features  d: features have length sqrt(d)
    radius    R: no weight vector is longer, ||w_c|| <= R for all c
    returns   the lowest loss that there is, over all such features and weights

    Derivation. With m_c = (w_c - w_k).g the loss is log(1 + sum_{c != k} exp(m_c)), which rises with each m_c. By
    Cauchy-Schwarz m_c >= -(||w_c|| + ||w_k||) ||g|| >= -2 R sqrt(d), with equality in both where w_k points along g and
    every other w_c against it, all of length R. So the floor is log(1 + (C - 1) exp(-2 R sqrt(d))).
    """
    return float(np.log1p((classes - 1) * np.exp(-2 * radius * np.sqrt(features))))


def at_the_floor(classes, features, radius, k):
    """A classifier and a feature with which the loss of class k is `lowest_loss`.

    classes, features, radius   as in lowest_loss
    returns   w (C, d), ||w_c|| <= radius, and g (d,) of length sqrt(d)

    Derivation. Along any unit vector u: g = sqrt(d) u, w_k = R u, and the others are -R u.
    """
    u = np.eye(features)[0]
    w = -radius * np.ones((classes, 1)) * u
    w[k] = radius * u
    return w, np.sqrt(features) * u
