from collections.abc import Callable, Iterable
from typing import Any, final

from cwt._core.qlog.trace import Trace
from cwt._core.recovery.sent import RecordHandler
from cwt._core.stream.datagram import DatagramFlow
from cwt._core.wire.params import TransportParameters
from cwt._types import Address, Buffer, BytesWriter, RecvInfo, SendInfo, Stats
from cwt.config import TransportConfig

class Host:
    random: Callable[[int], bytes]
    qlog: Callable[[TransportConfig, bytes, bool], dict[str, Any] | None] | None
    def __init__(self, random: Callable[[int], bytes]) -> None: ...

@final
class Connection(RecordHandler):
    is_client: bool
    version: int
    is_established: bool
    peer_max_datagram_frame_size: int
    user_data: Any
    application_proto: bytes | None
    server_name: str | None
    peer_cert_chain: list[bytes]
    peer_cert: bytes | None
    peer_public_key: bytes | None
    tls: Any
    can_open_streams: bool
    is_confirmed: bool
    is_closed: bool
    is_draining: bool
    is_resumed: bool
    is_in_early_data: bool
    early_data_accepted: bool | None
    early_data_reason: str | None
    early_session_data: bytes
    termination: Exception | None
    peer_error: Exception | None
    local_error: Exception | None
    local_address: Address
    remote_address: Address
    source_id: bytes
    destination_id: bytes
    peer_transport_parameters: TransportParameters | None
    key_updates: int
    def __init__(
        self,
        is_client: bool,
        make_tls: Callable[[bytes], Any],
        config: TransportConfig,
        host: Host,
        random: Callable[[int], bytes],
        local: Address | None,
        remote: Address,
        source_cid: bytes,
        destination_cid: bytes,
        *,
        original_destination: bytes | None = None,
        retry_source: bytes | None = None,
        reset_token: bytes | None = None,
        address_validated: bool = False,
        version: int = 0,
    ) -> None: ...
    qlog: Trace | None
    def set_qlog(
        self,
        writer: BytesWriter | Callable[[bytes], object] | None,
        title: str | None = None,
        description: str | None = None,
        level: str = "base",
        *,
        wall_clock: str | None = None,
    ) -> None: ...
    def stats(self) -> Stats: ...
    def recv(self, datagram: Buffer, info: RecvInfo, now: float) -> int: ...
    def send(self, now: float) -> tuple[bytes, SendInfo] | None: ...
    def send_batch(self, now: float) -> tuple[bytes, int, SendInfo] | None: ...
    def timeout(self, now: float) -> float | None: ...
    def on_timeout(self, now: float) -> None: ...
    def close(self, code: int = 0, reason: str = "", app: bool = True) -> None: ...
    def open_stream(self, bidirectional: bool = True) -> int | None: ...
    def streams_available(self, bidirectional: bool = True) -> int: ...
    def stream_send(self, stream_id: int, data: Buffer, fin: bool = False) -> int: ...
    def stream_recv(self, stream_id: int, max_length: int = 65536) -> tuple[bytes, bool] | None: ...
    def stream_peek(self, stream_id: int, max_length: int) -> bytes: ...
    def stream_recv_into(self, stream_id: int, buffer: Buffer) -> tuple[int, bool] | None: ...
    def stream_shutdown(
        self, stream_id: int, direction: int, code: int = 0, *, reliable_size: int = 0
    ) -> None: ...
    def stream_capacity(self, stream_id: int) -> int: ...
    def stream_acked(self, stream_id: int) -> bool: ...
    def stream_early(self, stream_id: int) -> bool: ...
    def remember(self, data: bytes) -> None: ...
    def stream_priority(
        self, stream_id: int, urgency: int = 3, incremental: bool = True
    ) -> None: ...
    def readable(self) -> list[int]: ...
    def writable(self) -> list[int]: ...
    dgram_writable: bool
    def dgram_send(self, data: Buffer, flow: DatagramFlow | None = None) -> bool: ...
    def dgram_send_many(
        self, datagrams: Iterable[Buffer], flow: DatagramFlow | None = None
    ) -> int: ...
    def dgram_recv(self) -> bytes | None: ...
    def dgram_flow(self, id: int) -> DatagramFlow: ...
    def dgram_ready(self) -> list[DatagramFlow]: ...
    def dgram_max_writable_len(self, flow: DatagramFlow | None = None) -> int: ...
    def initiate_key_update(self) -> bool: ...
    def ping(self) -> None: ...
    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes: ...
