"""The federated loop with its clients in other processes and on other machines, on Flower (the extra `flower`).

    client.py       ClientApp: what a node is asked and answers, as Flower's messages
    node.py         what it does for that, without Flower: data, local work, tests
    client_state.py what its clients keep between rounds, on its disk
    server.py       ServerApp: a run directory, done round by round
    strategy.py     Strategy: minifl.fl.rounds.line_up and take around the messages to the nodes
    nodes.py        who the nodes are
    replies.py      what a client may send, checked before it touches the model
    packing.py      arrays in messages
    loopback.py     a SuperLink and its SuperNodes as processes of this machine
    closed.py       Flower's servers, which answer to nobody else
    deployment.py   the same for several machines, as folders to copy: scripts.py, and onsite.py which these call
    certificates.py TLS certificates and keys of nodes

Only client.py, server.py, strategy.py, nodes.py, packing.py and closed.py import Flower.
"""
