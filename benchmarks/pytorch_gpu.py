"""The opponent on a GPU: the same round of FedAvg in PyTorch, as it is usually written and in what makes it faster.

Networks, layouts and plain steps are pytorch.py's. All sides get their batches in one go for all clients of the round,
cropped and flipped on the device: faster than the usual data loader, so that what is compared is the training.
"""

import numpy as np
import torch
import torch.nn.functional as F

import pytorch
from minifl.data.augment import PADDING, draw
from minifl.fl.batches import stream


def sides(work, precision, quick):
    """name -> Side, in that precision: of products and convolutions of float32 numbers."""
    data = Data(work, precision == "tf32")
    default, last = torch.contiguous_format, torch.channels_last
    found = {
        "loop over clients, default layout": Side(data, loop, default),
        "loop over clients, channels_last": Side(data, loop, last),
        "loop over clients, default layout, CUDA graph": Side(data, recorded_loop, default),
        "loop over clients, channels_last, CUDA graph": Side(data, recorded_loop, last),
        "torch.func.vmap over clients": Side(data, vmapped, default),
        "torch.func.vmap over clients, CUDA graph": Side(data, recorded_vmapped, default),
    }
    if not quick:
        found |= {"loop over clients, channels_last, torch.compile": Side(data, compiled_loop, last),
                  "torch.func.vmap over clients, torch.compile": Side(data, compiled_vmapped, default)}
    return found


class Data:
    """What the clients hold, on the device."""

    def __init__(self, work, tf32, device="cuda"):
        self.settings, self.examples, self.tf32, self.device = work.settings, work.partition.train, tf32, device
        images, labels = work.data.x_train.transpose(0, 3, 1, 2), np.asarray(work.data.y_train).astype(np.int64)
        self.images, self.labels = self.there(np.ascontiguousarray(images)), self.there(labels)
        sizes = np.array([len(part) for part in work.partition.train])
        self.weights = self.there((sizes / sizes.sum()).astype(np.float32))
        self.rows, self.columns = (self.there(np.arange(n)) for n in self.images.shape[2:])

    def there(self, array):
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def batches(self, round_, layout):
        """x (K, E, N, C, H, W) float, y (K, E, N) of all clients in a round (from 0)."""
        settings, clients = self.settings, range(len(self.examples))
        count = settings.local_steps * settings.batch_size
        chosen = [stream(self.examples[k], settings.seed, k, round_ * count, count) for k in clients]
        offsets, flips = zip(*(draw(settings.seed, round_, k, count) for k in clients))
        chosen, offsets, flips = (self.there(np.concatenate(parts)) for parts in (chosen, offsets, flips))
        x = F.pad(self.images[chosen], (PADDING,) * 4)
        rows = offsets[:, :1] + self.rows
        columns = offsets[:, 1:] + torch.where(flips[:, None], self.columns.flip(0), self.columns)
        of_each = torch.arange(len(chosen), device=self.device)[:, None, None]
        x = x[of_each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)            # from NHWC
        x = x.to(torch.float32, memory_format=layout).div_(255)
        shape = len(clients), settings.local_steps, settings.batch_size
        return x.unflatten(0, shape), self.labels[chosen].reshape(shape)


class Side:
    """A way to do a round: make(data, net, x, y) -> function(w, x, y) -> w after it, name -> tensor; make's x and y
    have the shape of all that follow."""

    def __init__(self, data, make, layout):
        self.data, self.make, self.layout, self.round = data, make, layout, None

    def blocks_after(self, blocks, round_):
        """minifl's parameter blocks after a round (from 0) that begins with these."""
        net = pytorch.CNN()
        pytorch.load(net, blocks)
        net = net.to(self.data.device).to(memory_format=self.layout)
        self.w, self.index = {name: p.detach().clone() for name, p in net.named_parameters()}, round_
        self.precision()
        self.round = self.make(self.data, net, *self.data.batches(round_, self.layout))
        self()
        return pytorch.blocks_of({name: p.cpu() for name, p in self().items()})     # the second time: as measured

    def precision(self):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.data.tf32

    def __call__(self):
        """The round once more, from the same start, until the device is done."""
        self.precision()
        w = self.round(self.w, *self.data.batches(self.index, self.layout))
        if self.data.device == "cuda":
            torch.cuda.synchronize()
        return w


def loop(data, net, x, y, step=pytorch.local_steps):
    """One client after the other; step(net, x, y, lr) does its local steps."""
    parameters = dict(net.named_parameters())

    def round_(w, x, y):
        total = {name: p.clone() for name, p in w.items()}
        for k in range(len(x)):
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(w[name])
            step(net, x[k], y[k], data.settings.lr)
            with torch.no_grad():
                for name, p in parameters.items():
                    total[name] += data.weights[k] * (p - w[name])
        return total
    return round_


def compiled_loop(data, net, x, y):
    called = torch.compile(net)
    return loop(data, net, x, y, lambda _, x, y, lr: pytorch.local_steps(called, x, y, lr))


def recorded_loop(data, net, x, y):
    """The local steps of a client as one CUDA graph, launched for each client."""
    parameters, inputs, targets = list(net.parameters()), x[0].clone(), y[0].clone()

    def steps():
        for step in range(len(inputs)):
            g = torch.autograd.grad(F.cross_entropy(net(inputs[step]), targets[step]), parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, g, alpha=-data.settings.lr)

    launch = record(steps)

    def step(_, x, y, lr):
        inputs.copy_(x)
        targets.copy_(y)
        launch()
    return loop(data, net, x, y, step)


def vmapped(data, net, x, y, prepare=lambda gradients: gradients):
    """All clients at once, by vmap over their parameters and batches."""
    def loss(parameters, inputs, targets):
        return F.cross_entropy(torch.func.functional_call(net, parameters, (inputs,)), targets)

    gradients = prepare(torch.func.vmap(torch.func.grad(loss)))

    def round_(w, x, y):
        theta = {name: p.expand(len(x), *p.shape).clone() for name, p in w.items()}
        vmapped_steps(gradients, theta, x, y, data.settings.lr)
        return mean(data, w, theta)
    return round_


def compiled_vmapped(data, net, x, y):
    return vmapped(data, net, x, y, torch.compile)


def recorded_vmapped(data, net, x, y):
    """The local steps of all clients as one CUDA graph."""
    def loss(parameters, inputs, targets):
        return F.cross_entropy(torch.func.functional_call(net, parameters, (inputs,)), targets)

    gradients = torch.func.vmap(torch.func.grad(loss))
    theta = {name: p.detach().expand(len(x), *p.shape).clone() for name, p in net.named_parameters()}
    inputs, targets = x.clone(), y.clone()
    launch = record(lambda: vmapped_steps(gradients, theta, inputs, targets, data.settings.lr))

    def round_(w, x, y):
        inputs.copy_(x)
        targets.copy_(y)
        for name, p in theta.items():
            p.copy_(w[name].expand_as(p))
        launch()
        return mean(data, w, theta)
    return round_


def vmapped_steps(gradients, theta, x, y, lr):
    """SGD on theta, name -> (K, ...), in place."""
    for step in range(x.shape[1]):
        g = gradients(theta, x[:, step], y[:, step])
        for name in theta:
            theta[name].sub_(g[name], alpha=lr)


def mean(data, w, theta):
    return {name: p + torch.tensordot(data.weights, theta[name] - p, 1) for name, p in w.items()}


def record(steps):
    """A function that does steps() as a CUDA graph; it is done some times before, as PyTorch asks for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            steps()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        steps()
    return graph.replay
