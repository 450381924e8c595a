"""A split by two attributes: a client has examples of one domain only, and few classes of it.

    python cli.py train --data embedded --setting examples/label_and_domain.py:split --num-clients 8 --dirichlet-alpha 0.3

A split is a function that asks by name for what it needs: labels, domains, sizes, num_classes, num_clients, rng, and the
options classes_per_client, dirichlet_alpha and min_size. It returns the indices of each client's training examples, or an
array (clients, classes) of label counts. Test examples are given out alike, by class, and here by class and domain.
"""

import numpy as np


def split(labels, domains, num_classes, num_clients, rng, dirichlet_alpha):
    """Client k has its domain, k mod D; each class of a domain is shared by Dir(alpha) among its clients."""
    mine = [[] for _ in range(num_clients)]
    for domain in np.unique(domains):
        clients = np.flatnonzero(np.arange(num_clients) % (domains.max() + 1) == domain)
        for label in range(num_classes):
            examples = rng.permutation(np.flatnonzero((labels == label) & (domains == domain)))
            cuts = np.cumsum(rng.dirichlet(np.full(len(clients), dirichlet_alpha)))[:-1] * len(examples)
            for client, part in zip(clients, np.split(examples, cuts.astype(int))):
                mine[client].extend(part)
    return mine
