"""Our division in train and test: stratified, deterministic, independent of everything but number and order."""

import hypothesis.strategies as st
from hypothesis import given, settings

from minifl.data.plan import divide

CELLS = st.dictionaries(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3)), st.integers(1, 40), min_size=1)


@given(CELLS, st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_every_name_once_and_each_cell_by_its_share(sizes, share):
    cells = {key: [f"{key}/{i:03}" for i in range(n)] for key, n in sizes.items()}
    train, test = divide(cells, share)
    assert sorted(name for name, _, _ in train + test) == sorted(sum(cells.values(), []))
    assert all(name in cells[label, domain] for name, label, domain in train + test)
    for (label, domain), names in cells.items():
        count = sum(entry[1:] == (label, domain) for entry in test)
        assert count == 0 if len(names) == 1 else abs(count - share * len(names)) <= 1
        assert 0 < count < len(names) or len(names) == 1


@given(CELLS)
@settings(max_examples=30, deadline=None)
def test_a_cell_is_divided_alike_whatever_the_others_are(sizes):
    cells = {key: [f"{key}/{i:03}" for i in range(n)] for key, n in sizes.items()}
    together = divide(cells, 0.2)
    alone = [divide({key: names}, 0.2) for key, names in cells.items()]
    for part in (0, 1):
        assert set(together[part]) == {entry for divided in alone for entry in divided[part]}


def test_what_is_for_testing_is_drawn_and_not_the_first_ones():
    cells = {(c, d): [f"{c}{d}/{i:03}" for i in range(100)] for c in range(4) for d in range(2)}
    chosen = {key: {name[3:] for name, *of in divide(cells, 0.2)[1] if (*of,) == key} for key in cells}
    assert all(len(names) == 20 for names in chosen.values())
    assert len({frozenset(names) for names in chosen.values()}) == 8
    assert all(25 < sum(map(int, names)) / 20 < 75 for names in chosen.values())
