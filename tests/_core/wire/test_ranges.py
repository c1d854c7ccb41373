"""Sets of integers as intervals, against Python's own sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cwt._core.wire.ranges import RangeSet

SPAN = st.tuples(st.integers(0, 60), st.integers(0, 12))


class RangeSetMachine(RuleBasedStateMachine):
    """The same operations on a RangeSet and on a set."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = RangeSet()
        self.model: set[int] = set()

    @rule(span=SPAN)
    def add(self, span: tuple[int, int]) -> None:
        start, end = span[0], span[0] + span[1]
        self.ranges.add(start, end)
        self.model |= set(range(start, end))

    @rule(span=SPAN)
    def subtract(self, span: tuple[int, int]) -> None:
        start, end = span[0], span[0] + span[1]
        self.ranges.subtract(start, end)
        self.model -= set(range(start, end))

    @rule(span=SPAN)
    def covers(self, span: tuple[int, int]) -> None:
        start, end = span[0], span[0] + span[1]
        if start < end:
            assert bool(self.ranges.covers(start, end)) == (set(range(start, end)) <= self.model)

    @invariant()
    def same(self) -> None:
        pairs = list(self.ranges)
        assert {value for start, end in pairs for value in range(start, end)} == self.model
        assert len(self.ranges) == len(pairs)
        # Sorted, not empty, and never touching: neighbours are one range.
        assert all(start < end for start, end in pairs)
        assert all(left[1] < right[0] for left, right in pairwise(pairs))
        assert all((value in self.ranges) == (value in self.model) for value in range(75))


TestRangeSet = RangeSetMachine.TestCase


@given(st.integers(0, 2**62 - 2))
def test_large_numbers(value: int) -> None:
    ranges = RangeSet()
    ranges.add(value, value + 1)
    ranges.add(0, 1)
    assert value in ranges
    assert list(ranges)[-1][1] == value + 1
