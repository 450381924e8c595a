"""Propositions 1 and 2 as experiments with chains of matrices (chains.py), written out layer by layer.

Matrices U_1..U_L and W, biases b_1..b_L (zero in the propositions), rho leaky ReLU, and for each example, as a row,
    a_0 = x,   z_i = a_(i-1) U_i + b_i
    a_i = norm_i(rho(z_i)),   logits = a_L W
"Everywhere" means the same norm at every layer. The propositions say what of it is needed inside, at the layers i < L.
"""

import numpy as np

from minifl.paper.chains import (ACTIVATIONS, EPS, centred, cross_entropy, difference, gradients, identity,
                                 leaky_relu, mv, sphere)


def fn_network(x, weights, biases, everywhere, activation="leaky-relu"):
    """Proposition 1's networks: n at every layer, or (everywhere False) at layer L alone and no norm before.

    x        (m, inputs)
    weights  [U_1, ..., U_L, W], of shapes (inputs, outputs)
    biases   [b_1, ..., b_L], of shapes (outputs,)
    returns  logits (m, C); complex ones for complex weights
    """
    rho, a = ACTIVATIONS[activation], x
    for layer, (weight, bias) in enumerate(zip(weights, biases), 1):
        norm = sphere if everywhere or layer == len(biases) else identity
        a = norm(rho(a @ weight + bias))
    return a @ weights[-1]


def fn_factor(x, weights):
    """c (m,) for the examples x: the vector that the last n gets where n is everywhere is c times the vector that it
    gets where it is the only one. No biases, leaky ReLU, weights as in fn_network; all vectors longer than EPS.

    Derivation. n multiplies an example by r_i = sqrt(d_i)/||v_i||, v_i being what it gets at layer i of the network
    that has it everywhere. As rho(t z) = t rho(z) for t > 0 and matrices are linear, what comes after layer i is r_i
    times what it would be without that n. From layer to layer these numbers multiply:
        c = r_1 r_2 ... r_(L-1)                                                   (*)
    The last n maps v and c v, c > 0, to the same vector: that is Proposition 1. As the functions of the weights are
    equal, so are their gradients, and what training makes of them.
    """
    a, factor = x, np.ones(len(x))
    for weight in weights[:-2]:
        v = leaky_relu(a @ weight)
        scale = v.shape[1] ** 0.5 / np.linalg.norm(v, axis=1)
        factor = factor * scale
        a = scale[:, None] * v
    return factor


def fn_compare(x, labels, weights, biases, steps, rate, activation="leaky-relu"):
    """How different the two networks of fn_network are, in numbers: each is `difference` of chains.py of the pair.

    labels  (m,); the loss is cross_entropy, full-batch SGD of all `weights` at that rate, biases stay as they are
    returns {"output": a number, of the logits,
             "gradient": a list of L + 1 numbers, one for each matrix,
             "trained": a list of L + 1 numbers, of the matrices after so many steps, each network trained on its own}
    """
    def slopes(weights, everywhere):
        return gradients(lambda w: cross_entropy(fn_network(x, w, biases, everywhere, activation), labels), weights)

    def one(a, b):
        return float(difference(a[None], b[None])[0])

    output = one(*(fn_network(x, weights, biases, everywhere, activation) for everywhere in (True, False)))
    gradient = [one(a, b) for a, b in zip(slopes(weights, True), slopes(weights, False))]
    ends = []
    for everywhere in (True, False):
        trained = weights
        for _ in range(steps):
            trained = [weight - rate * slope for weight, slope in zip(trained, slopes(trained, everywhere))]
        ends.append(trained)
    return {"output": output, "gradient": gradient, "trained": [one(a, b) for a, b in zip(*ends)]}


def fn_least_scale(x, weights):
    """What the paper leaves out: the least t > 0 for which Proposition 1 still holds at [t U_1, U_2, ..., U_L, W] and
    all examples x (m, inputs). No biases, leaky ReLU.

    Derivation. n(v) = sqrt(d) v/||v|| removes the scale while ||v|| >= EPS. Below, it is v times a fixed number. The
    network with n at the last layer alone is without norms before that, so what its n gets is t v, v being the vector
    at t = 1. The proposition holds for an example as long as t ||v|| >= EPS, and for all of them from
        t = EPS / min over examples of ||v||                                      (*)
    on. (With n everywhere the first n makes up for a small t, so its last n is not concerned.)
    """
    a = x
    for weight in weights[:-1]:
        z = a @ weight
        a = leaky_relu(z)
    last = a
    return float(EPS / np.linalg.norm(last, axis=1).min())


def mv_network(x, weights, everywhere):
    """Proposition 2's networks, leaky ReLU, no biases: n_MV at every layer, or (everywhere False) the network that the
    proposition says is the same: n_MV at layer L alone, and inside only what is needed of n_MV.

    x        (m, inputs)
    weights  [U_1, ..., U_L, W], of shapes (inputs, outputs)
    returns  logits (m, C)

    Derivation. n_MV(v) = n(s(v)), and s is linear. As in Proposition 1 each n inside multiplies an example by a
    positive number, which rho, matrices and s let through and the last n removes; so the n's inside may go. The s's
    must stay: they change directions.
    """
    a = x
    for layer, weight in enumerate(weights[:-1], 1):
        norm = mv if everywhere or layer == len(weights) - 1 else centred
        a = norm(leaky_relu(a @ weight))
    return a @ weights[-1]


def absorb_shift(weights):
    """Weights [U'_1, ..., U'_L, W'] with which a network that has n_MV at layer L and nothing at all inside gives the
    same logits as the network with n_MV everywhere at `weights`, for every x. Leaky ReLU, no biases.

    Derivation. By Proposition 2 s inside is enough. On rows, s(a) = a P with P = I - 11'/d, a matrix, and the matrix
    that follows takes it in:
        a P U_i = a (P U_i):    U'_i = P U_i for i = 2..L,   U'_1 = U_1,   W' = W                              (*)
    P U_i is U_i minus the mean of each of its columns. x is not shifted, so U_1 stays, and W follows the n_MV that
    remains. At `weights` themselves, leaving out the s's changes the network.
    """
    return [weights[0], *(weight - weight.mean(axis=0) for weight in weights[1:-1]), weights[-1]]


def length_ratio(v_a, v_b, eps):
    """||y_a||/||y_b|| for y = (x - mean(x))/sqrt(v + eps), v = var(x) = mean of (x - mean(x))²: layer norm as code has
    it, of two vectors of d entries whose x - mean(x) have the same direction, and the variances v_a and v_b.

    v_a, v_b  arrays of one shape, positive; any size against eps
    returns   an array of their shape

    Derivation. y is (x - mean)/sqrt(v), of length sqrt(d) whatever v is, times sqrt(v/(v + eps)), so
        ||y_a||/||y_b|| = sqrt[(v_a/(v_a + eps)) / (v_b/(v_b + eps))]             (*)
    and Proposition 2 is true of such a layer norm for directions, but not for lengths.
    """
    return np.sqrt(v_a / (v_a + eps) / (v_b / (v_b + eps)))
