"""Get TinyImageNet-200: download the zip or take what you have, verify it, convert it to tinyimagenet.npz.

The published validation images are the test set, as everywhere; grey images become RGB. Needs Pillow.
"""

import click
import common
import recipes

from minifl.data import tinyimagenet
from minifl.data.known import DATASETS


@click.command(cls=common.Script, help=__doc__)
@common.options("tiny-imagenet-200.zip, the unpacked folder tiny-imagenet-200, or a folder that holds it",
                DATASETS["tinyimagenet"].url)
@common.size(DATASETS["tinyimagenet"].image_shape[0])
@common.SKIP_BAD
def main(given, **how):
    recipes.make_images("tinyimagenet", tinyimagenet, given, **how)


if __name__ == "__main__":
    main()
