"""A WebTransport client and server over the fake pair."""

from __future__ import annotations

from typing import Any, TypeVar

from cwt import h3
from cwt import webtransport as wt
from cwt.config import Config
from tests.h3.fake import pair

T = TypeVar("T")


class Pair:
    def __init__(
        self, config: Config | None = None, client_config: Config | None = None, **options: int
    ) -> None:
        config = config or Config()
        self.client_quic, self.server_quic = pair(**options)
        self.client = wt.Connection(h3.Connection(self.client_quic, client_config or config))
        self.server = wt.Connection(h3.Connection(self.server_quic, config))
        self.client_events: list[Any] = []
        self.server_events: list[Any] = []

    def run(self) -> None:
        """Poll both sides until nothing happens."""
        for _ in range(100):
            client, server = self.client.poll(), self.server.poll()
            self.client_events += client
            self.server_events += server
            if not client and not server and not self._has_news():
                return
        raise AssertionError("the two sides never come to rest")

    def _has_news(self) -> bool:
        return any(
            quic._readable or quic._writable or quic._datagrams
            for quic in (self.client_quic, self.server_quic)
        )

    def client_saw(self, kind: type[T]) -> list[T]:
        """The client's events of one kind since the last call."""
        found = [event for event in self.client_events if isinstance(event, kind)]
        self.client_events = [e for e in self.client_events if not isinstance(e, kind)]
        return found

    def server_saw(self, kind: type[T]) -> list[T]:
        """The server's events of one kind since the last call."""
        found = [event for event in self.server_events if isinstance(event, kind)]
        self.server_events = [e for e in self.server_events if not isinstance(e, kind)]
        return found


def connected(**options: Any) -> tuple[Pair, int]:
    """A pair with one open session."""
    two = Pair(**options)
    two.run()
    session = two.client.connect("localhost", "/")
    two.run()
    two.server.accept(session)
    two.run()
    assert two.client_saw(wt.SessionAccepted)
    two.client_events.clear()
    two.server_events.clear()
    return two, session
