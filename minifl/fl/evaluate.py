"""Which accuracy is it? A model on the whole test set, seen in several ways.

    accuracy              correct / all test examples: the sample-weighted, "global" accuracy
    client_accuracy       for each client the accuracy on its part of the test set (None without test examples)
    client_mean_accuracy  their unweighted mean, as the paper reports it (None if no client has test examples). For
                          parts of equal size it equals the global accuracy
    class_accuracy        one number for each class (None without test examples)
    test_loss             mean cross-entropy over all test examples

Where blocks stay with their clients (`--bn-stats local`, FedPer) there is a model for each client. Then client_accuracy is
that of the client's model on its own part, and the others are means over the clients' models of what these have on the
whole test set. The two can be far apart: with one class per client, local gains and biases can learn which class it is,
and client_accuracy be 100 % where accuracy is at chance.

    tested_clients        whose models these are, where they are too many to test each (--local-eval-clients)

And of the clients' own models, after their local steps and before averaging, or those that the method keeps (Ditto):

    local_clients         whose, where they are too many to test each one's
    local_accuracy        for each client of the round its model on the whole test set
    local_own_accuracy    the same on the client's own part of the test set: high, while local_accuracy is low, is
                          the local overfitting of the paper's Figure 2
"""

import numpy as np

from minifl.backend import get_xp, on_cpu, to_host
from minifl.data.augment import to_float
from minifl.layers.loss import softmax_cross_entropy

CHUNK = 250          # test images a forward pass
CHUNK_ON_CPU = 25    # there their maps stay in a core's cache: 1.2 s of one core for 10 000 images of the CNN, not 1.7


def chunk_size(on_gpu, by_chunk):
    """Test images a forward pass; by_chunk: batch norm normalizes by them, so that they are a part of the result."""
    return CHUNK if on_gpu or by_chunk else CHUNK_ON_CPU


def chunk_count(model, p, images, chunk=None):
    """In how many chunks that many images go through the network with the named views p; chunk: their size, default
    chunk_size."""
    by_chunk = not model.statistics.slices.keys() <= p.keys()
    return -(-images // (chunk or chunk_size(not on_cpu(next(iter(p.values()))), by_chunk)))


def predict(model, p, images, labels, *, pool_map=map, chunk=None):
    """Predicted class (M,) and cross-entropy summed over the M images, on the host.

    p         named views of one network, as of `statistics.tested`
    images    (M, H, W, C) uint8, on p's device or on the host; labels (M,) on p's device
    pool_map  maps a function over chunks of images, possibly in threads; the chunks do not depend on it
    chunk     default: chunk_size

    Every chunk takes each n-th image, n their number, so that it is a mixture even where a test set is sorted by class:
    a batch norm without running statistics normalizes by its chunk.
    """
    some = next(iter(p.values()))
    xp, dtype = get_xp(some), some.dtype.type
    chunks = chunk_count(model, p, len(images), chunk)

    def run(first):
        x, y = xp.asarray(images[first::chunks])[None], labels[None, first::chunks]
        with np.errstate(over="ignore", invalid="ignore"):      # a loss that is not finite is said by who asked for it
            logits, _ = model.forward(p, to_float(x, dtype))
            loss, _ = softmax_cross_entropy(logits, y)
        return logits[0].argmax(axis=1), loss

    predicted, total = np.empty(len(images), dtype=np.int64), 0.0
    if chunks:
        classes, losses = zip(*pool_map(run, range(chunks)))
        classes, losses = to_host(xp.concatenate(classes)), to_host(xp.concatenate(losses))   # a GPU is waited for once
        for first, loss in enumerate(losses.tolist()):
            part = predicted[first::chunks]
            part[...], classes = classes[:len(part)], classes[len(part):]
            total += loss * len(part)
    return predicted, total


def evaluate(model, models, images, labels, client_examples, *, pool_map=map):
    """The test record: dict of accuracies in [0, 1] and the mean test loss.

    models            named views p of the global model, [p], or of a model for each client, None for one without a test
    images, labels    the whole test set
    client_examples   for each client its indices into it, on the host
    """
    tests = [p and predict(model, p, images, labels, pool_map=pool_map) for p in models]
    return test_record(tests, to_host(labels), client_examples, model.num_classes)


def test_record(tests, y, client_examples, num_classes):
    """What `evaluate` returns, from what `predict` said of the global model or of each client's; all on the host.

    A client's may be missing, None: it has no accuracy, and the means are those of the others.
    """
    right = [test and test[0] == y for test in tests]
    own = right * len(client_examples) if len(tests) == 1 else right
    clients = [float(mine[part].mean()) if mine is not None and len(part) else None
               for mine, part in zip(own, client_examples)]
    correct = np.stack([mine for mine in right if mine is not None])   # (models that were tested, M)
    with_examples = [accuracy for accuracy in clients if accuracy is not None]
    return {
        "accuracy": float(correct.mean()),
        "client_mean_accuracy": float(np.mean(with_examples)) if with_examples else None,
        "client_accuracy": clients,
        "class_accuracy": [float(correct[:, y == c].mean()) if (y == c).any() else None
                           for c in range(num_classes)],
        "test_loss": float(np.mean([test[1] for test in tests if test])) / len(y),
    }


test_record.__test__ = False     # type: ignore[attr-defined]    # a name that pytest would collect
