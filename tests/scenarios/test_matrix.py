"""10 MB under each impairment of the matrix; ``python -m tests.sim.matrix`` runs more seeds."""

from __future__ import annotations

import pytest

from tests.sim.matrix import IMPAIRMENTS, build, main
from tests.sim.seeds import seeds, show


@pytest.mark.parametrize("seed", seeds(5))
@pytest.mark.parametrize("name", IMPAIRMENTS)
def test_ten_megabytes_survive(name: str, seed: int) -> None:
    show(seed)
    build(name, seed).run()


def test_a_failure_names_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(setup: object) -> None:
        raise ValueError("as intended")

    IMPAIRMENTS["broken"] = broken
    try:
        assert main(["broken", "--seeds", "2", "--jobs", "1"]) == 1
    finally:
        del IMPAIRMENTS["broken"]
    output = capsys.readouterr().out
    assert "python -m tests.sim.matrix broken --seed 2" in output
    assert "as intended" in output
    assert "| broken: " in output
