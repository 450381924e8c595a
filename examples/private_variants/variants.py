"""Private variants of the assignments, as an example: copy this folder, and make it yours.

    python cli.py course check hw1 hw2 hw3 hw4 hw5 hw6 --private examples/private_variants/variants.py
    python cli.py course list --private examples/private_variants/variants.py

This folder is published, too. Whoever reads it and knows the salt has the solutions; who does not know it has the functions
that write them. So change the mathematics, not only the salt: other draws, other formulas. docs/teaching.md says how.
"""

from hw1 import hw1
from hw2 import hw2
from hw3 import hw3
from hw4 import hw4
from hw5 import hw5
from hw6 import hw6

SALT = "write anything here, and something else next year"

__all__ = ["SALT", "hw1", "hw2", "hw3", "hw4", "hw5", "hw6"]
