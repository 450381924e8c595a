"""What a run does besides its rounds: evaluation, batches, loading, start-up; the first two against PyTorch.

    python benchmarks/around.py [--repetitions N] [--json FILE]

Evaluation: the released CNN with feature norm on 10 000 images, accuracies and loss. PyTorch runs in inference mode, in its
default and channels_last layout, with chunks of 100 to 1 000 images, on all cores inside a layer or a thread for each chunk;
the best of them counts. Batches: the 320 images of a client in a round, gathered from a uint8 set, cropped, flipped and
converted to float32, on one thread. Both sides must find the same classes and loss, and the same batches to the bit.
Loading: a set of CIFAR-10's size from minifl's file to the first batch, beside reading the file's bytes. Start-up: whole
processes.
"""

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import measure
from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.data.registry import load
from minifl.fl.batches import local_batches
from minifl.fl.evaluate import predict
from minifl.fl.parallel import in_order
from minifl.runs.run import default_workers
from round_cpu import Work

IMAGES = 10_000
ROOT = Path(__file__).resolve().parent.parent


def evaluation(work, repetitions):
    """Median seconds of each side, and how far their losses and classes are apart."""
    import torch
    import torch.nn.functional as F

    import pytorch
    images, labels = work.data.x_train[:IMAGES], work.data.y_train[:IMAGES]
    p = work.model.spec.views(work.w.astype(np.float32)[None])
    cores, found = default_workers(), {}
    nchw = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    targets = torch.from_numpy(labels.astype(np.int64))
    net = pytorch.CNN()
    pytorch.load(net, work.start)

    def ours():
        with in_order(cores) as pool_map:
            found["minifl"] = predict(work.model, p, images, labels, pool_map=pool_map)

    def theirs(name, layout, chunk, inside):
        copy = pytorch.CNN().to(memory_format=layout)
        copy.load_state_dict(net.state_dict())
        pool = ThreadPoolExecutor(cores)

        def run(first):
            with torch.inference_mode():
                x = nchw[first:first + chunk].to(torch.float32, memory_format=layout).div_(255)
                logits = copy(x)
                return logits.argmax(1), F.cross_entropy(logits, targets[first:first + chunk], reduction="sum").item()

        def all_():
            torch.set_num_threads(cores if inside else 1)
            chunks = list((map if inside else pool.map)(run, range(0, IMAGES, chunk)))
            found[name] = torch.cat([classes for classes, _ in chunks]).numpy(), sum(loss for _, loss in chunks)
        return all_

    sides = {f"minifl, {cores} threads": ours}
    for layout, what in ((torch.contiguous_format, "default layout"), (torch.channels_last, "channels_last")):
        for chunk in (100, 250, 1000):
            for inside, how in ((True, "inside layers"), (False, "over chunks")):
                name = f"{what}, {cores} threads {how}, chunks of {chunk}"
                sides[name] = theirs(name, layout, chunk, inside)
    taken = measure.alternating(sides, repetitions, say=measure.say)
    classes, loss = found.pop("minifl")
    apart = {"classes_that_differ": max(int((classes != c).sum()) for c, _ in found.values()),
             "loss": max(abs(loss - other) / loss for _, other in found.values())}
    return taken, apart


def batches(work, repetitions):
    """Median seconds of each side, and whether the batches are the same."""
    import torch

    import pytorch
    torch.set_num_threads(1)
    data, s = pytorch.Data(work.data, work.partition, work.settings, "cnn"), work.settings

    def ours():
        return local_batches(work.data.x_train, work.data.y_train, work.partition.train[0], s.seed, 0, 0,
                             steps=s.local_steps, batch_size=s.batch_size, augment=s.augment)

    def theirs():
        return data.batches(0, torch.channels_last)

    same = np.array_equal(ours()[0], theirs()[0].permute(0, 1, 3, 4, 2).numpy())
    return measure.alternating({"minifl": ours, "PyTorch": theirs}, 5 * repetitions), same


def loading(work, repetitions):
    """Median seconds from the file of 60 000 images to the first batch, and of reading its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        x = np.resize(work.data.x_train, (60_000, 32, 32, 3))
        y = np.resize(work.data.y_train, 60_000)
        path = Path(folder) / "big.npz"
        write_dataset(path, make_dataset("big", x[:50_000], y[:50_000], x[50_000:], y[50_000:], work.data.class_names,
                                         "copies of the generated set"))

        def ours():
            data = load("big", folder)
            local_batches(data.x_train, data.y_train, np.arange(5_000), 0, 0, 0, steps=10, batch_size=32,
                          augment="crop-flip")
        return measure.alternating({"minifl": ours, "reading the bytes": path.read_bytes}, repetitions)


def start_up(repetitions):
    """Median seconds of whole processes."""
    def process(*arguments):
        return lambda: subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return measure.alternating({
        "python -c pass": process("-c", "pass"), "import numpy": process("-c", "import numpy"),
        "import minifl, its layers and models": process("-c", "import minifl.models"),
        "cli.py --help": process("cli.py", "--help")}, repetitions)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    machine, work = measure.machine(), Work("cnn")
    print(measure.in_words(machine))
    evaluated, apart = evaluation(work, arguments.repetitions)
    ours, *others = evaluated
    best = min(others, key=lambda name: evaluated[name]["median"])
    ratio = evaluated[ours]["median"] / evaluated[best]["median"]
    made, same = batches(work, arguments.repetitions)
    parts = {f"evaluation of {IMAGES:,} images": evaluated, "batches of a client and round, one thread": made,
             "loading a set of 60,000 images": loading(work, arguments.repetitions),
             "start-up": start_up(arguments.repetitions)}
    for what, taken in parts.items():
        print(what)
        for name, times in taken.items():
            print(f"  {1e3 * times['median']:8.1f} ms  {name}{' <- best' if name == best else ''}")
    print(f"evaluation: minifl / best PyTorch {ratio:.2f}; {apart['classes_that_differ']} classes differ, the loss by "
          f"{apart['loss']:.0e}; batches: {'the same bits' if same else 'NOT THE SAME'}")
    if arguments.json:
        measure.write(arguments.json, {"command": measure.command(), "machine": machine, "seconds": parts, "best": best,
                                       "evaluation_to_best_pytorch": ratio, "apart": apart, "same_batches": same})
    raise SystemExit(not same or apart["classes_that_differ"] > IMAGES // 1000 or apart["loss"] > 1e-5)


if __name__ == "__main__":
    main()
