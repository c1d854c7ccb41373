"""Random, mutated and well-formed hostile data, all from one seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from cwt._core.wire import varint

INTERESTING = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 20, 21, 63, 64, 255, 256, 1199, 1200, 16383, 16384)
INTERESTING += ((1 << 30) - 1, 1 << 30, (1 << 32) - 1, (1 << 60), (1 << 60) + 1, (1 << 62) - 1)


def number(rng: Random) -> int:
    """Something a varint holds, mostly small or at an edge."""
    kind = rng.random()
    if kind < 0.5:
        return rng.randrange(24)
    if kind < 0.8:
        return rng.choice(INTERESTING)
    return rng.getrandbits(rng.choice((6, 14, 30, 62)))


def integer(rng: Random, value: int | None = None) -> bytes:
    """A varint, now and then not in its shortest form."""
    value = number(rng) if value is None else value
    if rng.random() < 0.05:
        return (value | 3 << 62).to_bytes(8, "big")
    return varint.encode(value)


def blob(rng: Random, most: int = 64) -> bytes:
    return rng.randbytes(rng.randrange(most))


def with_length(rng: Random, data: bytes) -> bytes:
    """*data* behind its length, which is sometimes wrong."""
    return integer(rng, None if rng.random() < 0.05 else len(data)) + data


def mutated(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """*data* with one to five changes of the usual kinds."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(result) + 1)
        match rng.randrange(9):
            case 0 | 1 if result:
                result[at % len(result)] ^= 1 << rng.randrange(8)
            case 2 if result:
                result[at % len(result)] = rng.choice((0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF))
            case 3:
                del result[at : at + rng.randint(1, 32)]
            case 4:
                result[at:at] = blob(rng, 16)
            case 5:
                start = rng.randrange(len(result) + 1)
                result[at:at] = result[start : start + rng.randint(1, 64)]
            case 6:
                value = integer(rng)
                result[at : at + len(value)] = value
            case 7 if others:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                result[at:] = other[start:]
            case 8:
                del result[at:]
    return bytes(result[:65535])


def mixed(
    rng: Random, corpus: Sequence[bytes], fresh: Callable[[Random], bytes] | None = None
) -> bytes:
    """One input: random bytes, a mutated sample, or something made by *fresh*."""
    kind = rng.random()
    if kind < 0.1 or not (corpus or fresh):
        return blob(rng, 300)
    if fresh is not None and (kind < 0.6 or not corpus):
        made = fresh(rng)
        return mutated(rng, made, corpus) if rng.random() < 0.3 else made
    return mutated(rng, rng.choice(corpus), corpus)


# -- frames (RFC 9000 Section 19) ---------------------------------------------------------------


def ack_frame(rng: Random) -> bytes:
    count = rng.choice((0, 0, 1, 2, 10, 60))
    body = integer(rng, rng.choice((number(rng), rng.randrange(40)))) + integer(rng)
    body += integer(rng, count) + integer(rng, rng.randrange(4))
    body += b"".join(integer(rng, rng.randrange(3)) for _ in range(2 * count))
    if rng.random() < 0.2:
        return b"\x03" + body + integer(rng) + integer(rng) + integer(rng)
    return b"\x02" + body


def stream_frame(rng: Random) -> bytes:
    flags = rng.randrange(8)
    out = bytes([0x08 | flags]) + integer(rng)
    if flags & 4:
        out += integer(rng, rng.choice((number(rng), rng.randrange(5000))))
    data = blob(rng, 200)
    return out + (with_length(rng, data) if flags & 2 else data)


def new_connection_id_frame(rng: Random) -> bytes:
    cid = rng.randbytes(rng.choice((0, 4, 8, 8, 8, 20, 21)))
    return b"\x18" + integer(rng) + integer(rng) + bytes([len(cid)]) + cid + rng.randbytes(16)


def close_frame(rng: Random) -> bytes:
    if rng.random() < 0.5:
        return b"\x1c" + integer(rng) + integer(rng) + with_length(rng, blob(rng))
    return b"\x1d" + integer(rng) + with_length(rng, blob(rng))


