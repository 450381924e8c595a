"""What is taken out of a source file, and what a student sees instead."""

import pytest

from minifl.course.regions import cut, left_over, shingles, solutions
from minifl.course.sheets import Task
from minifl.errors import InputError

SOURCE = '''"""Module."""
import math

# Why it is so small.
STEP, HALF = 1e-30, 5e-31   # tiny


def f_backward(dy, cache):
    """Map dL/dy to dL/dx.

    Derivation, one example:
        dx = dy * secret
    Identity: J1 = 0.
    """
    # how it is done
    v = dy * cache     # why
    return v

    # and that is all


# what helps
@property
def helper():
    return 1


class A:
    def h(self):
        """One line."""
        if self is None:
            raise ValueError("none")
        # from here on
        two = 2
        return two
'''
TASK = Task("hw2", "part one", 4, "m.f_backward", "", "Derive it,\n    with the product rule.\n\nSo.")
METHOD = Task("hw3", "b", 1, "m.A.h", "", "Say.")


def test_a_student_gets_a_task_and_a_stub():
    text = cut(SOURCE, "m", [TASK], ["m.helper"])
    assert text.endswith('''
STEP, HALF = 1e-30, 5e-31   # tiny


def f_backward(dy, cache):
    """Map dL/dy to dL/dx.

    Task (hw2, part one, 4 points):
    Derive it,
        with the product rule.

    So.
    """
    raise NotImplementedError("hw2, part one: f_backward is yours to write")


class A:
    def h(self):
        """One line."""
        if self is None:
            raise ValueError("none")
        # from here on
        two = 2
        return two
''')
    compile(text, "f", "exec")


def test_of_a_method_the_docstring_stays():
    text = cut(SOURCE, "m", [METHOD])
    assert "secret" in text and "def helper" in text and text.endswith('''
    def h(self):
        """One line.

        Task (hw3, b, 1 point):
        Say.
        """
        raise NotImplementedError("hw3, b: h is yours to write")
''')
    assert '"""One line.\n\n        Task (hw3, b, 1 point).\n        """\n        raise Not' in cut(SOURCE, "m", [METHOD._replace(text="")])


def test_what_stands_before_a_named_statement_stays():
    text = cut(SOURCE, "m", [METHOD._replace(begin="two")])
    assert text.endswith('''
            raise ValueError("none")
        raise NotImplementedError("hw3, b: h is yours to write")
''')
    with pytest.raises(InputError, match="m.A.h: 0 of its statements begin with 'three'"):
        cut(SOURCE, "m", [METHOD._replace(begin="three")])
    twice = SOURCE.replace("        two = 2\n", "        two = 2\n        two = two\n")
    with pytest.raises(InputError, match="m.A.h: 2 of its statements begin with 'two'"):
        cut(twice, "m", [METHOD._replace(begin="two")])


def test_what_is_withheld_goes_with_the_comments_above_it():
    text = cut(SOURCE, "m", [], ["m.STEP", "m.helper", "m.math"])
    assert text.startswith('"""Module."""\n\n\ndef f_backward') and "helper" not in text and "# what helps" not in text
    assert "# Why it is so small" not in text and "@property" not in text and "# and that is all\n\n\nclass A" in text


def test_a_derivation_on_the_first_line_goes_too():
    source = 'def f():\n    """Derivation: it is\n    so.\n    """\n    return 1\n'
    text = cut(source, "m", [TASK._replace(function="m.f", text="How?")])
    assert "Derivation" not in text and '    """\n\n    Task (hw2, part one, 4 points):\n    How?\n    """\n' in text
    compile(text, "f", "exec")


@pytest.mark.parametrize("tasks, withheld, said", [
    ([TASK._replace(function="m.g_backward")], (), "m.g_backward: m defines nothing .* there are math, STEP, HALF, f_"),
    ([TASK._replace(function="m.A.g")], (), "m.A.g: m defines nothing"),
    ([TASK], ["m.helpers"], "m.helpers: m defines nothing"), ([TASK], ["m.A.h"], "m.A.h: is in a class"),
    ([TASK._replace(function="m.STEP")], (), "m.STEP: has to be a function with a docstring"),
    ([TASK._replace(function="m.A")], (), "m.A: has to be a function"),
    ([TASK._replace(function="m.helper")], (), "m.helper: has to be a function with a docstring")])
def test_what_is_not_there_is_said_by_its_qualified_name(tasks, withheld, said):
    for of in (cut, solutions):
        with pytest.raises(InputError, match=said):
            of(SOURCE, "m", tasks, withheld)


LONG = SOURCE.replace("dx = dy * secret", "dx = (dy - y * mean(dy * y)) / sigma, as J is symmetric").replace(
    "v = dy * cache     # why", "v = (dy - dy.mean(axis=2)) * cache    # why it is so")


def test_what_may_not_leak():
    secret = solutions(LONG, "m", [TASK], ["m.helper"])
    assert secret & shingles("def mine(a):\n  v = ( dy-dy.mean(axis = 2) ) *cache\n")
    assert secret & shingles('"""Said:\ndx = (dy - y*mean(dy*y))/sigma, as J is symmetric"""')
    assert secret & shingles("In a README: dx = (dy - y*mean(dy*y))/sigma, as J is symmetric.", python=False)
    assert secret & shingles('"""Just write v = (dy - dy.mean(axis=2)) * cache."""')
    assert not secret & shingles(cut(LONG, "m", [TASK], ["m.helper"])) and solutions(LONG, "m", []) == set()


def test_what_is_withheld_may_not_leak():
    helper = SOURCE.replace("    return 1\n", "    return (dy - dy.mean(axis=2)) * cache\n")
    leak = shingles("v = (dy - dy.mean(axis=2)) * cache")
    assert solutions(helper, "m", [TASK], ["m.helper"]) & leak and not solutions(helper, "m", [TASK]) & leak


def test_a_derivation_may_repeat_what_the_docstrings_of_its_function_and_forward_pass_say_and_no_other():
    formula = "y[o, f] = sum_i x[o + i] W[i, f] + b[f] for every o"
    derived = SOURCE.replace("dx = dy * secret", formula)
    assert solutions(derived, "m", [TASK]) & shingles(formula, python=False)
    for before, name in (("def f(x):\n    ", "forward"), ("def g(x):\n    ", "other")):
        source = derived.replace("def f_backward", f'{before}"""{formula}"""\n\n\ndef f_backward')
        assert bool(solutions(source, "m", [TASK]) & shingles(cut(source, "m", [TASK]))) == (name == "other")


def test_shingles_see_through_layout_but_tell_code_from_text():
    one = shingles("dx = (dy - y * mean) / sd.v")
    assert one == shingles("dx  =  (dy  # why\n   - y*mean)/sd.v\n") and len(one) == 2
    assert one & shingles("if True:\n    z = 3\n    dx = (dy - y * mean) / sd.v\n")
    assert not one & shingles('"""dx = (dy - y * mean) / sd.v"""') and not shingles("a = b + c")


def test_what_only_solutions_use_is_left_over_unless_a_task_mentions_it():
    source = SOURCE.replace("dy * cache", "dy * cache * helper()")
    assert left_over(source, cut(source, "m", [TASK])) == ["helper"]
    assert left_over(source, cut(source, "m", [TASK._replace(text="See helper.")])) == []
    assert left_over(source, cut(source, "m", [TASK], ["m.helper"])) == []
    assert left_over(SOURCE, cut(SOURCE, "m", [TASK])) == []     # nobody uses it before either
