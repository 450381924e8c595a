"""The opponent: the same round of FedAvg in PyTorch, in the ways in which it is written there.

A side is a function w -> w after one round. All of them take the examples that `minifl.fl.batches.stream` names and the
crops that `minifl.data.augment.draw` draws, so that both sides do the same work on the same numbers; gathering, cropping,
flipping and conversion to float are PyTorch's own, vectorized over a client's 320 images of a round.
"""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from minifl.data.augment import PADDING, draw
from minifl.fl.batches import stream


class CNN(nn.Module):
    """The paper's CNN as released, with feature norm: 797,248 weights for 10 classes."""

    def __init__(self, classes=10, channels=64, dense=(384, 192)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 5, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 5, bias=False)
        self.dense1 = nn.Linear(25 * channels, dense[0], bias=False)
        self.dense2 = nn.Linear(*dense, bias=False)
        self.classifier = nn.Linear(dense[1], classes, bias=False)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))   # after the pool: the same numbers, and faster
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.dense1(x.flatten(1)))
        return self.classifier(feature_norm(F.relu(self.dense2(x))))


class Block(nn.Module):
    """A basic block of the ResNet."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        projected = stride > 1 or before != channels
        self.shortcut = nn.Conv2d(before, channels, 1, stride=stride, bias=False) if projected else None

    def forward(self, x):
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet18(nn.Module):
    """ResNet-18 for 32x32 images with feature norm, `width` channels in its first stage."""

    def __init__(self, classes=10, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.blocks, before = nn.ModuleDict(), width
        for s in range(4):
            for b in range(2):
                self.blocks[f"stage{s + 1}_block{b + 1}"] = Block(before, width << s, 2 if s and not b else 1)
                before = width << s
        self.classifier = nn.Linear(before, classes, bias=False)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for block in self.blocks.values():
            x = block(x)
        return self.classifier(feature_norm(F.avg_pool2d(x, 4).flatten(1)))


NETWORKS = {"cnn": CNN, "resnet18": ResNet18}


def feature_norm(x, eps=1e-5):
    return x.shape[1] ** 0.5 * F.normalize(x, dim=1, eps=eps)


def theirs(name):
    """The name of minifl's block of a PyTorch parameter: stage1_block1 is one word there."""
    return name.removeprefix("blocks.").replace("_block", ".block")


def load(net, blocks):
    """Put minifl's parameter blocks, name -> array, into a network (K, ... are one client's)."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(_transposed(blocks[theirs(name)], name))))


def blocks_of(parameters):
    """The inverse, name -> array in minifl's layout."""
    return {theirs(name): _transposed_back(p.detach().contiguous().numpy(), name) for name, p in parameters.items()}


def _transposed(array, name):
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if name == "dense1.weight":      # minifl flattens maps of 5x5 pixels channel last, PyTorch channel first
        side = 5
        array = array.reshape(side, side, -1, array.shape[1]).transpose(2, 0, 1, 3).reshape(array.shape)
    return array.T


def _transposed_back(array, name):
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    array = array.T
    if name == "dense1.weight":
        side = 5
        array = array.reshape(-1, side, side, array.shape[1]).transpose(1, 2, 0, 3).reshape(array.shape)
    return array


def batches(images, labels, examples, settings, round_, client, layout, dtype=torch.float32):
    """x (E, N, C, H, W) of dtype and y (E, N) of a client in a round; images (M, C, H, W) uint8 tensor."""
    count = settings.local_steps * settings.batch_size
    chosen = torch.from_numpy(stream(examples, settings.seed, client, round_ * count, count))
    offsets, flips = (torch.from_numpy(a) for a in draw(settings.seed, round_, client, count))
    x = F.pad(images[chosen], (PADDING,) * 4)
    h, w = images.shape[2:]
    rows = offsets[:, :1] + torch.arange(h)
    columns = offsets[:, 1:] + torch.where(flips[:, None], torch.arange(w).flip(0), torch.arange(w))
    x = x[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]        # NHWC
    x = x.permute(0, 3, 1, 2).to(dtype, memory_format=layout).div_(255)
    x = x.reshape(settings.local_steps, settings.batch_size, *x.shape[1:])
    return x, labels[chosen].reshape(settings.local_steps, settings.batch_size)