def plain_frame(rng: Random) -> bytes:
    """One of the frames that are numbers only."""
    kind = rng.choice((0x00, 0x01, 0x1E, 0x1F) if rng.random() < 0.2 else tuple(FIELDS))
    return varint.encode(kind) + b"".join(integer(rng) for _ in range(FIELDS.get(kind, 0)))


FIELDS = {0x04: 3, 0x05: 2, 0x10: 1, 0x11: 2, 0x12: 1, 0x13: 1, 0x14: 1, 0x15: 2, 0x16: 1}
FIELDS |= {0x17: 1, 0x19: 1, 0x24: 4, 0xAF: 4}


def frame(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.25:
        return stream_frame(rng)
    if kind < 0.4:
        return ack_frame(rng)
    if kind < 0.7:
        return plain_frame(rng)
    if kind < 0.78:
        return b"\x06" + integer(rng) + with_length(rng, blob(rng, 100))
    if kind < 0.84:
        return new_connection_id_frame(rng)
    if kind < 0.88:
        return rng.choice((b"\x1a", b"\x1b")) + rng.randbytes(8)
    if kind < 0.92:
        return rng.choice((b"\x30" + blob(rng), b"\x31" + with_length(rng, blob(rng))))
    if kind < 0.95:
        return b"\x07" + with_length(rng, blob(rng))
    if kind < 0.97:
        return close_frame(rng)
    return integer(rng) + blob(rng)


def payload(rng: Random) -> bytes:
    """What stands in a packet: a few frames."""
    return b"".join(frame(rng) for _ in range(rng.randint(1, 6)))[:1100] or b"\0"


def allowed_frame(rng: Random, from_client: bool) -> bytes:
    """A frame that the other side would mostly accept, so that the connection lives on."""
    theirs = 4 * rng.randrange(6) + rng.choice((0, 2)) + (not from_client)
    ours_bidi = 4 * rng.randrange(2) + from_client
    ours_uni = ours_bidi + 2
    kind = rng.random()
    if kind < 0.45:
        flags = 0x06 | (rng.random() < 0.05)
        offset = rng.choice((0, 0, rng.randrange(20), rng.randrange(6000), rng.randrange(200_000)))
        head = bytes([0x08 | flags]) + varint.encode(
            rng.choice((theirs, theirs, theirs, ours_bidi))
        )
        data = rng.randbytes(rng.choice((0, 1, 5, 100, 300)))
        return head + varint.encode(offset) + varint.encode(len(data)) + data
    if kind < 0.6:
        largest = rng.randrange(5)
        return b"\x02" + bytes([largest, rng.randrange(60), 0, rng.randrange(largest + 1)])
    if kind < 0.65:
        return b"\x04" + varint.encode(theirs) + integer(rng) + varint.encode(rng.randrange(8000))
    if kind < 0.7:
        return (
            b"\x05" + varint.encode(rng.choice((ours_bidi, ours_uni, theirs & ~2))) + integer(rng)
        )
    if kind < 0.8:
        stream = rng.choice((ours_bidi, ours_uni))
        return rng.choice((b"\x10", b"\x11" + varint.encode(stream))) + integer(rng)
    if kind < 0.85:
        return rng.choice((b"\x12", b"\x13")) + varint.encode(rng.randrange(300))
    if kind < 0.9:
        return rng.choice((b"\x30", b"\x31\x04")) + rng.randbytes(4) + b"\x01"
    if kind < 0.95:
        return rng.choice((b"\x1a", b"\x1b")) + rng.randbytes(8)
    return rng.choice((b"\x01", b"\x00", b"\x14" + integer(rng), b"\x15" + bytes([theirs, 9])))


def allowed_payload(rng: Random, from_client: bool) -> bytes:
    return b"".join(allowed_frame(rng, from_client) for _ in range(rng.randint(1, 4)))[:1100]


# -- HTTP/3, capsules, transport parameters -------------------------------------------------------

FRAME_TYPES = (0x0, 0x1, 0x3, 0x4, 0x5, 0x7, 0xD, 0x41, 0x21, 0x2, 0x6, 0xF0700, 0xF0701)
SETTINGS = (0x1, 0x6, 0x7, 0x8, 0x33, 0x2B603742, 0xC671706A, 0x14E9CD29, 0x2C7CF000, 0x2, 0x21)
STREAM_TYPES = (0x0, 0x1, 0x2, 0x3, 0x54, 0x21)
CAPSULES = (0x0, 0x2843, 0x78AE, 0x190B4D3D, 0x190B4D3E, 0x190B4D42, 0x21)


def http_frame(rng: Random) -> bytes:
    kind = rng.choice(FRAME_TYPES)
    if kind == 0x4:
        body = b"".join(
            integer(rng, rng.choice(SETTINGS)) + integer(rng) for _ in range(rng.randrange(8))
        )
    elif kind == 0x1:
        body = field_section(rng)
    elif kind == 0x0 and rng.random() < 0.5:
        body = capsule(rng)
    elif kind in (0x3, 0x7, 0xD):
        body = integer(rng)
    else:
        body = blob(rng)
    return integer(rng, kind) + with_length(rng, body)


def capsule(rng: Random) -> bytes:
    return integer(rng, rng.choice(CAPSULES)) + with_length(rng, blob(rng))


def http_stream(rng: Random) -> bytes:
    """The beginning of a stream that the peer opens, of either kind."""
    out = b""
    if rng.random() < 0.7:
        out = integer(rng, rng.choice(STREAM_TYPES))
    return out + b"".join(http_frame(rng) for _ in range(rng.randint(1, 4)))


NAMES = (b":method", b":scheme", b":authority", b":path", b":protocol", b":status", b"x", b"cookie")
VALUES = (b"CONNECT", b"GET", b"https", b"localhost", b"/", b"webtransport", b"200", b"", b"\0\n")


def prefixed(rng: Random, first: int, bits: int, value: int) -> bytes:
    """An integer with a prefix of *bits* bits in a byte that begins with *first* (RFC 7541 Section 5.1)."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytearray([first | limit])
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_section(rng: Random) -> bytes:
    """An encoded field section (RFC 9204 Section 4.5), often with references to nothing."""
    dynamic = rng.random() < 0.15
    out = prefixed(rng, 0, 8, number(rng) if dynamic else 0) + prefixed(
        rng, rng.choice((0, 0x80)) if dynamic else 0, 7, rng.randrange(4) if dynamic else 0
    )
    for _ in range(rng.choice((0, 1, 3, 5, 8, 200 if rng.random() < 0.02 else 2))):
        kind = rng.random()
        if kind < 0.4:
            out += prefixed(rng, 0xC0, 6, rng.randrange(99))
        elif kind < 0.5:
            out += prefixed(rng, 0x80, 6, number(rng))
        elif kind < 0.7:
            value = rng.choice(VALUES)
            out += (
                prefixed(rng, 0x50, 4, rng.randrange(99)) + prefixed(rng, 0, 7, len(value)) + value
            )
        else:
            name, value = rng.choice(NAMES), rng.choice(VALUES) + blob(rng, 8)
            out += prefixed(rng, 0x20, 3, len(name)) + name
            out += prefixed(rng, rng.choice((0, 0, 0x80)), 7, len(value)) + value
    return out


def transport_parameters(rng: Random) -> bytes:
    out = b""
    for _ in range(rng.randrange(12)):
        kind = rng.randrange(0x21) if rng.random() < 0.9 else number(rng)
        value = rng.choice((integer(rng), integer(rng), rng.randbytes(16), blob(rng), b""))
        out += integer(rng, kind) + with_length(rng, value)
    return out


def header(rng: Random) -> bytes:
    """A packet header, mostly long."""
    if rng.random() < 0.2:
        return bytes([0x40 | rng.getrandbits(6)]) + rng.randbytes(rng.randrange(40))
    version = rng.choice((1, 1, 1, 0x6B3343CF, 0, 0x0A0A0A0A, rng.getrandbits(32)))
    out = bytes([0xC0 | rng.getrandbits(6)]) + version.to_bytes(4, "big")
    for _ in range(2):
        length = rng.choice((0, 4, 8, 8, 20, 21, 255))
        out += bytes([length]) + rng.randbytes(length if rng.random() < 0.95 else length // 2)
    out += with_length(rng, blob(rng, 40)) if rng.random() < 0.8 else b""
    return out + with_length(rng, blob(rng, 100))
