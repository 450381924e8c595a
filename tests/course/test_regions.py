"""Marks in the source, and what a student sees instead."""

import pytest

from minifl.course.regions import Region, cut, regions, shingles, solutions, stripped

SOURCE = '''"""Module."""


def f_backward(dy, cache):
    """Map dL/dy to dL/dx.

    Derivation, one example:
        dx = dy * secret
    Identity: J1 = 0.
    """
    # course: hw2, part one, 4 points
    # task: Derive it,
    # task:     with the product rule.
    v = dy * cache     # why
    return v
    # course: end


# course: hw2, not handed out
def helper():
    return 1
# course: end


class A:
    def h(self):
        """One line."""
        # course: hw3, b, 1 point
        # task: Say.
        return 2
        # course: end
'''


def test_regions():
    assert regions(SOURCE) == [
        Region("hw2", "part one", 4, "f_backward", "Derive it,\n    with the product rule.", 10, 15),
        Region("hw2", "", 0, "", "", 18, 21), Region("hw3", "b", 1, "A.h", "Say.", 27, 30)]


def test_a_student_gets_a_task_and_a_stub():
    text = cut(SOURCE, "hw2")
    assert '''
    """Map dL/dy to dL/dx.

    Task (hw2, part one, 4 points):
    Derive it,
        with the product rule.
    """
    raise NotImplementedError("hw2, part one: f_backward is yours to write")
''' in text
    for gone in ("secret", "Identity", "helper", "# course", "# task", "dy * cache", "# why"):
        assert gone not in text
    assert "return 2" in text and '"""One line."""' in text
    compile(text, "f", "exec")


def test_another_assignment_is_given_without_marks():
    text = cut(SOURCE, "hw3")
    assert "secret" in text and "def helper" in text and "return 2" not in text and "# course" not in text
    assert '''        """One line.

        Task (hw3, b, 1 point):
        Say.
        """
        raise NotImplementedError''' in text


def test_the_reference_is_the_source_without_marks():
    text = stripped(SOURCE)
    assert "# course" not in text and "# task" not in text and "v = dy * cache     # why" in text and "secret" in text
    kept = [line for line in SOURCE.splitlines() if "# course" not in line and "# task" not in line]
    assert text.splitlines() == kept


@pytest.mark.parametrize("text, said", [
    ("# course: end", "line 1: a region ends"), ("# course: hw1, not handed out", "line 1: a region begins that does not end"),
    ("def f():\n    # course: hw1, a, 2 points\n    # course: hw1, b, 2 points\n    # course: end", "line 3: a region begins inside"),
    ("# course: hw1, a, 2 points\nx = 1\n# course: end", "outside of any function"),
    ("# course: hw1 a 2", "line 1: 'hw1 a 2' is neither"), ("# course: hw1, a, two points", "is neither"),
])
def test_marks_that_do_not_fit_together_are_errors(text, said):
    with pytest.raises(ValueError, match=said):
        regions(text)


def test_what_may_not_leak():
    long = SOURCE.replace("dx = dy * secret", "dx = (dy - y * mean(dy * y)) / sigma, as J is symmetric").replace(
        "v = dy * cache     # why", "v = (dy - dy.mean(axis=2)) * cache    # why it is so")
    secret = solutions(long, "hw2")
    assert secret & shingles("def mine(a):\n  v = ( dy-dy.mean(axis = 2) ) *cache\n")
    assert secret & shingles('"""Said:\ndx = (dy - y*mean(dy*y))/sigma, as J is symmetric"""')
    assert secret & shingles("In a README: dx = (dy - y*mean(dy*y))/sigma, as J is symmetric.", python=False)
    assert secret & shingles('"""Just write v = (dy - dy.mean(axis=2)) * cache."""')
    assert not secret & shingles(cut(long, "hw2")) and solutions(long, "hw4") == set()


def test_a_derivation_may_repeat_what_the_docstrings_of_its_function_and_forward_pass_say_and_no_other():
    formula = "y[o, f] = sum_i x[o + i] W[i, f] + b[f] for every o"
    derived = SOURCE.replace("dx = dy * secret", formula)
    assert solutions(derived, "hw2") & shingles(formula, python=False)
    for before, name in (("def f(x):\n    ", "forward"), ("def g(x):\n    ", "other")):
        source = derived.replace("def f_backward", f'{before}"""{formula}"""\n\n\ndef f_backward')
        assert bool(solutions(source, "hw2") & shingles(cut(source, "hw2"))) == (name == "other")


def test_shingles_see_through_layout_but_tell_code_from_text():
    one = shingles("dx = (dy - y * mean) / sd.v")
    assert one == shingles("dx  =  (dy  # why\n   - y*mean)/sd.v\n") and len(one) == 2
    assert one & shingles("if True:\n    z = 3\n    dx = (dy - y * mean) / sd.v\n")
    assert not one & shingles('"""dx = (dy - y * mean) / sd.v"""') and not shingles("a = b + c")
