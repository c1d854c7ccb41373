from collections.abc import Callable
from typing import Any, final

from cwt._core.connection import Connection, Host
from cwt._core.tokens import AddressTokens
from cwt._types import Address, Buffer, RecvInfo, SendInfo
from cwt.config import TransportConfig

@final
class Endpoint(Host):
    config: TransportConfig
    tls: Any
    max_connections: int
    max_handshakes: int
    handshaking: set[Connection]
    accepting: bool
    written: int
    on_output: Callable[[], None] | None
    connections: int
    def __init__(
        self,
        config: TransportConfig,
        *,
        random: Callable[[int], bytes],
        tls: Any = None,
        reset_key: bytes | None = None,
        max_connections: int = 100_000,
        max_handshakes: int = 4096,
        max_unvalidated: int = 1024,
        retry: str = "auto",
        tokens: AddressTokens | None = None,
        unix_time: Callable[[], float] | None = None,
    ) -> None: ...
    def reset_token(self, cid: bytes) -> bytes: ...
    def connect(
        self,
        server_name: str,
        remote: Address,
        tls: Any,
        now: float,
        *,
        local: Address | None = None,
        config: TransportConfig | None = None,
    ) -> Connection: ...
    def recv(self, datagram: Buffer, info: RecvInfo, now: float) -> None: ...
    def ready(self) -> list[Connection]: ...
    def send(self, now: float) -> tuple[bytes, SendInfo] | None: ...
    def timeout(self, now: float) -> float | None: ...
    def on_timeout(self, now: float) -> None: ...
    def close_all(self, code: int = 0, reason: str = "", app: bool = True) -> None: ...
