"""A small part of the fuzzer in every test run; ``make fuzz`` does a million inputs."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz import engine, inputs
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_some_inputs(name: str) -> None:
    engine.run(name, max(50, int(500 * TARGETS[name].share)), seed=1, watch=False)


def test_the_same_seed_makes_the_same_inputs() -> None:
    def some(seed: int) -> list[bytes]:
        target = TARGETS["frames"](Random(0))
        rng = Random(seed)
        return [target.make(rng) for _ in range(100)]

    assert some(1) == some(1)
    assert some(1) != some(2)


def test_an_exception_is_reported_with_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fragile(Target):
        name = "fragile"

        def make(self, rng: Random) -> bytes:
            return inputs.blob(rng, 4)

        def feed(self, data: bytes) -> None:
            assert len(data) < 3

    monkeypatch.setitem(TARGETS, "fragile", Fragile)
    with pytest.raises(engine.Failed, match=r"fragile: input \d+ of seed 5 raised AssertionError"):
        engine.run("fragile", 1000, seed=5, watch=False)


def test_growth_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    class Leaky(Target):
        name = "leaky"

        def make(self, rng: Random) -> bytes:
            return b"x"

        def feed(self, data: bytes) -> None:
            kept.append(b"x" * 100_000)  # more than earlier tests can have left free

    monkeypatch.setitem(TARGETS, "leaky", Leaky)
    with pytest.raises(engine.Failed, match="memory grew"):
        engine.run("leaky", 3000, seed=1)
