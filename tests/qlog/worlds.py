"""Connections whose qlogs the tests look at, made in the simulator."""

from __future__ import annotations

from pathlib import Path

from cwt.config import Config
from cwt.testing import Delay, Drop, Node
from tests.sim.nodes import Bottleneck
from tests.sim.world import World

__all__ = ["finish", "logs", "lossy", "traced", "transfer"]


def traced(
    directory: Path,
    *,
    up: list[Node] | None = None,
    down: list[Node] | None = None,
    level: str = "extra",
) -> World:
    """A world whose connections write into *directory*."""
    config = Config(qlog_dir=directory, qlog_level=level, mtu_discovery_limit=1452)
    return World(
        "qlog",
        up=up if up is not None else [Delay(0.02)],
        down=down if down is not None else [Delay(0.02)],
        client_config=config,
        server_config=config,
    )


def lossy(directory: Path, level: str = "extra") -> World:
    return traced(
        directory,
        up=[Delay(0.02), Drop(0.01), Bottleneck(1e6, 60_000)],
        down=[Delay(0.02)],
        level=level,
    )


def transfer(world: World, total: int = 500_000) -> None:
    """Send *total* bytes to the server, which reads them."""
    world.establish()
    stream = world.client.open_stream()
    assert stream is not None
    sent = got = 0
    while got < total:
        sent += world.client.stream_send(stream, bytes(min(65536, total - sent)), sent == total)
        world.run_for(0.01)
        for readable in world.server.readable():
            while (read := world.server.stream_recv(readable)) and read[0]:
                got += len(read[0])
        assert world.now < 60


def finish(world: World, code: int = 0x100, reason: str = "done") -> None:
    world.client.close(code, reason)
    world.run_for(5)
    assert world.client.is_closed
    assert world.server.is_closed


def logs(directory: Path) -> tuple[Path, Path]:
    """The client's and the server's file."""
    (client,) = directory.glob("*_client.sqlog")
    (server,) = directory.glob("*_server.sqlog")
    return client, server
