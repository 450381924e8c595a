"""Convert PACS to pacs.npz: four domains of seven classes, from the folders domain/class or a zip of them.

There is no official address that stays: give --from, or --url with --md5. As no division is published, about a fifth
of each class of each domain is for testing, always the same images. Needs Pillow.
"""

import click
import common
import recipes

from minifl.data import pacs
from minifl.data.known import DATASETS


@click.command(cls=common.Script, help=__doc__)
@common.options("the folder with art_painting, cartoon, photo and sketch, one that holds it, or a zip of it",
                md5="Needed with --url.")
@common.size(DATASETS["pacs"].image_shape[0])
@common.SKIP_BAD
def main(given, **how):
    recipes.make_images("pacs", pacs, given, **how)


if __name__ == "__main__":
    main()
