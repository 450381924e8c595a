"""One student is one id."""

import sys

import pytest

from minifl.course.identity import LONGEST, canonical
from minifl.errors import InputError


@pytest.mark.parametrize("typed", ["ada@example.org", " Ada@Example.ORG\n", "ADA@EXAMPLE.ORG"])
def test_case_and_blanks_do_not_matter(typed):
    assert canonical(typed) == "ada@example.org"


def test_letters_are_composed_and_folded():
    assert canonical("Ju\u0308rgen") == canonical("J\xdcRGEN") == "j\xfcrgen"
    assert canonical("STRASSE") == canonical("stra\xdfe") and canonical("  ") == ""


def test_the_canonical_form_stays():
    for point in range(sys.maxunicode + 1):
        if chr(point).isprintable():
            once = canonical(f"a{chr(point)}b")
            assert canonical(once) == once, hex(point)


@pytest.mark.parametrize("typed", ["a\x1b[2J", "a\nb", "\ud800", "a\u200bb", "x" * (LONGEST + 1)])
def test_what_no_roster_could_hold(typed):
    with pytest.raises(InputError, match="none of them for control"):
        canonical(typed)
