"""ReassemblyBuffer against a bytearray with holes."""

from __future__ import annotations

from cwt._core.stream.recv import ReassemblyBuffer
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

SIZE = 300_000
CONTENT = bytes(i * 31 % 251 for i in range(SIZE))
LENGTH = st.one_of(st.integers(0, 6000), st.integers(0, 100_000))


class Model(RuleBasedStateMachine):
    """The right bytes arrive anywhere, any number of times; they are read in order, once."""

    @initialize()
    def start(self) -> None:
        self.buffer = ReassemblyBuffer()
        self.have = bytearray(SIZE + 1)  # 1 where a byte has arrived
        self.read = 0

    def arrive(self, start: int, length: int) -> None:
        end = min(start + length, SIZE)
        self.buffer.write(start, CONTENT[start:end])
        self.have[start:end] = b"\1" * (end - start)

    @rule(start=st.integers(0, SIZE), length=LENGTH)
    def anywhere(self, start: int, length: int) -> None:
        self.arrive(start, length)

    @rule(gap=st.integers(-50, 50), length=st.integers(0, 300))
    def nearby(self, gap: int, length: int) -> None:
        self.arrive(min(max(self.contiguous() + gap, 0), SIZE), length)

    @rule(length=LENGTH)
    def next(self, length: int) -> None:
        self.arrive(self.contiguous(), length)

    @rule(block=st.integers(0, 40), gap=st.integers(-2, 2), length=st.integers(0, 5))
    def at_a_block(self, block: int, gap: int, length: int) -> None:
        self.arrive(max(4096 * block + gap, 0), length)

    @rule(length=LENGTH)
    def take(self, length: int) -> None:
        expected = CONTENT[self.read : min(self.read + length, self.contiguous())]
        assert self.buffer.read(length) == expected
        self.read += len(expected)

    def contiguous(self) -> int:
        return self.have.index(0)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "buffer"):
            assert self.buffer.offset == self.read
            assert self.buffer.contiguous == self.contiguous()

    def teardown(self) -> None:
        if hasattr(self, "buffer"):
            self.arrive(0, SIZE)
            assert self.buffer.read(SIZE) == CONTENT[self.read :]


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
