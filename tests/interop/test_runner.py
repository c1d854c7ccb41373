"""Every case of the QUIC interop runner, cwt against itself, with smaller files and sooner faults.

``python -m tests.interop.runner`` runs them in full and against other implementations.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.runner.cases import CASES
from tests.interop.runner.peers import PEERS
from tests.interop.runner.run import PASSED, run_case

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, tmp_path: Path) -> None:
    cwt = PEERS["cwt"]
    outcome = run_case(CASES[name].faster(), cwt, cwt, tmp_path / name)
    assert outcome.status == PASSED, outcome.reason
