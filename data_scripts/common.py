"""What the scripts of this folder share: their options, getting the files and verifying them, the report."""

import functools
import os
import re
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))    # so that the scripts run from a clone

from minifl import atomic
from minifl.commands.streams import Careful
from minifl.data.dataset import shared_images
from minifl.data.download import download, md5_of
from minifl.data.files import read_dataset, write_dataset
from minifl.data.registry import data_folder
from minifl.data.tree import shown
from minifl.errors import InputError

DATA_DIR = click.option("--data-dir", metavar="FOLDER", help="Where to write. Default: $MINIFL_DATA, else ./data.")
FORCE = click.option("--force", is_flag=True, help="Replace a file that is there already.")
SKIP_BAD = click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and list them.")


def size(default):
    return click.option("--size", type=click.IntRange(1, 4096), default=default, show_default=default is not None,
                        help="Side in pixels of the square that all images are brought to: shorter side to it, centre "
                             "crop." + " Default: as they are, if all are of one size." * (default is None))


class Script(Careful, click.Command):
    """The command of a script."""


@dataclass(frozen=True)
class Source:
    """What is read: an archive or a folder, how sentences call it, and what was downloaded for it."""
    path: Path
    phrase: str
    downloads: tuple = ()


def options(origin, url="", md5="Default when downloading: the official one."):
    """The options of every script that downloads; it takes them as a dict `given`. md5=None: without --md5."""
    wanted = [DATA_DIR,
              click.option("--from", "origin", metavar="FILE_OR_FOLDER", help=f"Instead of downloading: {origin}."),
              click.option("--url", help=f"Address to download from. {url and f'Default: {url}'}"), FORCE]
    if md5 is not None:
        wanted.insert(3, click.option("--md5", help=f"The md5 that the archive must have. {md5}"))

    def decorate(main):
        @functools.wraps(main)
        def collected(data_dir, origin, url, force, md5=None, **others):
            main(given=dict(data_dir=data_dir, origin=origin, url=url, force=force, md5=md5), **others)
        return functools.reduce(lambda f, option: option(f), reversed(wanted), collected)
    return decorate


def make(name, given, get, convert, genuine=None, check=lambda: None, domain="domain"):
    """Write <data-dir>/<name>.npz, or find it there, and report; ends the process with 2 on an InputError.

    check()                  raises InputError for options of the script's own that cannot be used
    get(folder)              `Source` of what is read, downloaded to `folder` if need be
    convert(source, folder)  the `Dataset`, and the names of its images, training images first; None: they have none
    genuine                  how many images the published set has, (training, test) or together
    domain                   what a domain is; of a user's own the next command has --setting natural
    """
    source = None
    try:
        check()
        check_options(given)
        folder, _ = data_folder(given["data_dir"])
        target = folder / f"{name}.npz"
        if os.path.lexists(target) and not given["force"]:
            dataset = read_dataset(target)
            click.echo(f"{target} is there already and valid; --force makes it anew")
        else:
            atomic.check(target)        # before a long download
            source = get(folder)
            dataset = without_silence(*convert(source, folder))
            write_dataset(target, dataset)
            for part in source.downloads:
                part.unlink()
            source = None
        report(dataset, target, given["data_dir"], genuine, domain)
    except InputError as error:
        if source and source.downloads:
            kept = ", ".join(map(str, source.downloads))
            click.echo(f"note: the download is whole and kept ({kept}); the same command goes on from it", err=True)
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


def check_options(given):
    origin, url, md5 = given["origin"], given["url"], given["md5"]
    if origin is not None and url is not None:
        raise InputError("--from and --url: give one of them, --from does not download")
    if origin is not None and not os.path.exists(origin):
        raise InputError(f"--from {origin}: no such file or folder")
    if md5 is not None and not re.fullmatch("[0-9a-fA-F]{32}", md5):
        raise InputError(f"--md5 {md5}: must be 32 hexadecimal digits")
    if origin is not None and os.path.isdir(origin) and md5 is not None:
        raise InputError(f"--md5: is that of an archive, but --from {origin} is a folder")


