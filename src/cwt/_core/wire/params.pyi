from typing import final

from cwt._types import Address

ABSENT: int

def encode_preferred_address(
    v4: Address | None, v6: Address | None, cid: bytes, token: bytes
) -> bytes: ...
def parse_preferred_address(
    value: bytes,
) -> tuple[tuple[str, int] | None, tuple[str, int] | None, bytes, bytes]: ...

@final
class TransportParameters:
    original_destination_connection_id: bytes | None
    max_idle_timeout: int
    stateless_reset_token: bytes | None
    max_udp_payload_size: int
    initial_max_data: int
    initial_max_stream_data_bidi_local: int
    initial_max_stream_data_bidi_remote: int
    initial_max_stream_data_uni: int
    initial_max_streams_bidi: int
    initial_max_streams_uni: int
    ack_delay_exponent: int
    max_ack_delay: int
    disable_active_migration: bool
    preferred_address: bytes | None
    active_connection_id_limit: int
    initial_source_connection_id: bytes | None
    retry_source_connection_id: bytes | None
    max_datagram_frame_size: int
    min_ack_delay: int
    early_min_ack_delay: int
    grease_quic_bit: bool
    reset_stream_at: bool
    early_reset_stream_at: bool
    version_information: tuple[int, ...] | None
    unknown: dict[int, bytes] | None
    def __init__(self, **values: object) -> None: ...
    def encode(self) -> bytes: ...
    def remembered(self) -> bytes: ...
    def lowered(self, before: TransportParameters) -> str | None: ...
    @staticmethod
    def parse(data: bytes, from_client: bool) -> TransportParameters: ...
