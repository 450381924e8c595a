"""FedAwS: its loss and its server's step by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from by_hand import a_round, begin, close, loss_and_gradient
from declared_values import NOT_NEGATIVE, SHARES
from plain import Plain, average, cosine, through_network

from minifl.fl.algorithms.fedaws import FedAwS
from minifl.params import Entry, Spec

DECLARED = {"hinge_margin": (0.9, SHARES), "spreadout_lr": (0.1, NOT_NEGATIVE),
            "spreadout_margin": (1.0, ((1e-300, 1, 2, 2.0), (0, 0.0, -0.1, 2.0001, 3)))}
NO_SMOOTHING = True      # a loss without labels to spread
HARD = {"hinge_margin": 0.8, "spreadout_margin": 0.8, "spreadout_lr": 0.3}


class Oracle(Plain):

    def objective(self, settings, model, theta, x, y, counts, w):
        def of_outputs(logits, features, embeddings):
            loss, dfeature, dembeddings = 0.0, np.zeros_like(features), np.zeros_like(embeddings)
            for n, g in enumerate(features):
                value, by_feature, by_embedding = cosine(g, embeddings[:, y[n]])
                gap = settings.hinge_margin - value
                if gap > 0:
                    loss += gap ** 2 / len(features)
                    dfeature[n] = -2 * gap * by_feature / len(features)
                    dembeddings[:, y[n]] += -2 * gap * by_embedding / len(features)
            return loss, 0 * logits, dfeature, dembeddings
        return through_network(model, theta, x, of_outputs)

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        after = average(answers)
        matrix = model.spec.views(after[None])["classifier.weight"][0]
        columns = []
        for c in range(matrix.shape[1]):
            holders = [answer.counts[c] * answer.weight / sum(answer.counts) for answer in answers]    # n_kc, if n_k weighs
            held = sum(holders)
            column = model.spec.views(w[None])["classifier.weight"][0, :, c]
            if held:
                theirs = [model.spec.views(a.theta[None])["classifier.weight"][0, :, c] for a in answers]
                column = sum(part / held * own_column for part, own_column in zip(holders, theirs, strict=True))
            columns.append(column)
        for c, column in enumerate(columns):
            slope = np.zeros_like(column)
            for other, neighbour in enumerate(columns):
                value, by_column, _ = cosine(column, neighbour)
                gap = settings.spreadout_margin - (1 - value)
                if other != c and gap > 0:
                    slope += 2 * 2 * gap * by_column     # as the pair (c, c') and as (c', c)
            moved = column - settings.spreadout_lr * slope
            matrix[:, c] = moved / math.sqrt(moved @ moved)
        return after, state


def test_the_loss_by_hand():
    # feature (3, 4), embedding of the label (2, 0): cosine 0.6, gap 0.9 - 0.6 = 0.3, loss 0.09
    # embedding: -2*0.3 ((0.6, 0.8) - 0.6 (1, 0))/2 = (0, -0.24); the other classes get nothing
    theta = [2, -5, 1,
             0, 9, 1]
    loss, gradient = loss_and_gradient(FedAwS(), theta, [(3, 4)], [0])
    assert loss == pytest.approx(0.09, rel=1e-14)
    np.testing.assert_allclose(gradient, [0, 0, 0, -0.24, 0, 0], rtol=0, atol=1e-15)


# FedAwS: a network of one other parameter and embeddings in two dimensions of classes 0, 1, 2.
# Client A holds 3 examples of class 0 and 1 of class 1, client B 4 of class 1; nobody holds class 2.
AWS = SimpleNamespace(spec=Spec((Entry("body", (1,)), Entry("classifier.weight", (2, 3)))))
AWS_W = np.array([5.0,  1, 0, 0.6,      # the embeddings are the columns (1, 0), (0, 1), (0.6, 0.8)
                        0, 1, 0.8])
AWS_UPDATES = [(2,  1, -8, 9,           # A moves them by (1, 0), (-8, 4), and by (9, 9) without class 2
                    0, 4, 9),
               (4,  7, 2, 9,            # B by (7, 7) without class 0, by (2, 4), (9, 9)
                    7, 4, 9)]


def aws_round(method, server, updates=AWS_UPDATES):
    return a_round(method, server, updates, examples=(4, 4), counts=((3, 1, 0), (0, 4, 0)), model=AWS)


def test_the_server_by_hand():
    method = FedAwS(spreadout_margin=0.9, spreadout_lr=0.5)
    one = aws_round(method, begin(method, AWS_W))
    close(one.w[0], 8)                                     # 5 + 1/2*2 + 1/2*4
    # Averages: w_0 = (1, 0) + (1, 0) = (2, 0): A alone holds class 0. w_2 = (0.6, 0.8) stays.
    #           w_1 = (0, 1) + (1 (-8, 4) + 4 (2, 4))/5 = (0, 5): by examples of class 1, not of all classes.
    # Cosines 0 (w_0, w_1), 0.6 (w_0, w_2), 0.8 (w_1, w_2); gaps 0.9 - 1 + cos: none, 0.5, 0.7.
    # Spreadout, with dcos/da = (b/|b| - cos a/|a|)/|a| and each pair counted twice: 4 gap dcos
    #   w_0: 4*0.5 ((0.6, 0.8) - 0.6 (1, 0))/2 = (0, 0.8)
    #   w_1: 4*0.7 ((0.6, 0.8) - 0.8 (0, 1))/5 = (0.336, 0)
    #   w_2: 4*0.5 ((1, 0) - 0.6 (0.6, 0.8)) + 4*0.7 ((0, 1) - 0.8 (0.6, 0.8))
    #      = 2 (0.64, -0.48) + 2.8 (-0.48, 0.36) = (-0.064, 0.048)
    # less 0.5 of it, then divided by the length:
    a, b, c = np.array([2, -0.4]), np.array([-0.168, 5]), np.array([0.632, 0.776])
    close(one.w[1:].reshape(2, 3).T, [a / math.sqrt(4.16), b / math.sqrt(25.028224), c / math.sqrt(1.0016)])
    assert one.state == {}


def test_without_spreadout_averages_and_normalizes():
    method = FedAwS(spreadout_lr=0.0)
    one = aws_round(method, begin(method, AWS_W))
    close(one.w[1:].reshape(2, 3).T, [(1, 0), (0, 1), (0.6, 0.8)])
    # round 2: w_0 = (1, 0) + (2, 4) = (3, 4);  w_1 = (0, 1) + (1 (0, 4) + 4 (-3, -1))/5 = (-2.4, 1)
    two = aws_round(method, one, [(0, 2, 0, 0, 4, 4, 0), (0, 0, -3, 0, 0, -1, 0)])
    close(two.w[1:].reshape(2, 3).T, [(0.6, 0.8), (-2.4 / 2.6, 1 / 2.6), (0.6, 0.8)])


def test_margin_1_stops_at_orthogonal_embeddings():
    method = FedAwS(spreadout_lr=0.5)
    orthogonal = np.array([0.0,  1, 0, -1,
                                 0, 1, 0])      # cosines 0, -1, 0: nothing is closer than margin 1
    one = aws_round(method, begin(method, orthogonal), np.zeros((2, 7)))
    close(one.w, orthogonal)
