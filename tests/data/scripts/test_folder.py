"""data_scripts/folder.py on a user's own images: both forms, sizes, kinds of images, names, bad ones."""

import functools
import os
import zipfile

import numpy as np
import pytest

from minifl.data import registry

from scripting import color, fails, listing, picture, put, run, zipped

folder = functools.partial(run, "folder")
CLASSES = ("Ameise", "cat", "dog")


def images(prefix="", count=5, size=(6, 4), classes=CLASSES):
    return {f"{prefix}{label}/{i}.png": picture(color(prefix, label, i), size)
            for label in classes for i in range(count)}


def colors(x):
    assert (x == x[:, :1, :1]).all()
    return [tuple(pixel) for pixel in x[:, 0, 0].tolist()]


@pytest.mark.parametrize("tested", ["test", "val", "valid", "validation"])
@pytest.mark.parametrize("form", ["folder", "zip", "zip with one folder"])
def test_divided(out, tested, form):
    files = images("train/", 3) | images(f"{tested}/", 2, classes=CLASSES[1:])
    source = put(out.parent / "in", files)
    if form != "folder":
        source = put(out.parent, {"z": zipped(files, "mine/" * (form != "zip"))}) / "z"
    result = folder("--data-dir", out, "--from", source, "--name", "my-set_1.0")
    assert result.exit_code == 0, result.output
    assert listing(out) == ["my-set_1.0.npz"] and f"--data my-set_1.0 --data-dir {out}" in result.output
    dataset = registry.load("my-set_1.0", out)
    assert dataset.class_names == CLASSES and dataset.image_shape == (4, 6, 3)
    assert dataset.y_train.tolist() == [0] * 3 + [1] * 3 + [2] * 3 and dataset.y_test.tolist() == [1, 1, 2, 2]
    assert colors(dataset.x_train) == [color("train/", label, i) for label in CLASSES for i in range(3)]
    assert colors(dataset.x_test) == [color(f"{tested}/", label, i) for label in CLASSES[1:] for i in range(2)]
    assert "resized" not in dataset.source and "13 image files with the sha256" in dataset.source


@pytest.mark.parametrize("options, count, tested", [
    ([], 10, 2), (["--test-share", "0.5"], 10, 5), ([], 2, 1), (["--test-share", "0.01"], 10, 1),
    (["--test-share", "0.99"], 4, 3)])
def test_divided_here(out, options, count, tested):
    source = put(out.parent / "in", images(count=count) | {"lone/0.png": picture("red", (6, 4))})
    sets = []
    for part in "ab":
        result = folder("--data-dir", out / part, "--from", source, "--name", "own", *options)
        assert result.exit_code == 0, result.output
        sets.append(registry.load("own", out / part))
    dataset = sets[0]
    assert sets[1].sha256 == dataset.sha256
    assert np.bincount(dataset.y_test, minlength=4).tolist() == [tested] * 3 + [0]
    assert np.bincount(dataset.y_train).tolist() == [count - tested] * 3 + [1]
    assert sorted(colors(dataset.x_train) + colors(dataset.x_test)) == sorted(
        [color("", label, i) for label in CLASSES for i in range(count)] + [(255, 0, 0)])


def test_a_class_of_that_name_and_both_test_and_val(out):
    """A class "train" without test/ is a class; of test/ and val/ the first is taken, and that is said."""
    source = put(out.parent / "in", images(classes=("boat", "train")))
    assert folder("--data-dir", out, "--from", source, "--name", "vehicles").exit_code == 0
    assert registry.load("vehicles", out).class_names == ("boat", "train")
    source = put(out.parent / "three", images("train/") | images("test/", 2) | images("val/", 1))
    result = folder("--data-dir", out, "--from", source, "--name", "three")
    assert "val/ with its 3 images is left out" in result.output
    assert len(registry.load("three", out).x_test) == 6


