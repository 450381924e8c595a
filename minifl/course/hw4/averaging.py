"""The server's mean of what clients sent; minifl/fl/rounds.py adds it up while the messages come in.

    mean = sum_k p_k message_k,      p_k = n_k / sum_j n_j

k and j run over the clients that answered.
"""


def mean_message(messages, sizes):
    """The mean of the messages of the clients that answered in a round.

    messages  of each of them what it sent, a dict: name -> array; all have the same names
    sizes     of each of them n_k > 0, the number of its training examples
    returns   a new dict: name -> sum_k p_k message_k
    """
    total, mean = sum(sizes), {}
    for message, size in zip(messages, sizes):
        for name, sent in message.items():
            mean[name] = mean.get(name, 0) + size / total * sent
    return mean
