"""FedAvg (McMahan et al. 2017, Algorithm 1), and what a federated method consists of.

    client k:  theta <- w, then E times  theta <- theta - lr grad F_k(theta)
    server:    w <- w + sum_k p_k (theta_k - w),      p_k = n_k / sum_j n_j

n_k is the number of client k's training examples, j runs over the clients that answered. With --client-weights uniform
n_k is 1 for everyone, here and in all other methods: p_k = 1/m for m clients that answered.

Every other method is a subclass that changes some of five things: the `gradient` of a local step, the `direction`
that is made of it, the `message` that a client sends, what of parameters it has to itself (`keep`, `personal_blocks`),
and the step that the `server` makes of the mean of these messages. The server sees the mean
only, so messages can be added up one by one: memory does not grow with the number of clients.
"""

from dataclasses import dataclass
from typing import NamedTuple

from minifl.backend import Array, get_xp
from minifl.declared import choices_of
from minifl.models import loss_and_grad
from minifl.models.network import Network

SERVER_LR = {"above": 0, "help": "Learning rate of the server."}     # of every method that has one


class Work(NamedTuple):
    """What K clients have at hand in one round."""
    model: Network
    w: Array         # (K, P) where their steps begin: the server's parameters (but for what stays with the client)
    server: dict     # name -> (P,): what the server sends along of its state, `broadcast`
    own: dict        # name -> (K, P): what the clients keep between rounds
    counts: Array    # (K, C) their training examples of each class
    x: Array         # (K, E, N, H, W, C) their batches
    y: Array         # (K, E, N)
    active: Array    # (K, E) whether a client does this step; those with fewer than E steps do the first ones
    steps: Array     # (K, 1) how many times lr*gradient their steps add up to; with momentum more than were done
    lr: float        # of this round
    sizes: tuple = None    # of the batches of the E steps, the same for all K clients; None: N
    smoothing: float = 0.0     # of the labels
    descend: object = None     # (gradient, begin (K, P), running (K, S)) -> theta, losses, running: as many steps,
    #                            with the round's batches and learning rate, from elsewhere or along another gradient

    def batch(self, step):
        """x (K, n, H, W, C) and y (K, n) of one step, without what fills a smaller batch up to N."""
        n = self.sizes[step] if self.sizes else self.x.shape[2]
        return self.x[:, step, :n], self.y[:, step, :n]


@dataclass(frozen=True)
class FedAvg:
    """The fields of a method are its hyperparameters, by the names of their options: minifl/declared.py."""

    kept = ()        # names of the arrays that each client keeps between rounds; see `client_state`
    broadcast = ()   # names of the arrays of the server's state that its clients need; the others stay at the server
    working = 0      # arrays (K, P) that a local step needs at a time, besides those of FedAvg (runs/memory.py)
    personal = False     # whether parameter blocks stay with their clients, `personal_blocks`: each has its own model

    def __post_init__(self):
        for name, choice in choices_of(type(self)).items():
            choice.check(getattr(self, name))

    def refuse(self, settings):
        """InputError for settings of a run that do not go with the method."""

    def advice(self, settings, counts):
        """Sentences on how a run will go, known before it starts. counts (k, C): of the clients that train."""
        return ()

    def is_fedavg(self, settings, counts):
        """reason -> whether it holds in a run: why the method, so set, is FedAvg there."""
        return {}

    def server_state(self, w):
        """name -> (P,): what the server keeps between rounds besides w, at the start."""
        return {}

    def client_state(self, w, running):
        """name -> (K, ...): what clients keep, the names in `kept`, before their first round: zeros (K, P).

        w (K, P) and running (K, S) are what they begin that round with.
        """
        return {name: get_xp(w).zeros_like(w) for name in self.kept}

    def personal_blocks(self, model):
        """The names of the parameter blocks that stay with their client from round to round (statistics.py)."""
        return ()

    def gradient(self, work, theta, x, y):
        """Loss (K,) and gradient (K, P) at theta (K, P) on one batch x, y of each client; what batch norms saw (K, S).

        The loss is recorded as the training loss, so it leaves out terms in parameter space as FedProx's.
        """
        return loss_and_grad(work.model, theta, x, y, work.smoothing)

    def direction(self, g, memory):
        """What a local step goes along, theta -= lr*direction, and what the next step is to know.

        g (K, P) is the gradient, clipped if that is asked for; memory is None before the first step of a round.
        """
        return g, memory

    def message(self, work, theta):
        """What the clients send after their steps ended at theta (K, P), and what they keep.

        Returns message: name -> (K, ...), and name -> (K, P) for the names in `kept`.
        """
        return {"update": theta - work.w}, {}

    def keep(self, work, theta):
        """What the clients keep of parameters that never leave them: name -> (K, ...), the other names in `kept`.

        theta is where their steps ended, with blocks that stay with the client, which a message has not.
        """
        return {}

    def own_model(self, theta, running, kept):
        """The models that the local evaluation tests as the clients' own: parameters (K, P), running statistics (K, S).

        theta and running are where their steps ended; kept is what they keep, name -> (K, ...).
        """
        return theta, running

    def moved(self, message):
        """How far a client's message says that its parameters moved, theta - w: (..., P)."""
        return message["update"]

    def server(self, model, w, mean, state, share):
        """The server's step: next w (P,) and state.

        mean    name -> (...): sum_k p_k message_k over the clients that answered
        share   the part of all clients' training examples that these hold, in (0, 1]
        """
        return w + mean["update"], state
