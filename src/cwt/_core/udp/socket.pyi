import socket
from types import TracebackType
from typing import NamedTuple, Self, final

from cwt._types import Address, Buffer

class Datagram(NamedTuple):
    data: bytes
    source: Address
    destination: Address
    ecn: int

class Counters(NamedTuple):
    datagrams_received: int
    bytes_received: int
    receive_calls: int
    receive_errors: int
    datagrams_sent: int
    bytes_sent: int
    send_calls: int
    send_errors: int
    send_blocked: int
    last_error: int

@final
class UdpSocket:
    gso: bool
    gro: bool
    mmsg: bool
    local_address: Address
    sent: int
    @classmethod
    def bind(
        cls,
        host: str = "::",
        port: int = 0,
        reuse_port: bool = False,
        *,
        gso: bool = True,
        gro: bool = True,
        mmsg: bool = True,
    ) -> Self: ...
    @property
    def receive_buffer(self) -> int: ...
    @property
    def send_buffer(self) -> int: ...
    @property
    def counters(self) -> Counters: ...
    def recv_all(self) -> list[Datagram]: ...
    def sendto(
        self,
        data: Buffer,
        to: tuple[str, int] | tuple[str, int, int, int],
        *,
        segment_size: int = 0,
        from_: Address | None = None,
        ecn: int = 0,
    ) -> bool: ...
    def plain(self) -> socket.socket: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
