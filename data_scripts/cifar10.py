"""Get CIFAR-10: download the official archive or take what you have, verify it, convert it to cifar10.npz."""

import click
import common
import recipes

from minifl.data.cifar import CIFAR10


@click.command(cls=common.Script, help=__doc__)
@common.options("the archive cifar-10-binary.tar.gz or cifar-10-python.tar.gz, the unpacked folder cifar-10-batches-bin or "
                "cifar-10-batches-py, or a folder that holds it", CIFAR10.known.url)
def main(given):
    recipes.make_cifar(CIFAR10, "fine", given)


if __name__ == "__main__":
    main()
