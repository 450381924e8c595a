"""From a source to a data set, for the scripts of sets that come in the same form."""

import os
import sys
from pathlib import Path

import click
import common

from minifl.data import cifar, idx, images
from minifl.data.download import md5_of
from minifl.data.known import DATASETS
from minifl.data.plan import assemble
from minifl.data.tree import Tree
from minifl.errors import InputError


def make_cifar(version, labels, given):
    """CIFAR-10 or CIFAR-100: one archive of records."""
    def get(folder):
        part = version.known.url.rpartition("/")[2] + ".part"
        return common.get_archive(given, folder, version.known.url, version.known.md5, part, also=(version.python_md5,))

    def convert(source, folder):
        read = cifar.read_folder if source.path.is_dir() else cifar.read_archive
        files = read(version, source.path)
        found = "Python" if version.python_meta in files else "binary"
        text = f"{version.known.title} (A. Krizhevsky, 2009), {found} version, {source.phrase}"
        if source.path.is_dir():
            text += f", whose records have the sha256 {cifar.records_hash(version, files)}"
        dataset = cifar.convert(version, files, source.path, text, labels)
        others = cifar.other_counts(version, files)
        if others:
            click.secho(f"WARNING: {source.path} is not {version.known.title} as published: {', '.join(others)}.\n"
                        "WARNING: if that is not on purpose, copy or unpack it anew, then give --force.",
                        fg="red", bold=True, err=True)
        return dataset, None

    common.make(version.labels[labels].name, given, get, convert, version.known.images)


def make_idx(name, given):
    """MNIST or Fashion-MNIST: four files, downloaded one after another or found in a folder."""
    known = DATASETS[name]

    def get(folder):
        if given["origin"] is None:
            base = (given["url"] or known.url).rstrip("/")
            parts = [folder / f"{name}-{file}.gz.part" for file in idx.FILES]
            for file, md5, part in zip(idx.FILES, known.md5, parts):
                common.fetch(f"{base}/{file}.gz", md5, part)
            return common.Source(folder, "official files", tuple(parts))
        if not os.path.isdir(given["origin"]):
            raise InputError(f"--from {given['origin']}: must be the folder with the four files")
        paths = idx.find(given["origin"])
        if tuple(common.checked(md5_of, path) for path in paths) == known.md5:
            return common.Source(Path(given["origin"]), "official files")
        click.echo("note: these are not the four official .gz files as they are; their contents' own checksum goes "
                   "into the source", err=True)
        return common.Source(Path(given["origin"]), "from a folder")

    def convert(source, folder):
        contents = [idx.read(path) for path in source.downloads or idx.find(source.path)]
        text = f"{known.title}, {source.phrase}, whose contents have the sha256 {idx.contents_hash(contents)}"
        return idx.convert(name, contents, source.path, text), None

    common.make(name, given, get, convert, known.images)


def make_images(name, form, given, *, size, skip_bad):
    """A published set of image files; `form` is its module in minifl.data."""
    known = DATASETS[name]

    def get(folder):
        images.pillow()    # before a long download
        if known.url is None and given["origin"] is None and not (given["url"] and given["md5"]):
            raise InputError(f"{known.title} has no official address that stays: give what you have with --from "
                             "FILE_OR_FOLDER, or the --url of a zip and its --md5")
        return common.get_archive(given, folder, known.url, known.md5, f"{name}.zip.part")

    def convert(source, folder):
        return convert_images(name, known.title, source, folder, form.plan, size=size, skip_bad=skip_bad)

    common.make(name, given, get, convert, known.images)


def convert_images(name, title, source, folder, plan_of, *, size, gray=False, skip_bad=False):
    """The `Dataset` of the image files that plan_of(tree) names, and these names; see minifl/data/images.py."""
    tree = Tree(source.path)
    plan = plan_of(tree)
    for remark in plan.remarks:
        click.echo(f"note: {remark}", err=True)
    with click.progressbar(plan.names, label="images", file=sys.stderr) as bar:
        decoded = images.decode(bar, tree.read, folder, size=size, gray=gray)
    if decoded.bad and not skip_bad:
        raise InputError(f"{images.bad_images(decoded.bad)}\n--skip-bad leaves them out")
    if decoded.bad:
        click.echo(f"warning: left out, {images.bad_images(decoded.bad)}", err=True)
    parts = [f"{title}, {source.phrase}", f"{len(decoded.pixels)} image files with the sha256 {decoded.sha256}"]
    if decoded.resized:
        parts.append(f"{decoded.resized} resized to {size}x{size} (middle square, antialiased bilinear)")
    if decoded.bad:
        parts.append(f"{len(decoded.bad)} unreadable ones left out")
    return assemble(name, plan, decoded, "; ".join(parts)), [file for file, kept in zip(plan.names, decoded.kept) if kept]


