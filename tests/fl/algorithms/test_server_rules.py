"""Every server rule by hand: two clients, two parameters, two rounds where the server remembers something.

Unless said otherwise clients A and B hold 3 and 1 of 4 training examples and the server starts at w = (1, 2).
The clients' steps end at w + (2, 0) and w + (2, -4) in round 1, at w + (0, 2) and w + (4, 2) in round 2. So
the mean updates are
    round 1:  D = 3/4 (2, 0) + 1/4 (2, -4) = (2, -1)
    round 2:  D = 3/4 (0, 2) + 1/4 (4, 2)  = (1, 2)
"""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_problem import network, problem, run, settings_of   # noqa: E402

from minifl.fl.algorithms import ALGORITHMS                    # noqa: E402
from minifl.fl.algorithms.fedavg import Work                   # noqa: E402
from minifl.fl.local import local_sgd, weight_of_steps         # noqa: E402
from minifl.params import Entry, Spec                          # noqa: E402

W = np.array([1.0, 2.0])
FIRST, SECOND = [(2, 0), (2, -4)], [(0, 2), (4, 2)]


class Server(NamedTuple):
    w: np.ndarray
    state: dict
    own: dict    # name -> (2, P)


def begin(method, w=W):
    return Server(w, method.server_state(w), {name: np.zeros((2, len(w))) for name in method.kept})


def a_round(method, server, updates, *, examples=(3, 1), total=None, steps=(1, 1), lr=1.0, model=None,
            counts=((3,), (1,))):
    """The server after one round in which the clients' steps ended at w + updates."""
    n, counts, steps = (np.array(numbers, dtype=float) for numbers in (examples, counts, steps))
    work = Work(model=model, w=server.w, server=server.state, own=server.own, counts=counts, x=None, y=None,
                active=None, steps=steps[:, None], lr=lr)
    message, own = method.message(work, server.w + np.array(updates, dtype=float))
    mean = {name: n[0] / n.sum() * sent[0] + n[1] / n.sum() * sent[1] for name, sent in message.items()}
    before = server.w.copy()
    w, state = method.server(model, server.w, mean, server.state, n.sum() / (total or n.sum()))
    np.testing.assert_array_equal(server.w, before)    # states are never written to
    return Server(w, state, own)


