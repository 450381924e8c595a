"""data_scripts/pacs.py on small sets of domains and classes: where it is found, how it is divided, what is refused."""

import functools
import re

import numpy as np
import pytest

from minifl.data import registry
from minifl.data.pacs import CLASSES, DOMAINS
from minifl.data.partition import make_partition

from scripting import color, fails, listing, md5, picture, put, run, zipped

pacs = functools.partial(run, "pacs")


@functools.cache
def files():
    """{domain/class/file: bytes}: 5 + domain + class images in a folder, each of one color of its own."""
    made = {}
    for d, domain in enumerate(DOMAINS):
        for c, label in enumerate(CLASSES):
            for i in range(5 + d + c):
                made[f"{domain}/{label}/pic_{i:03}.{'jpg' if d == 0 else 'png'}"] = picture(
                    color(d, c, i), (9, 7), "PNG")
    return made


def by_color(dataset):
    """{color: (part, label, domain)} of the images, each of which must be of one color."""
    seen = {}
    for part in ("train", "test"):
        x, y, domain = (getattr(dataset, f"{name}_{part}") for name in ("x", "y", "domain"))
        assert (x == x[:, :1, :1]).all()
        seen |= {tuple(x[n, 0, 0].tolist()): (part, y[n], domain[n]) for n in range(len(x))}
    return seen


@pytest.mark.parametrize("top", ["", "PACS/", "kfold/", "PACS/kfold/"])
@pytest.mark.parametrize("form", ["zip", "folder"])
def test_domains_and_classes(out, top, form):
    put(out.parent, {"z": zipped(files(), top)})
    put(out.parent / "in", {top + name: raw for name, raw in files().items()})
    result = pacs("--data-dir", out, "--size", 6, "--from", out.parent / ("z" if form == "zip" else "in"))
    assert result.exit_code == 0, result.output
    assert "the real set has 9991 together" in result.output and "in 4 domains" in result.output
    dataset = registry.load("pacs", out)
    assert dataset.class_names == CLASSES and dataset.domain_names == DOMAINS and dataset.image_shape == (6, 6, 3)
    seen = by_color(dataset)
    assert len(seen) == len(files())
    for d in range(4):
        for c in range(7):
            cell = [seen[color(d, c, i)] for i in range(5 + d + c)]
            assert {place[1:] for place in cell} == {(c, d)}
            assert sum(part == "test" for part, _, _ in cell) == round((5 + d + c) / 5)
    assert re.search(f"{len(files())} image files with the sha256 [0-9a-f]{{64}}; {len(files())} resized to 6x6",
                     dataset.source)


def test_the_division_depends_on_neither_size_nor_bad_images(out):
    pacs("--data-dir", out / "a", "--size", 6, "--from", put(out.parent / "in", files()))
    put(out.parent / "in", {"photo/dog/pic_000.png": b"bad"})
    assert pacs("--data-dir", out / "b", "--size", 5, "--from", out.parent / "in", "--skip-bad").exit_code == 0
    a, b = (by_color(registry.load("pacs", out / name)) for name in "ab")
    assert b.keys() == a.keys() - {color(2, 0, 0)} and all(b[key] == a[key] for key in b)


def test_the_division_is_the_published_one_of_this_repository(out):
    """Which images are for testing may never change unnoticed: results of different dates would not compare."""
    pacs("--data-dir", out, "--size", 6, "--from", put(out.parent / "in", files()))
    dataset = registry.load("pacs", out)
    chosen = sorted(key for key, place in by_color(dataset).items() if place[0] == "test")
    named = [(d, c, i) for d in range(4) for c in range(7) for i in range(5 + d + c) if color(d, c, i) in chosen]
    assert named[:6] == [(0, 0, 0), (0, 1, 0), (0, 2, 5), (0, 3, 1), (0, 3, 6), (0, 4, 1)]
    assert len(named) == len(dataset.x_test) == 53


def test_server_needs_its_md5(out, serve):
    serve.files["pacs.zip"] = zipped(files())
    for options in ([], ["--url", f"{serve.url}/pacs.zip"], ["--md5", "0" * 32]):
        fails(pacs("--data-dir", out, *options), "no official address", "--from", "--md5")
    assert serve.asked == []
    digest = md5(serve.files["pacs.zip"])
    result = pacs("--data-dir", out, "--size", 6, "--url", f"{serve.url}/pacs.zip", "--md5", digest)
    assert result.exit_code == 0, result.output
    assert listing(out) == ["pacs.npz"] and "not the official" not in result.output
    assert f"from {serve.url}/pacs.zip, md5 {digest};" in registry.load("pacs", out).source


@pytest.mark.parametrize("change, words", [
    (lambda f: {name: raw for name, raw in f.items() if not name.startswith("sketch/house/")},
     "no images in sketch/house (1 of 28 folders)"),
    (lambda f: {name: raw for name, raw in f.items() if not name.startswith("photo/")},
     "no images in photo/dog, photo/elephant, photo/giraffe, ... (7 of 28 folders)"),
    (lambda f: f | {f"copy/{name}": raw for name, raw in f.items()}, "domains in several places, , copy/;"),
    (lambda f: {"readme.txt": b""}, "(28 of 28 folders)"),
])
def test_what_does_not_fit(out, change, words):
    fails(pacs("--data-dir", out, "--from", put(out.parent / "in", change(files()))), out.parent / "in", words)
    assert listing(out) == []


def test_what_else_lies_there_is_counted(out):
    more = {"Thumbs.db": b"", "photo/dog/.hidden.png": b"bad", "__MACOSX/photo/dog/._pic.png": b"bad",
            "other/cat.png": b"never read"}
    result = pacs("--data-dir", out, "--size", 6, "--from", put(out.parent / "in", files() | more))
    assert result.exit_code == 0, result.output
    assert "1 images elsewhere are left out" in result.output and "left out: Thumbs.db\n" in result.output
    assert len(by_color(registry.load("pacs", out))) == len(files())


def test_its_domains_are_divided_over_clients(out):
    """The paper's 12 clients: three of each domain."""
    pacs("--data-dir", out, "--size", 6, "--from", put(out.parent / "in", files()))
    d = registry.load("pacs", out)
    made = make_partition("disjoint", d.y_train, d.y_test, 7, 12, 0,
                          domains=(d.domain_train, d.domain_test, d.domain_names), by_domain=True)
    assert len(made.train) == 12 and sum(map(len, made.train)) == len(d.x_train)
    assert all(len(np.unique(d.domain_train[part])) == 1 for part in made.train)