def test_of_several_folders_to_test_with_one_is_taken_and_that_is_said(out):
    source = put(out.parent / "in", images("train/") | images("validation/", 1) | images("valid/", 2) | images("val/", 3))
    result = folder("--data-dir", out, "--from", source, "--name", "own")
    assert "valid/ with its 6 images is left out, as there is val/" in result.output
    assert "validation/ with its 3 images is left out, as there is val/" in result.output
    assert len(registry.load("own", out).x_test) == 9


def test_images_that_are_in_training_and_test(out):
    """By their pixels: the same bytes in another file, the same picture in another format, maybe of another class."""
    files = images("train/", 4) | images("test/", 2)
    assert "warning" not in folder("--data-dir", out, "--from", put(out.parent / "in", files), "--name", "clean").output
    assert "training images, too" not in registry.load("clean", out).source
    leaked = files | {"test/cat/copy.png": files["train/cat/2.png"],
                      "test/dog/other.bmp": picture(color("train/", "Ameise", 3), (6, 4), "BMP")}
    result = folder("--data-dir", out, "--from", put(out.parent / "leaked", leaked), "--name", "leaked")
    assert result.exit_code == 0
    assert ("warning: 2 of the 8 test images are training images, too, pixel by pixel; for example train/cat/2.png (cat) "
            "and test/cat/copy.png (cat)") in " ".join(result.output.split())
    assert registry.load("leaked", out).source.endswith("; 2 of the 8 test images are training images, too")
    assert registry.load("leaked", out).sha256 != registry.load("clean", out).sha256


def test_sizes(out):
    wide = images(size=(12, 6)) | {"cat/tall.png": picture("red", (5, 40)), "dog/right.png": picture("blue", (4, 4))}
    source = put(out.parent / "in", wide)
    fails(folder("--data-dir", out, "--from", source, "--name", "own"), "different sizes: Ameise/", "has 12x6 pixels, ",
          "--size")
    assert listing(out) == []
    assert folder("--data-dir", out, "--from", source, "--name", "own", "--size", 4).exit_code == 0
    dataset = registry.load("own", out)
    assert dataset.image_shape == (4, 4, 3) and "16 resized to 4x4" in dataset.source


def test_gray(out):
    source = put(out.parent / "in", images("train/") | images("test/"))
    assert folder("--data-dir", out, "--from", source, "--name", "own", "--gray").exit_code == 0
    dataset = registry.load("own", out)
    weights = np.array([299, 587, 114]) / 1000
    assert dataset.image_shape == (4, 6, 1)
    assert abs(dataset.x_train[0, 0, 0, 0] - color("train/", "Ameise", 0) @ weights) <= 1


@pytest.mark.parametrize("name, words", [
    ("cifar10", "of a set that minifl knows"), ("auto", "of a set that minifl knows"), ("../x", "letters, digits"),
    ("a/b", "letters, digits"), (".x", "begins with"), ("-x", "begins with"), ("", "letters"), ("a b", "letters"),
    ("ä", "letters"), ("x\n", "letters"), ("x\x1b[31m", "letters")])
def test_names_that_are_refused(out, name, words):
    message = fails(folder("--data-dir", out, "--from", put(out.parent / "in", images()), f"--name={name}"), words)
    assert listing(out) == [] and "\x1b" not in message


@pytest.mark.parametrize("files, options, words", [
    ({}, [], "no images; needed are train/<class>/<image>"),
    ({"readme.txt": b"", "a/list.csv": b""}, [], "no images"),
    (images("train/"), [], "15 images elsewhere, as train/Ameise/0.png"),
    (images() | {"top.png": b""}, [], "1 images elsewhere, as top.png"),
    (images("train/") | images("test/") | images(), [], "15 images elsewhere, as Ameise/0.png"),
    (images("train/") | images("test/") | images("extra/"), [], "15 images elsewhere, as extra/Ameise/0.png"),
    (images(classes=("cat",)), [], "the only class is cat"),
    (images(count=1), [], "no class has two images"),
    (images("train/") | images("test/", classes=("cow", "dog")), [], "no images in train/ of the classes cow"),
    (images("train/") | images("test/"), ["--test-share", "0.3"], "--test-share 0.3:"),
    (images() | {"evil\x1b[31m/0.png": b""}, [], "the class name 'evil\\x1b[31m' cannot be printed"),
])
def test_what_does_not_fit(out, files, options, words):
    (out.parent / "in").mkdir()
    fails(folder("--data-dir", out, "--from", put(out.parent / "in", files), "--name", "own", *options), words)
    assert listing(out) == []


