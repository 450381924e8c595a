"""Get Fashion-MNIST: download the four official files or take what you have, verify, convert to fashionmnist.npz."""

import click
import common
import recipes

from minifl.data.known import DATASETS


@click.command(cls=common.Script, help=__doc__)
@common.options("a folder with the four files, as .gz or unpacked", DATASETS["fashionmnist"].url, md5=None)
def main(given):
    recipes.make_idx("fashionmnist", given)


if __name__ == "__main__":
    main()
