"""How a layer of the list is told: its functions, its inputs, and three wrong versions as changes of its text."""

import inspect
import sys
import textwrap
from typing import NamedTuple

import numpy as np


class Idiom(NamedTuple):
    """A right layer as people write it, and how it goes wrong."""
    name: str
    parts: tuple                 # its functions, or its class
    inputs: dict                 # name -> array
    wrong: dict                  # what is wrong -> (text that the parts contain once, text in its place)
    pair: object = lambda *parts: parts      # the parts -> forward, backward
    fixed: tuple = ()
    given: tuple = ()            # inputs that are what they are: probabilities, rows of 0 and 1; so are whole numbers
    without: tuple = ()          # special numbers at which its gradient is not finite

    def right(self):
        """(forward, backward)."""
        return self.pair(*self.parts)

    def broken(self, what):
        """The pair with one of the changes made to its text."""
        old, new = self.wrong[what]
        source = "\n\n".join(textwrap.dedent(inspect.getsource(part)) for part in self.parts)
        assert source.count(old) == 1, f"{self.name}, {what}: {old!r} is there {source.count(old)} times"
        names = dict(vars(sys.modules[self.parts[0].__module__]))
        exec(source.replace(old, new), names)
        return self.pair(*(names[part.__name__] for part in self.parts))


def normal(seed=0, **shapes):
    """name -> standard normal numbers."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}
