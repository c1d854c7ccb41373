"""``cwt qlog``."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cwt.cli.app import cli
from tests.qlog.worlds import finish, logs, lossy, transfer


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        cli, ["qlog", *map(str, arguments)], env={"COLUMNS": "200", "TERM": "dumb"}
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("qlog")
    world = lossy(directory)
    transfer(world, 300_000)
    finish(world, reason="[bold]done")
    return logs(directory)


def test_summary(files: tuple[Path, Path]) -> None:
    result = run("summary", *files)
    assert result.exit_code == 0, result.output
    client, server = result.output.split("server.sqlog:")
    assert "QUIC version 1 (RFC 9000), ALPN h3, AES_128_GCM_SHA256" in client
    assert "192.0.2.1:50000 to 192.0.2.2:4433" in client
    assert "complete after 4" in client
    assert "on 1 stream" in client
    assert "reordering threshold" in client
    assert "median" in client
    assert "recovery" in client
    assert "this side closed: application error http_no_error, '[bold]done'" in client
    assert "the peer closed: application error http_no_error, '[bold]done'" in server


def test_check(files: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("check", "--strict", *files)
    assert result.exit_code == 0, result.output
    assert result.output.count("as the drafts define them") == 2
    wrong = tmp_path / "wrong.sqlog"
    wrong.write_text(files[0].read_text().replace('"packet_type":"1RTT"', '"packet_type":"short"'))
    result = run("check", wrong)
    assert result.exit_code == 1
    assert "header.packet_type is 'short', which is none of initial" in result.output
    assert "more" in result.output.splitlines()[-1]


def test_what_is_no_qlog(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    for name in ("summary", "check", "plot"):
        result = run(name, path)
        assert result.exit_code == 1
        assert "line 1 is no JSON" in result.output
    assert run("summary", tmp_path / "absent").exit_code == 2


@pytest.mark.parametrize("end", ["png", "svg"])
def test_plot(files: tuple[Path, Path], tmp_path: Path, end: str) -> None:
    pytest.importorskip("matplotlib")
    for path in files:
        output = tmp_path / f"{path.stem}.{end}"
        result = run("plot", path, "-o", output)
        assert result.exit_code == 0, result.output
        image = output.read_bytes()
        assert len(image) > 10_000
        assert image.startswith(b"\x89PNG" if end == "png" else b"<?xml")
        if end == "svg":
            text = image.decode()
            for label in (
                "congestion window",
                "bytes in flight",
                "packet declared lost",
                "recovery",
            ):
                assert (f"<!-- {label} -->" in text) == (path is files[0] or label in _BOTH)


_BOTH = ("congestion window", "bytes in flight")


def test_plot_beside_the_file(files: tuple[Path, Path]) -> None:
    pytest.importorskip("matplotlib")
    result = run("plot", files[0])
    assert result.output.strip() == str(files[0].with_suffix(".png"))
    assert files[0].with_suffix(".png").exists()
    assert "not supported" in run("plot", files[0], "-o", files[0].with_suffix(".doc")).output


def test_plot_of_next_to_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.sqlog"
    path.write_text(json.dumps({"trace": {}}))
    assert run("plot", path).exit_code == 0
    assert run("summary", path).exit_code == 0


def test_without_matplotlib(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "matplotlib":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    result = run("plot", files[0])
    assert result.exit_code == 1
    assert 'pip install "cwt-quic[plot]"' in result.output
