"""FedPer (Arivazhagan et al. 2019, "Federated learning with personalization layers", Algorithms 1 and 2): the last
layers stay with their client.

    theta = (base, own layers); client k has own layers of its own, which never leave it:
    client k:  begins with the server's base and its own layers, then steps on both, as FedAvg; keeps its own layers
    server:    base: as FedAvg; the own layers stay as they were at the start

The own layers are the last ones, personal_layers of those that have weights, with biases, norms and activations behind
them: 1 is the classifier. With 0 it is FedAvg, to the bit; with as many as there are every client trains alone. A client
begins its first round with the layers of the server's start, the same for all.

What is tested. There is a model for each client, the server's base with the client's own layers, so tests of the global
model are those of FedBN (evaluate.py): client_accuracy, and its mean over clients, of each on its own part; accuracy their
mean on the whole test set. The local evaluation tests the clients' models after their steps. Running statistics of batch
norms, those of own layers too, are where --bn-stats has them.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.models.network import Network


@dataclass(frozen=True)
class FedPer(FedAvg):
    personal_layers: int = hyperparameter(1, at_least=0, help="How many of the last layers stay with their client.",
                                          source="ours: the classifier")

    @property
    def personal(self) -> bool:
        return self.personal_layers > 0

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--personal-layers 0: no layer stays with its client": self.personal_layers == 0}

    def personal_blocks(self, model: Network) -> tuple[str, ...]:
        """The blocks from the personal_layers-th last layer with weights on."""
        names = [entry.name for entry in model.spec.entries]
        layers = [i for i, name in enumerate(names) if name.endswith(".weight")]
        return tuple(names[layers[-min(self.personal_layers, len(layers))]:]) if self.personal_layers else ()
