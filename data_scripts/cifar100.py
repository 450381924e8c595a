"""Get CIFAR-100: download the official archive or take what you have, verify it, convert it to cifar100.npz.

With --labels coarse the 20 superclasses are the classes, and the file is cifar100-coarse.npz.
"""

import click
import common
import recipes

from minifl.data.cifar import CIFAR100


@click.command(cls=common.Script, help=__doc__)
@common.options("the archive cifar-100-binary.tar.gz or cifar-100-python.tar.gz, the unpacked folder cifar-100-binary or "
                "cifar-100-python, or a folder that holds it", CIFAR100.known.url)
@click.option("--labels", type=click.Choice(list(CIFAR100.labels)), default="fine", show_default=True,
              help="The 100 classes, or the 20 superclasses.")
def main(given, labels):
    recipes.make_cifar(CIFAR100, labels, given)


if __name__ == "__main__":
    main()
