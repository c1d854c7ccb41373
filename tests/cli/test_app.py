"""The group of commands: help, errors in words, what is missing."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import cwt
from cwt.cli import common
from cwt.cli.app import cli
from tests.cli import processes


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for command in ("demo", "devcert", "perf"):
        assert command in result.output


@pytest.mark.parametrize("arguments", [["demo"], ["devcert"], ["perf"], ["perf", "client"]])
def test_every_command_has_help(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, [*arguments, "-h"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_unknown_command() -> None:
    result = CliRunner().invoke(cli, ["fly"])
    assert result.exit_code == 2
    assert "fly" in result.output


def test_module_runs() -> None:
    done = processes.run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("cwt, version ")


def test_says_what_to_install_when_click_is_missing() -> None:
    script = (
        "import sys; sys.modules['click'] = None; sys.argv = ['cwt', 'demo']\n"
        "from cwt.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "cwt-quic[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_cwt_does_not_import_the_command_line() -> None:
    script = "import cwt, sys; cwt.connect; print({'click', 'rich'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (cwt.ConnectTimeout("no answer; is it running?"), "no answer; is it running?"),
        (OSError(98, "Address already in use"), "Address already in use"),
        (FileNotFoundError(2, "No such file", "a.pem"), "a.pem: No such file"),
        (BaseExceptionGroup("", [cwt.ConfigError("too long")]), "too long"),
        (ZeroDivisionError(), None),
    ],
)
def test_explain(error: BaseException, message: str | None) -> None:
    assert common.explain(error) == message


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cwt.cli.devcert.command", broken)
    assert isinstance(CliRunner().invoke(cli, ["devcert"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (2e12, "2 TB")],
)
def test_size(value: float, text: str) -> None:
    assert common.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(125_000, "1 Mbit/s"), (1.5e9 / 8, "1.5 Gbit/s"), (0, "0 bit/s")]
)
def test_rate(value: float, text: str) -> None:
    assert common.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(2, "2 s"), (0.0125, "12.5 ms"), (0.000321, "321 µs"), (0, "0 µs")]
)
def test_seconds(value: float, text: str) -> None:
    assert common.seconds(value) == text