def get_archive(given, folder, url, official, part, also=()):
    """`Source` of one archive or folder. official: the published md5 of what is at `url`; None: nothing is published.

    also: the md5 of other archives that are official, too. part: name of the file in `folder` that a download goes to.
    """
    origin, md5 = given["origin"], given["md5"] and given["md5"].lower()
    if origin is None:
        address, wanted = given["url"] or url, md5 or official
        official = wanted if wanted in also else official
        fetch(address, wanted, folder / part)
        name = address.partition("?")[0]    # what comes after it may be a key of the user's
        return Source(folder / part, called(name, wanted, official), downloads=(folder / part,))
    if os.path.isdir(origin):
        if official:
            click.echo("note: for a folder there is no official checksum, its own goes into the source", err=True)
        return Source(Path(origin), "from an unpacked folder")
    found = checked(md5_of, origin)
    official = found if found in also else official
    if md5 is not None and found != md5:
        raise InputError(f"--from {origin}: has the md5 {found}, --md5 says {md5}")
    if official and found != official:
        click.echo(f"note: {origin} is not the official archive (md5 found {found}, official {official})", err=True)
    return Source(Path(origin), called(os.path.basename(origin), found, official))


def called(name, md5, official):
    if md5 == official:
        return f"official archive, md5 {md5}"
    return f"from {name}, md5 {md5}" + (", which is not the official archive" if official else "")


def checked(function, path):
    """function(path), where what cannot be read is an InputError."""
    try:
        return function(path)
    except OSError as error:
        raise InputError(f"--from {path}: cannot be read ({error.strerror or error})") from error


def fetch(url, md5, part):
    """Download `url` to the file `part` and verify it. Bytes that are wrong are removed, too few are kept."""
    steps = download(url, part)
    done, total = next(steps)
    if done:
        click.echo(f"going on with {part} from byte {done}", err=True)
    with click.progressbar(length=total or 0, label="download", file=sys.stderr) as bar:
        bar.update(done)
        for now, _ in steps:
            bar.update(now - done)
            done = now
    found = md5_of(part)
    if found != md5:
        part.unlink()
        raise InputError(f"{url}: what came has the md5 {found}, must be {md5}; it was removed. The same command "
                         "downloads it anew; another archive needs --md5 if the script has it, else --from")


def without_silence(dataset, names):
    """The data set; if images are in training and test, that is said, and its source says so, too."""
    found = shared_images(dataset)
    if found is None:
        return dataset
    are = "is a training image" if found.count == 1 else "are training images"
    both = f"{found.count} of the {len(dataset.x_test)} test images {are}, too"
    pair = (("training", found.train, dataset.y_train[found.train], 0),
            ("test", found.test, dataset.y_test[found.test], len(dataset.x_train)))
    example = " and ".join(f"{shown(names[first + i]) if names else f'{part} image {i}'} ({dataset.class_names[y]})"
                           for part, i, y, first in pair)
    click.echo(f"warning: {both}, pixel by pixel; for example {example}. The test accuracy will count them.", err=True)
    return replace(dataset, source=f"{dataset.source}; {both}")


def report(dataset, target, data_dir, genuine, domain):
    sizes = len(dataset.x_train), len(dataset.x_test)
    if genuine and sizes != genuine and sum(sizes) != genuine:
        real = f"{genuine[0]} and {genuine[1]}" if isinstance(genuine, tuple) else f"{genuine} together"
        click.echo(f"warning: {sizes[0]} training and {sizes[1]} test images; the real set has {real}", err=True)
    option = f" --data-dir {shlex.quote(data_dir)}" if data_dir else ""
    domains = f" in {len(dataset.domain_names)} {domain}s" if dataset.domain_names else ""
    natural = " --setting natural" if domain == "user" else ""
    click.echo(f"{dataset.name:8} {sizes[0]} training and {sizes[1]} test images of {dataset.image_shape}, "
               f"{dataset.num_classes} classes{domains}\n"
               f"source   {dataset.source}\n"
               f"sha256   {dataset.sha256}\n"
               f"file     {target}\n"
               f"next     python cli.py train --norm fn --data {dataset.name}{natural}{option}")
