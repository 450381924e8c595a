"""data_scripts/tinyimagenet.py on small sets in the genuine layout: zip, folder, server."""

import dataclasses
import functools
import importlib
import io
import sys

import numpy as np
import pytest
from PIL import Image

from minifl.data import registry, tinyimagenet
from minifl.data.known import DATASETS

from scripting import color, fails, listing, md5, picture, put, run, zipped

tiny = functools.partial(run, "tinyimagenet")
TOP = "tiny-imagenet-200/"
WNIDS = ["n03", "n01", "n02"]     # the order of the labels, not the alphabet's
SIZE = (64, 64)


def train_file(wnid, i):
    return f"{TOP}train/{wnid}/images/{wnid}_{i}.JPEG"


@functools.cache
def files():
    """{name: bytes}: 4 training and 2 test images of each of three classes, one of them grey."""
    made = {f"{TOP}wnids.txt": "\n".join(WNIDS).encode() + b"\n",
            f"{TOP}words.txt": b"n00\tentity\nn01\tcrane, bird\nn02\tcrane\nn03\tgoldfish, Carassius auratus\n"}
    for wnid in WNIDS:
        made |= {train_file(wnid, i): picture(color(wnid, i), SIZE, "JPEG") for i in range(4)}
        made[f"{TOP}train/{wnid}/{wnid}_boxes.txt"] = b""
    made[train_file("n01", 2)] = picture(77, SIZE, "JPEG", "L")
    lines = []
    for i, wnid in enumerate(["n02", "n03", "n01", "n01", "n02", "n03"]):
        made[f"{TOP}val/images/val_{i}.JPEG"] = picture(color("val", i), SIZE, "JPEG")
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t0\t9\t9")
    made[f"{TOP}val/val_annotations.txt"] = "\n".join(lines).encode() + b"\n"
    made[f"{TOP}test/images/test_0.JPEG"] = picture("red", SIZE, "JPEG")
    return made


def decoded(name, mode="RGB"):
    return np.asarray(Image.open(io.BytesIO(files()[name])).convert(mode))


def is_right(dataset):
    assert dataset.class_names == ("goldfish", "crane (n01)", "crane (n02)") and dataset.image_shape == (64, 64, 3)
    assert dataset.y_train.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and dataset.y_test.tolist() == [2, 0, 1, 1, 2, 0]
    for n, (wnid, i) in enumerate((wnid, i) for wnid in WNIDS for i in range(4)):
        assert np.array_equal(dataset.x_train[n], decoded(train_file(wnid, i)))
    assert (np.ptp(dataset.x_train[6], axis=-1) == 0).all()
    for i in range(6):
        assert np.array_equal(dataset.x_test[i], decoded(f"{TOP}val/images/val_{i}.JPEG"))


@pytest.mark.parametrize("way", ["zip", "folder", "folder above", "server"])
def test_the_genuine_layout(out, serve, way, monkeypatch):
    content = zipped(files())
    put(out.parent, {"tiny-imagenet-200.zip": content})
    put(out.parent / "in", files())
    serve.files["t"] = content
    if way == "server":
        monkeypatch.setitem(DATASETS, "tinyimagenet", dataclasses.replace(
            DATASETS["tinyimagenet"], md5=md5(content), url=f"{serve.url}/t"))
    result = tiny("--data-dir", out, *{"zip": ["--from", out.parent / "tiny-imagenet-200.zip"], "server": [],
                                       "folder": ["--from", out.parent / "in" / TOP],
                                       "folder above": ["--from", out.parent / "in"]}[way])
    assert result.exit_code == 0, result.output
    assert listing(out) == ["tinyimagenet.npz"]
    dataset = registry.load("tinyimagenet", out)
    is_right(dataset)
    assert "1 other images are left out" in result.output and "warning: 12 training and 6 test" in result.output
    words = {"zip": f"from tiny-imagenet-200.zip, md5 {md5(content)}, which is not", "server": "official archive, md5",
             "folder": "from an unpacked folder"}
    assert words[way.split()[0]] in dataset.source and "18 image files with the sha256" in dataset.source


def test_zip_and_folder_give_the_same_images_and_the_same_hash_of_what_was_read(out):
    put(out.parent, {"z": zipped(files())})
    tiny("--data-dir", out / "a", "--from", out.parent / "z")
    tiny("--data-dir", out / "b", "--from", put(out.parent / "in", files()))
    a, b = (registry.load("tinyimagenet", out / name) for name in "ab")
    assert a.sha256 == b.sha256 and a.source.split("sha256")[1] == b.source.split("sha256")[1]


def reorganized(inside, *, train=True, annotations=False):
    """The set with a folder for each class in val, and in train without images/, as people make it."""
    made = dict(files())
    lines = made.pop(f"{TOP}val/val_annotations.txt").decode().splitlines()
    for line in lines:
        name, wnid, *_ = line.split("\t")
        made[f"{TOP}val/{wnid}/{inside}{name}"] = made.pop(f"{TOP}val/images/{name}")
    if annotations:
        made[f"{TOP}val/val_annotations.txt"] = "\n".join(lines).encode()
    return {name.replace("/images/", "/") if train and "/train/" in name else name: raw for name, raw in made.items()}


@pytest.mark.parametrize("inside", ["", "images/"])
@pytest.mark.parametrize("how", [{}, {"train": False}, {"annotations": True}])
def test_reorganized_it_is_the_same_set(out, inside, how):
    tiny("--data-dir", out / "a", "--from", put(out.parent / "as published", files()))
    result = tiny("--data-dir", out / "b", "--from", put(out.parent / "in", reorganized(inside, **how)))
    assert result.exit_code == 0, result.output
    a, b = (registry.load("tinyimagenet", out / name) for name in "ab")
    is_right(b)
    assert a.sha256 == b.sha256 and a.class_names == b.class_names