def test_options_that_cannot_be_used(out):
    fails(folder("--data-dir", out, "--from", "nowhere", "--name", "own"), "--from nowhere: no such file")
    put(out.parent, {"text": b"no zip"})
    fails(folder("--data-dir", out, "--from", out.parent / "text", "--name", "own"), "neither a folder nor a whole zip")
    assert folder("--from", out).exit_code == folder("--from", out, "--name", "x", "--test-share", 1).exit_code == 2
    (out / "file").write_text("")
    source = put(out.parent / "in", images())
    fails(folder("--data-dir", out / "file", "--from", source, "--name", "own"), "cannot be written")


def test_many_bad_images(out):
    bad = {f"cat/bad{i:02}.png": b"bad" for i in range(33)}
    source = put(out.parent / "in", images() | bad)
    message = fails(folder("--data-dir", out, "--from", source, "--name", "own"), "33 images cannot be read",
                    "... and 13 more", "cat/bad19.png: not an image")
    assert "bad20" not in message and listing(out) == []
    result = folder("--data-dir", out, "--from", source, "--name", "own", "--skip-bad")
    assert result.exit_code == 0 and "... and 13 more" in result.output
    dataset = registry.load("own", out)
    assert len(dataset.x_train) + len(dataset.x_test) == 15 and "33 unreadable" in dataset.source


def test_zip_with_evil_names_links_and_hidden_files(out):
    files = images() | {"../../evil.png": picture("red"), "/abs/evil.png": picture("red")}
    put(out.parent, {"z": zipped(files)})
    fails(folder("--data-dir", out, "--from", out.parent / "z", "--name", "own"), "elsewhere")
    put(out.parent, {"z": zipped(images() | {"../evil.png": picture("red", (6, 4)), "__MACOSX/cat/._0.png": b"bad",
                                             "cat/.x.png": b"bad", ".git/x.png": b"bad"})})
    with zipfile.ZipFile(out.parent / "z", "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert folder("--data-dir", out, "--from", out.parent / "z", "--name", "own").exit_code == 0
    assert registry.load("own", out).class_names == ("..", *CLASSES)     # a class of odd name, nothing else
    assert not list(out.parent.rglob("*evil*")) and listing(out) == ["own.npz"]


def test_links_in_a_folder_are_followed_but_not_in_circles(out):
    put(out.parent / "elsewhere", images("", classes=("cat", "dog")))
    source = out.parent / "in"
    source.mkdir()
    (source / "cat").symlink_to(out.parent / "elsewhere" / "cat")
    (source / "dog").symlink_to(out.parent / "elsewhere" / "dog")
    (out.parent / "elsewhere" / "cat" / "loop").symlink_to(source)
    (out.parent / "elsewhere" / "cat" / "broken.png").symlink_to("nowhere")
    os.mkfifo(out.parent / "elsewhere" / "cat" / "pipe.png")
    assert folder("--data-dir", out, "--from", source, "--name", "own").exit_code == 0
    dataset = registry.load("own", out)
    assert len(dataset.x_train) + len(dataset.x_test) == 10


def test_file_that_is_there_is_kept_without_force(out):
    source = put(out.parent / "in", images())
    folder("--data-dir", out, "--from", source, "--name", "own")
    put(out.parent / "in", {"cat/9.png": picture("red", (6, 4))})
    result = folder("--data-dir", out, "--from", source, "--name", "own")
    assert "is there already and valid" in result.output and len(registry.load("own", out).y_train) == 12
    assert folder("--data-dir", out, "--from", source, "--name", "own", "--force").exit_code == 0
    assert len(registry.load("own", out).y_train) == 13
