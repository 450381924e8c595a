"""Convert images by user in LEAF's form (FEMNIST, or what is made like it) to NAME.npz, for --setting natural.

FOLDER holds train/*.json and test/*.json, or data/ with them, as LEAF's preprocess.sh writes them: `users`, `num_samples`,
and `user_data` with x and y of each. A client of --setting natural has the examples of one user.
"""

import click
import common

from minifl.commands.options import Shape
from minifl.data import leaf, registry


@click.command(cls=common.Script, help=__doc__)
@click.option("--from", "origin", required=True, metavar="FOLDER", help="Of train/ and test/.")
@click.option("--name", required=True, help="Of the set and its file: letters, digits, - _ . only.")
@click.option("--shape", type=Shape(), help="Of flat pixels.  [default: a square, grey or RGB]")
@common.DATA_DIR
@common.FORCE
def main(origin, name, shape, data_dir, force):
    given = dict(data_dir=data_dir, origin=origin, url=None, md5=None, force=force)
    common.make(name, given, lambda folder: common.get_archive(given, folder, None, None, None),
                lambda source, folder: (leaf.read(name, source.path, shape), None),
                check=lambda: registry.check_own_name(name), domain="user")


if __name__ == "__main__":
    main()
