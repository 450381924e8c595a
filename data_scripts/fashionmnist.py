"""Get Fashion-MNIST: download the four official files or take what you have, verify, convert to fashionmnist.npz."""

import click
import common
import recipes

from minifl.data.idx import FASHION_MNIST


@click.command(cls=common.Script, help=__doc__)
@common.options("a folder with the four files, as .gz or unpacked", FASHION_MNIST.url, md5=None)
def main(given):
    recipes.make_idx(FASHION_MNIST, given)


if __name__ == "__main__":
    main()
