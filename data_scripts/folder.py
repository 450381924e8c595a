"""Convert your own images, a folder for each class, to NAME.npz; train with --data NAME then.

FOLDER holds train/<class>/<image> and test/<class>/<image> (or val/, valid/, validation/), or just <class>/<image>,
which is divided here, each class alike and always the same way. A zip of it works, too. Needs Pillow.
"""

import click
import common
import recipes

from minifl.data import classfolders, registry


@click.command(cls=common.Script, help=__doc__)
@click.option("--from", "origin", required=True, metavar="FOLDER_OR_ZIP", help="The images.")
@click.option("--name", required=True, help="Of the set and its file: letters, digits, - _ . only.")
@click.option("--test-share", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help=f"Of an undivided set, what is for testing. Default: {classfolders.TEST_SHARE}.")
@common.size(None)
@click.option("--gray", is_flag=True, help="One grey channel instead of RGB.")
@common.SKIP_BAD
@common.DATA_DIR
@common.FORCE
def main(origin, name, test_share, size, gray, skip_bad, data_dir, force):
    def convert(source, folder):
        return recipes.convert_images(name, f"own images {name}", source, folder,
                                     lambda tree: classfolders.plan(tree, test_share),
                                     size=size, gray=gray, skip_bad=skip_bad)

    given = dict(data_dir=data_dir, origin=origin, url=None, md5=None, force=force)
    common.make(name, given, lambda folder: common.get_archive(given, folder, None, None, None), convert,
                check=lambda: registry.check_own_name(name))


if __name__ == "__main__":
    main()
