from collections.abc import Iterable
from enum import IntFlag

from cwt._types import Buffer

class PacketType(IntFlag):
    INITIAL = 0
    ZERO_RTT = 1
    HANDSHAKE = 2
    RETRY = 3
    VERSION_NEGOTIATION = 4
    ONE_RTT = 5

def parse(
    data: Buffer, short_cid_length: int
) -> tuple[PacketType, int, bytes, bytes, bytes, int, int] | None: ...
def decode_packet_number(truncated: int, length: int, expected: int) -> int: ...
def packet_number_length(number: int, largest_acked: int) -> int: ...
def version_negotiation(
    dcid: bytes, scid: bytes, versions: Iterable[int], first_byte: int
) -> bytes: ...
def retry_without_tag(version: int, dcid: bytes, scid: bytes, token: bytes) -> bytes: ...