def test_the_order_of_val_is_that_of_numbers():
    names = [f"val/n0{i % 3}/val_{i}.JPEG" for i in range(120)]
    assert sorted(sorted(names), key=tinyimagenet._number) == names


def test_val_in_both_forms_is_ambiguous(out):
    both = files() | reorganized("", train=False)
    fails(tiny("--data-dir", out, "--from", put(out.parent / "in", both)), "val/images/val_", "remove one of them")


def test_size(out):
    result = tiny("--data-dir", out, "--from", put(out.parent / "in", files()), "--size", 32)
    assert result.exit_code == 0
    dataset = registry.load("tinyimagenet", out)
    assert dataset.image_shape == (32, 32, 3) and "18 resized to 32x32" in dataset.source


@pytest.mark.parametrize("change, words", [
    ({"wnids.txt": None}, "no wnids.txt"),
    ({"elsewhere/wnids.txt": b""}, "2 wnids.txt"),
    ({"wnids.txt": b"n01\nn01\n"}, "found 2 lines, 1 different ones"),
    ({"wnids.txt": b"\xff\xfe"}, "wnids.txt cannot be read as a text"),
    ({"wnids.txt": b"n01\nn02\nn03\nn04"}, "no training images of 1 classes (n04)"),
    ({"val/val_annotations.txt": None}, "val/val_annotations.txt missing"),
    ({"val/val_annotations.txt": b""}, "no test images"),
    ({"val/val_annotations.txt": b"val_0.JPEG n02\n"}, "val_annotations.txt, line 1: 'val_0.JPEG n02'"),
    ({"val/val_annotations.txt": b"val_0.JPEG\tn02\nval_1.JPEG\tn09\n"}, "line 2: 'val_1.JPEG"),
    ({"val/val_annotations.txt": b"val_0.JPEG\tn02\nval_0.JPEG\tn02\n"}, "line 2"),
    ({"val/val_annotations.txt": b"../../train/n01/images/n01_0.JPEG\tn02\n"}, "line 1"),
    ({"val/images/val_3.JPEG": None}, "1 images of tiny-imagenet-200/val/val_annotations.txt are not there, the first"),
])
def test_what_does_not_fit(out, change, words):
    changed = files() | {TOP + name: content for name, content in change.items()}
    put(out.parent, {"z": zipped({name: content for name, content in changed.items() if content is not None})})
    fails(tiny("--data-dir", out, "--from", out.parent / "z"), out.parent / "z", words)
    assert listing(out) == []


def test_words_may_be_missing(out):
    folder = put(out.parent / "in", {name: raw for name, raw in files().items() if "words" not in name})
    assert tiny("--data-dir", out, "--from", folder).exit_code == 0
    assert registry.load("tinyimagenet", out).class_names == tuple(WNIDS)


def test_without_pillow_nothing_is_downloaded(out, serve, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    fails(tiny("--data-dir", out, "--url", f"{serve.url}/t"), "pip install 'minifl[data]'")
    assert serve.asked == [] and listing(out) == []
    monkeypatch.undo()
    assert importlib.import_module("PIL").Image


# Images that cannot be read

def damaged(count):
    """The set, with `count` training images that are cut, empty, a text, ..."""
    kinds = [lambda raw: raw[:len(raw) // 2], lambda raw: b"", lambda raw: b"<html>404</html>"]
    names = [train_file(wnid, i) for wnid in WNIDS for i in range(4)][:count]
    return files() | {name: kinds[n % 3](files()[name]) for n, name in enumerate(names)}, names


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_bad_images_are_all_named_and_left_out_on_request(out, form):
    changed, names = damaged(3)
    source = put(out.parent / "in", changed) if form == "folder" else put(out.parent, {"z": zipped(changed)}) / "z"
    message = fails(tiny("--data-dir", out, "--from", source), "3 images cannot be read", *names, "--skip-bad")
    assert "Truncated File Read" in message and "not an image of any of the formats" in message
    assert listing(out) == []
    result = tiny("--data-dir", out, "--from", source, "--skip-bad")
    assert result.exit_code == 0 and "warning: left out, 3 images cannot be read" in result.output
    assert all(name in result.output for name in names)
    dataset = registry.load("tinyimagenet", out)
    assert dataset.y_train.tolist() == [0] + [1] * 4 + [2] * 4 and len(dataset.x_test) == 6
    assert np.array_equal(dataset.x_train[0], decoded(train_file("n03", 3)))
    assert "3 unreadable ones left out" in dataset.source and "15 image files" in dataset.source


def test_a_bad_image_keeps_the_download(out, serve):
    serve.files["t"] = zipped(damaged(1)[0])
    options = ["--data-dir", out, "--url", f"{serve.url}/t", "--md5", md5(serve.files["t"])]
    result = tiny(*options)
    fails(result, "1 image cannot be read")
    assert listing(out) == ["tinyimagenet.zip.part"] and "kept" in result.output
    serve.asked.clear()
    assert tiny(*options, "--skip-bad").exit_code == 0
    assert listing(out) == ["tinyimagenet.npz"] and None not in serve.asked


def test_no_training_image_is_left(out):
    fails(tiny("--data-dir", out, "--from", put(out.parent / "in", damaged(12)[0]), "--skip-bad"), "no training image")
    assert listing(out) == []
