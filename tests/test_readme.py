"""What README promises: its examples run, its commands and files exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cwt.tls.development import development_certificate
from tests.sources import ROOT, SRC

README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", README, re.M | re.S))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SRC)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The examples, with a certificate beside them."""
    development_certificate().write(tmp_path)
    for name, code in BLOCKS.items():
        (tmp_path / name).write_text(code.replace("4433, certfile", "0, certfile"))
    return tmp_path


def python(name: str, directory: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, name],
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_first_example_echoes(directory: Path) -> None:
    with python("server.py", directory) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split()[-1]
            client = directory / "client.py"
            client.write_text(client.read_text().replace(":4433", f":{port}"))
            with python("client.py", directory) as running:
                output, _ = running.communicate(timeout=30)
            assert running.returncode == 0
            assert output == "b'hello'\n"
        finally:
            server.terminate()


def test_the_example_without_io(directory: Path) -> None:
    with python("sans_io.py", directory) as running:
        output, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert output == "(b'hello', True)\n"


def test_every_python_example_is_run_here() -> None:
    assert README.count("```python") == len(BLOCKS) == 3


def test_commands_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        word for line in re.findall(r"`(?:\w+=\S+ )?make ([^`]*)`", README) for word in line.split()
    }
    assert {word for word in named if word.isalpha() and word.islower()} <= targets
    result = subprocess.run(
        [sys.executable, "-m", "cwt", "--help"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    for command in set(re.findall(r"`cwt (\w+)", README)):
        assert re.search(rf"^\s+{command}\s", result.stdout, re.M), command


def test_files_exist() -> None:
    named = re.findall(r"`((?:src|tests|benchmarks)/[\w./]*)`|\]\(([\w./-]+)\)", README)
    missing = [name for pair in named for name in pair if name and not (ROOT / name).exists()]
    assert not missing


def test_the_other_project_is_never_recommended() -> None:
    for path in (*ROOT.glob("*.md"), *SRC.rglob("*.py")):
        assert not re.search(r"pip install\s+['\"]?cwt(?![-\w])", path.read_text()), path
