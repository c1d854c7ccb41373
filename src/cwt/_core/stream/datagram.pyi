from typing import final

from cwt.config import TransportConfig

class DatagramQueue:
    max_count: int
    max_bytes: int
    dropped: int
    expired: int
    def __init__(self, max_count: int, max_bytes: int) -> None: ...
    def __len__(self) -> int: ...
    def recv(self) -> bytes | None: ...
    def recv_many(self, limit: int | None = None) -> list[bytes]: ...
    def limit(self, max_count: int, max_bytes: int) -> None: ...

@final
class DatagramFlow(DatagramQueue):
    id: int
    sent: int
    received: int
    incoming_max_age: float | None
    outgoing_max_age: float | None
    def __init__(self, max_count: int, max_bytes: int, id: int) -> None: ...
    def put(self, data: bytes) -> None: ...
    def expire(self, before: float) -> None: ...
    def close(self) -> None: ...

@final
class Datagrams:
    our_max_frame_size: int
    peer_max_frame_size: int
    dropped_incoming: int
    expired_incoming: int
    too_large: int
    sent: int
    received: int
    lost: int
    def __init__(self, config: TransportConfig) -> None: ...
