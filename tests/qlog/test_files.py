from __future__ import annotations

import os
from pathlib import Path

import pytest

import cwt
from cwt.config import Config
from cwt.errors import ConfigError
from cwt.qlog import QlogFile, read
from tests.qlog.worlds import finish, logs
from tests.sim.world import World


def test_nothing_is_written_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QLOGDIR", raising=False)
    monkeypatch.chdir(tmp_path)
    world = World(1)
    world.establish()
    assert world.client.qlog is None
    finish(world)
    assert not list(tmp_path.iterdir())


def test_the_environment_names_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "made" / "for it"
    monkeypatch.setenv("QLOGDIR", str(directory))
    world = World(1)
    world.establish()
    finish(world)
    client, server = logs(directory)
    assert read(client).vantage_point == "client"
    assert read(server).vantage_point == "server"
    assert client.name == f"{read(client).group}_client.sqlog"
    assert read(server).group == read(client).group
    assert read(client).trace["common_fields"]["reference_time"]["wall_clock_time"].endswith("Z")


def test_the_configuration_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLOGDIR", str(tmp_path / "environment"))
    config = Config(qlog_dir=tmp_path / "configured", qlog_level="core")
    world = World(1, client_config=config)
    world.establish()
    finish(world)
    (client,) = (tmp_path / "configured").iterdir()
    (server,) = (tmp_path / "environment").iterdir()
    assert client.name.endswith("_client.sqlog")
    assert server.name.endswith("_server.sqlog")
    names = {event.name for event in read(client).events}
    assert "quic:connection_started" not in names


def test_a_level_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match='qlog_level must be "core", "base" or "extra"'):
        Config(qlog_level="all")


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        file = QlogFile(tmp_path, "name")
        file.write(text)
        file.write(b"!")
    assert (tmp_path / "name.sqlog").read_bytes() == b"one!"
    assert (tmp_path / "name-2.sqlog").read_bytes() == b"two!"


def test_no_file_is_held_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    files = [QlogFile(tmp_path, f"name{index}") for index in range(20)]
    for file in files:
        file.write(b"x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    world = World(1, client_config=Config(qlog_dir=tmp_path / "file"))
    world.establish()
    world.run_for(5)
    finish(world)
    warnings = [record for record in caplog.records if "qlog" in record.getMessage()]
    assert len(warnings) == 1
    assert world.client.termination is not None


async def test_connect_and_serve_take_the_directory(tmp_path: Path) -> None:
    async def echo(session: cwt.Session) -> None:
        await session.accept_bi()

    serve = cwt.serve(echo, "127.0.0.1", 0, dev=True, qlog_dir=tmp_path / "server")
    async with serve as server:
        url = f"https://127.0.0.1:{server.port}/"
        async with cwt.connect(url, verify=False, qlog_dir=tmp_path / "client") as session:
            stream = await session.open_bi()
            await stream.write(b"x")
    (client,) = (tmp_path / "client").iterdir()
    log = read(client)
    assert log.vantage_point == "client"
    assert any(event.name == "quic:connection_closed" for event in log.events)
    assert len(list((tmp_path / "server").iterdir())) == 1
