"""Write PyTorch's answers to the golden cases: layers.npz, networks.npz, normalized.npz, sgd.npz, beside it.

    python tests/golden/make_golden.py [FILE...]        (needs PyTorch; CPU, float64; without names all files)

Layers are PyTorch's own functions, gradients its autograd; the networks are written here a second time, in
convolutional.py and transformer.py, from the paper's description, in its literal order (convolution, activation with
its norm, pooling), in PyTorch's NCHW. Tensors are leaves in minifl's layout and are transposed inside the graph, so
gradients come out in that layout too. Each client is computed alone and the results are stacked.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import numpy as np                                                              # noqa: E402
import torch                                                                    # noqa: E402
import torch.nn.functional as F                                                 # noqa: E402

import convolutional                                                            # noqa: E402
import network_cases                                                            # noqa: E402
from drawing import condensed, joined, uniform                                          # noqa: E402
from layer_cases import LAYERS                                                  # noqa: E402
from network_cases import NETWORKS, NORMALIZED, SGD                             # noqa: E402
from minifl.atomic import replacing                                             # noqa: E402
from pytorch_layers import LAYER                                                # noqa: E402
from transformer import Transformer                                             # noqa: E402

KINDS = {network_cases.Network: convolutional.Sequential, network_cases.Residual: convolutional.Residual,
         network_cases.Transformer: Transformer}


def layer_answers(name, case):
    """y and the gradient of each argument, each (K, ...), for a drawn cotangent."""
    inputs = case.inputs(name)
    clients = []
    for k in range(len(next(iter(inputs.values())))):
        tensors = [torch.tensor(a[k], requires_grad=tensor not in case.fixed) for tensor, a in inputs.items()]
        clients.append((tensors, LAYER[case.layer](*tensors, **case.options)))
    y = torch.stack([y for _, y in clients])
    dy = torch.tensor(uniform(f"{name}.dy", tuple(y.shape)))
    for (_, y_k), dy_k in zip(clients, dy):
        y_k.backward(dy_k)
    answers = {"y": y.detach().numpy()}
    for i, tensor in enumerate(inputs):
        if clients[0][0][i].requires_grad:
            answers[f"d{tensor}"] = torch.stack([tensors[i].grad for tensors, _ in clients]).numpy()
    return answers


def leaves(blocks, k):
    return {name: torch.tensor(block[k], requires_grad=True) for name, block in blocks.items()}


def stack(clients, name):
    return torch.stack([client[name] for client in clients]).detach().numpy()


def with_batch_norm(client, x):
    """Its running statistics by name; and the logits that they give for x in evaluation mode."""
    running = {f"running {name}": buffer.clone() for name, buffer in client.running().items()}
    client.eval()
    return running | ({"evaluation logits": client.logits(x)} if running else {})


def network_answers(name, case):
    """Logits, loss, and the gradient of every block, each (K, ...)."""
    blocks = case.parameters(name)
    clients = []
    for k, (x, y) in enumerate(zip(*map(torch.tensor, case.batch(name)))):
        client = KINDS[type(case)](case, leaves(blocks, k))
        logits = client.logits(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        clients.append({"logits": logits, "loss": loss} | {f"grad {b}": leaf.grad for b, leaf in client.p.items()}
                       | with_batch_norm(client, x))
    return {tensor: stack(clients, tensor) for tensor in clients[0]}


def sgd_answers(name, case):
    """Losses (K, E) before each step, and every block after the last, (K, ...)."""
    blocks = case.parameters(name)
    clients = []
    for x, y in zip(*map(torch.tensor, case.batch(name))):
        client = KINDS[type(case)](case, leaves(blocks, 0))
        optimizer = torch.optim.SGD(client.p.values(), lr=case.lr)
        losses = []
        for x_step, y_step in zip(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(client.logits(x_step), y_step)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        clients.append({"losses": torch.stack(losses)} | {f"after {b}": leaf for b, leaf in client.p.items()}
                       | with_batch_norm(client, x[-1]))
    return {tensor: stack(clients, tensor) for tensor in clients[0]}


def write(file, cases, answers_of):
    arrays = {"made_by": np.array(f"PyTorch {torch.__version__}, python tests/golden/make_golden.py")}
    for name, case in cases.items():
        answers = condensed(answers_of(name, case))
        for tensor, answer in answers.items():
            if answer.dtype != np.float64 or not np.isfinite(answer).all():
                raise ArithmeticError(f"{name}, {tensor}: not finite float64")
        arrays[name], arrays[f"{name}/layout"] = joined(answers)
    with replacing(HERE / file) as f:
        np.savez_compressed(f, **arrays)
    print(f"{file}: {len(cases)} cases, {(HERE / file).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    files = {"layers.npz": (LAYERS, layer_answers), "networks.npz": (NETWORKS, network_answers),
             "normalized.npz": (NORMALIZED, network_answers), "sgd.npz": (SGD, sgd_answers)}
    for file in sys.argv[1:] or files:
        if file not in files:
            sys.exit(f"{file}: no such file is made here; valid are {', '.join(files)}.")
        write(file, *files[file])