def close(array, expected):
    np.testing.assert_allclose(array, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fedlc", "fedrs", "feddecorr"])
def test_averaging(name):
    method = ALGORITHMS[name]()
    one = a_round(method, begin(method), FIRST)
    close(one.w, [3, 1])                                   # (1, 2) + (2, -1)
    close(a_round(method, one, SECOND).w, [4, 3])          # (3, 1) + (1, 2)
    assert one.state == {} and one.own == {}


def test_fedavgm():
    method = ALGORITHMS["fedavgm"](server_lr=2.0, beta1=0.5)
    one = a_round(method, begin(method), FIRST)
    close(one.state["m"], [2, -1])                         # 0.5 (0, 0) + (2, -1): no factor 1 - beta1
    close(one.w, [5, 0])                                   # (1, 2) + 2 (2, -1)
    two = a_round(method, one, SECOND)
    close(two.state["m"], [2, 1.5])                        # 0.5 (2, -1) + (1, 2)
    close(two.w, [9, 3])                                   # (5, 0) + 2 (2, 1.5)


def test_fedyogi():
    method = ALGORITHMS["fedyogi"](server_lr=1.0, beta1=0.5, beta2=0.65, server_tau=0.5, server_v0=2.6)
    one = a_round(method, begin(method), FIRST)            # D^2 = (4, 1): above and below v = 2.6
    close(one.state["m"], [1, -0.5])                       # 0.5 (0, 0) + 0.5 (2, -1)
    close(one.state["v"], [4, 2.25])                       # 2.6 + 0.35*4 = 4,  2.6 - 0.35*1 = 2.25
    close(one.w, [1.4, 1.75])                              # 1 + 1/(2 + 0.5),   2 - 0.5/(1.5 + 0.5)
    two = a_round(method, one, SECOND)                     # D^2 = (1, 4): below and above v = (4, 2.25)
    close(two.state["m"], [1, 0.75])                       # 0.5 (1, -0.5) + 0.5 (1, 2)
    close(two.state["v"], [3.65, 3.65])                    # 4 - 0.35*1,        2.25 + 0.35*4
    close(two.w, [1.4 + 1 / (math.sqrt(3.65) + 0.5), 1.75 + 0.75 / (math.sqrt(3.65) + 0.5)])


def test_fedyogi_stays_where_v_has_reached_the_square():
    method = ALGORITHMS["fedyogi"](beta2=0.5, server_v0=4.0)
    close(a_round(method, begin(method), FIRST).state["v"], [4, 3.5])    # 4 = 2^2: sign 0;  4 - 0.5*1


def test_fedadam():
    method = ALGORITHMS["fedadam"](server_lr=3.0, beta1=0.5, beta2=0.25, server_tau=0.5, server_v0=13.0)
    one = a_round(method, begin(method), FIRST)
    close(one.state["m"], [1, -0.5])                       # no bias correction, neither here nor in v
    close(one.state["v"], [6.25, 4])                       # 0.25*13 + 0.75*4,  0.25*13 + 0.75*1
    close(one.w, [2, 1.4])                                 # 1 + 3*1/(2.5 + 0.5),  2 - 3*0.5/(2 + 0.5)
    two = a_round(method, one, SECOND)
    close(two.state["m"], [1, 0.75])
    close(two.state["v"], [2.3125, 4])                     # 0.25*6.25 + 0.75*1,  0.25*4 + 0.75*4
    close(two.w, [2 + 3 / (math.sqrt(2.3125) + 0.5), 2.3])                # 1.4 + 3*0.75/(2 + 0.5)


def test_fedadagrad():
    method = ALGORITHMS["fedadagrad"](server_lr=10.5, server_tau=0.25, server_v0=6.5625)
    one = a_round(method, begin(method), FIRST)
    close(one.state["m"], [2, -1])                         # beta1 = 0
    close(one.state["v"], [10.5625, 7.5625])               # 6.5625 + 4,  6.5625 + 1: roots 3.25 and 2.75
    close(one.w, [7, -1.5])                                # 1 + 10.5*2/3.5,  2 - 10.5*1/3
    two = a_round(method, one, SECOND)
    close(two.state["v"], [11.5625, 11.5625])              # 10.5625 + 1,  7.5625 + 4
    close(two.w, [7 + 10.5 / (math.sqrt(11.5625) + 0.25), -1.5 + 21 / (math.sqrt(11.5625) + 0.25)])


def test_fednova():
    method = ALGORITHMS["fednova"]()
    one = a_round(method, begin(method), FIRST, steps=(2, 4))
    # directions (2, 0)/2 = (1, 0) and (2, -4)/4 = (0.5, -1), mean 3/4 (1, 0) + 1/4 (0.5, -1) = (0.875, -0.25)
    # times 3/4*2 + 1/4*4 = 2.5 steps: (2.1875, -0.625), where FedAvg has (2, -1)
    close(one.w, [3.1875, 1.375])
    two = a_round(method, one, SECOND, steps=(4, 1))
    # directions (0, 0.5) and (4, 2), mean (1, 0.875); times 3/4*4 + 1/4*1 = 3.25: (3.25, 2.84375)
    close(two.w, [6.4375, 4.21875])


def test_fedexp():
    method = ALGORITHMS["fedexp"](fedexp_epsilon=0.5)
    one = a_round(method, begin(method), [(3, -1), (-2, 2)], examples=(2, 2))
    # squares 10 and 8, mean 9; D = (0.5, 0.5), square 0.5; eta = 9/(2 (0.5 + 0.5)) = 4.5
    close(one.w, [3.25, 4.25])                             # (1, 2) + 4.5 (0.5, 0.5)
    two = a_round(method, one, FIRST)
    # squares 4 and 20, mean 3/4*4 + 1/4*20 = 8; D = (2, -1), square 5; 8/(2*5.5) < 1: eta = 1
    close(two.w, [5.25, 3.25])
    three = a_round(method, two, [(2, 0), (-4, 8)])
    # squares 4 and 80, mean 3 + 20 = 23; D = (0.5, 2), square 4.25; eta = 23/(2*4.75) = 46/19
    close(three.w, [5.25 + 23 / 19, 3.25 + 92 / 19])


def test_scaffold():
    """2 steps of lr 0.5, so that E lr = 1; a third client with the other 4 of 8 examples does not answer."""
    method = ALGORITHMS["scaffold"]()
    one = a_round(method, begin(method), FIRST, total=8, steps=(2, 2), lr=0.5)
    close(one.w, [3, 1])
    close(one.own["control"], [(-2, 0), (-2, 4)])          # 0 - 0 - update/1
    close(one.state["control"], [-1, 0.5])                 # 0 + 3/8 (-2, 0) + 1/8 (-2, 4)
    two = a_round(method, one, SECOND, total=8, steps=(2, 2), lr=0.5)
    close(two.w, [4, 3])
    close(two.own["control"], [(-1, -2.5),                 # (-2, 0) - (-1, 0.5) - (0, 2)
                               (-5, 1.5)])                 # (-2, 4) - (-1, 0.5) - (4, 2)
    # changes (-1, -2.5) - (-2, 0) = (1, -2.5) and (-5, 1.5) - (-2, 4) = (-3, -2.5);
    # c = (-1, 0.5) + 3/8 (1, -2.5) + 1/8 (-3, -2.5) = (-1, 0.5) + (0, -1.25)
    close(two.state["control"], [-1, -0.75])
    close(np.array([3, 1]) / 8 @ two.own["control"], [-1, -0.75])    # the third control is 0


def test_scaffold_with_unequal_steps_and_server_lr():
    method = ALGORITHMS["scaffold"](server_lr=0.5)
    one = a_round(method, begin(method), FIRST, steps=(2, 4), lr=0.5)
    close(one.w, [2, 1.5])                                 # (1, 2) + 0.5 (2, -1): server_lr moves w only
    close(one.own["control"], [(-2, 0), (-1, 2)])          # -(2, 0)/(2*0.5),  -(2, -4)/(4*0.5)
    close(one.state["control"], [-1.75, 0.5])              # 3/4 (-2, 0) + 1/4 (-1, 2)


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


def test_fedaws():
    method = ALGORITHMS["fedaws"](spreadout_margin=0.9, spreadout_lr=0.5)
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


def test_fedaws_without_spreadout_averages_and_normalizes():
    method = ALGORITHMS["fedaws"](spreadout_lr=0.0)
    one = aws_round(method, begin(method, AWS_W))
    close(one.w[1:].reshape(2, 3).T, [(1, 0), (0, 1), (0.6, 0.8)])
    # round 2: w_0 = (1, 0) + (2, 4) = (3, 4);  w_1 = (0, 1) + (1 (0, 4) + 4 (-3, -1))/5 = (-2.4, 1)
    two = aws_round(method, one, [(0, 2, 0, 0, 4, 4, 0), (0, 0, -3, 0, 0, -1, 0)])
    close(two.w[1:].reshape(2, 3).T, [(0.6, 0.8), (-2.4 / 2.6, 1 / 2.6), (0.6, 0.8)])


def test_fedaws_margin_1_stops_at_orthogonal_embeddings():
    method = ALGORITHMS["fedaws"](spreadout_lr=0.5)
    orthogonal = np.array([0.0,  1, 0, -1,
                                 0, 1, 0])      # cosines 0, -1, 0: nothing is closer than margin 1
    one = aws_round(method, begin(method, orthogonal), np.zeros((2, 7)))
    close(one.w, orthogonal)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_weight_of_steps_is_how_far_sgd_goes_on_a_constant_gradient(steps, momentum):
    velocity = theta = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1
        theta -= velocity
    assert weight_of_steps(steps, momentum) == pytest.approx(-theta, rel=1e-14)
    nothing, constant = np.zeros((1, steps, 1)), (np.zeros(1), np.ones((1, 1)), None)
    ours, *_ = local_sgd(lambda *_: constant, np.zeros(1), nothing, nothing, lr=1.0, momentum=momentum)
    assert ours[0, 0] == pytest.approx(theta, rel=1e-14)


def test_weight_of_steps_of_several_clients():
    close(weight_of_steps([1, 2, 3], 0.5), [1, 1 + 1.5, 1 + 1.5 + 1.75])
    close(weight_of_steps([1, 2, 3], 0.0), [1, 2, 3])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_starts_in_float32_stays_float32(name):
    """Controls and moments in float64 would double the memory, and the clients' work with them."""
    model = network()
    w = model.spec.init(3).astype(np.float32)
    for state, _ in run(settings_of(name, rounds=2, clients_per_round=3), model, *problem(), w=w):
        arrays = [state.w, *state.server.values(), *(a for kept in state.own.values() for a in kept.values())]
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
