"""Get MNIST: download the four official files or take what you have, verify them, convert them to mnist.npz."""

import click
import common
import recipes

from minifl.data.idx import MNIST


@click.command(cls=common.Script, help=__doc__)
@common.options("a folder with the four files, as .gz or unpacked", MNIST.url, md5=None)
def main(given):
    recipes.make_idx(MNIST, given)


if __name__ == "__main__":
    main()