def local_steps(net, x, y, lr):
    """SGD as PyTorch's optimizer does it (foreach)."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for inputs, targets in zip(x, y):
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(inputs), targets).backward()
        optimizer.step()


class Data:
    """What the clients hold, as tensors."""

    def __init__(self, dataset, partition, settings, model, dtype=torch.float32):
        self.images = torch.from_numpy(np.ascontiguousarray(np.asarray(dataset.x_train).transpose(0, 3, 1, 2)))
        self.labels = torch.from_numpy(np.asarray(dataset.y_train).astype(np.int64))
        self.settings, self.examples, self.model, self.dtype = settings, partition.train, model, dtype
        sizes = torch.tensor([len(part) for part in partition.train], dtype=torch.float64)
        self.weights = (sizes / sizes.sum()).tolist()

    def network(self, layout):
        return NETWORKS[self.model]().to(dtype=self.dtype, memory_format=layout)

    def parameters(self, blocks):
        """name -> tensor from minifl's blocks, name -> array."""
        net = self.network(torch.contiguous_format)
        load(net, blocks)
        return {name: p.detach().clone() for name, p in net.named_parameters()}

    def batches(self, client, layout):
        return batches(self.images, self.labels, self.examples[client], self.settings, 0, client, layout, self.dtype)


def train_client(data, net, w, client, layout, step=local_steps):
    """The client's parameters after its local work in round 0, name -> tensor (those of net)."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(w[name])
    x, y = data.batches(client, layout)
    step(net, x, y, data.settings.lr)
    return dict(net.named_parameters())


def add(total, w, theta, weight):
    """total += weight (theta - w), in place."""
    with torch.no_grad():
        for name in total:
            total[name].add_(theta[name] - w[name], alpha=weight)


def loop(data, layout, threads, compiled=False):
    """One process: the usual loop over clients."""
    net = data.network(layout)
    called = torch.compile(net) if compiled else net

    def step(_, x, y, lr):
        local_steps(called, x, y, lr)

    def round_(w):
        torch.set_num_threads(threads)
        total = {name: p.clone() for name, p in w.items()}
        for client, weight in enumerate(data.weights):
            add(total, w, train_client(data, net, w, client, layout, step), weight)
        return total
    return round_


def in_threads(data, layout, workers):
    """One process, a thread for each of several clients, each with one thread of its own."""
    nets = [data.network(layout) for _ in range(workers)]
    pool = ThreadPoolExecutor(workers)

    def work(w, worker):
        torch.set_num_threads(1)
        total = {name: torch.zeros_like(p) for name, p in w.items()}
        for client in range(worker, len(data.weights), workers):
            add(total, w, train_client(data, nets[worker], w, client, layout), data.weights[client])
        return total

    def round_(w):
        torch.set_num_threads(1)
        parts = list(pool.map(lambda worker: work(w, worker), range(workers)))
        return {name: w[name] + sum(part[name] for part in parts) for name in w}
    return round_


class Processes:
    """Several processes of one thread each that live from round to round, the usual loop in each; `round` is the side."""

    def __init__(self, data, layout, workers, compiled=False):
        context = multiprocessing.get_context("fork")
        self.pipes, self.processes = [], []
        for worker in range(workers):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, data, layout, worker, workers, compiled), daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)

    def round(self, w):
        flat = {name: p.numpy() for name, p in w.items()}
        for pipe in self.pipes:
            pipe.send(flat)
        parts = [pipe.recv() for pipe in self.pipes]
        return {name: w[name] + sum(torch.from_numpy(part[name]) for part in parts) for name in w}

    def close(self):
        for pipe, process in zip(self.pipes, self.processes):
            pipe.send(None)
            process.join(10)


def _serve(pipe, data, layout, worker, workers, compiled):
    torch.set_num_threads(1)
    net = data.network(layout)
    called = torch.compile(net) if compiled else net
    while (flat := pipe.recv()) is not None:
        w = {name: torch.from_numpy(array) for name, array in flat.items()}
        total = {name: torch.zeros_like(p) for name, p in w.items()}
        for client in range(worker, len(data.weights), workers):
            theta = train_client(data, net, w, client, layout, lambda _, x, y, lr: local_steps(called, x, y, lr))
            add(total, w, theta, data.weights[client])
        pipe.send({name: p.numpy() for name, p in total.items()})


def vmapped(data, layout, threads):
    """torch.func: gradients of all clients at once, by vmap over their parameters and batches."""
    net = data.network(layout)

    def loss(parameters, x, y):
        return F.cross_entropy(torch.func.functional_call(net, parameters, (x,)), y)

    gradients = torch.func.vmap(torch.func.grad(loss))

    def round_(w):
        torch.set_num_threads(threads)
        clients = [data.batches(client, layout) for client in range(len(data.weights))]
        x, y = (torch.stack(parts) for parts in zip(*clients))
        theta = {name: p.expand(len(clients), *p.shape).clone() for name, p in w.items()}
        for step in range(data.settings.local_steps):
            g = gradients(theta, x[:, step], y[:, step])
            for name in theta:
                theta[name].sub_(g[name], alpha=data.settings.lr)
        weights = torch.tensor(data.weights)
        return {name: p + torch.tensordot(weights, theta[name] - p, 1) for name, p in w.items()}
    return round_
