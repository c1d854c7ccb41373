"""Two QUIC connections in memory, with stream limits, flow control and short writes.

Delivery is immediate.  ``window`` is the flow control of each stream, given back as the reader reads;
``limit`` the streams of each kind a peer may open in total; ``max_write`` the most one write takes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cwt._core.stream.datagram import DatagramFlow
from cwt._core.wire import varint
from cwt.errors import DatagramTooLarge, StreamReset, StreamStopped


@dataclass
class Half:
    """One direction of a stream; it lives at the receiver."""

    data: bytearray = field(default_factory=bytearray)
    fin: bool = False
    fin_read: bool = False
    reset: int | None = None
    reset_read: bool = False
    stopped: int | None = None
    total: int = 0
    short: bool = False
    """The last write was short: the writer wants to know when there is room."""

    @property
    def receiver_done(self) -> bool:
        return self.fin_read or self.reset_read or self.stopped is not None


class FakeQuic:
    def __init__(
        self,
        is_client: bool,
        *,
        window: int = 1 << 20,
        limit: int = 1000,
        max_write: int = 1 << 30,
        max_datagram: int = 1200,
    ) -> None:
        self.is_client = is_client
        self.window = window
        self.limit = limit
        self.max_write = max_write
        self.max_datagram = max_datagram
        self.can_open_streams = True
        self.is_closed = False
        self.source_id = b"\x12\x34\x56\x78"
        self.closed_with: tuple[int, str] | None = None
        self.peer: FakeQuic = self
        self.incoming: dict[int, Half] = {}
        self.opened = [0, 0]  # uni, bidi
        self.own_limits: list[int] | None = None
        self.mine: set[int] = set()
        self.priorities: dict[int, tuple[int, bool]] = {}
        self.exports: list[tuple[bytes, bytes, int]] = []
        self.shutdowns: list[tuple[int, int, int]] = []
        self._readable: dict[int, None] = {}
        self._writable: dict[int, None] = {}
        self._datagrams: deque[bytes] = deque()
        self.flows: dict[int, DatagramFlow] = {}
        self._ready_flows: list[DatagramFlow] = []

    # -- the verbs ---------------------------------------------------------------------------

    def open_stream(self, bidirectional: bool) -> int | None:
        count = self.opened[bidirectional]
        if count >= self.peer.limit:
            return None
        self.opened[bidirectional] += 1
        stream_id = count * 4 + (not self.is_client) + (0 if bidirectional else 2)
        self.peer.incoming[stream_id] = Half()
        if bidirectional:
            self.incoming[stream_id] = Half()
        self.mine.add(stream_id)
        return stream_id

    def _sending(self, stream_id: int) -> Half:
        half = self.peer.incoming.get(stream_id)
        if half is None or self._is_receive_only(stream_id):
            raise ValueError(f"stream {stream_id} cannot be written")
        return half

    def _is_receive_only(self, stream_id: int) -> bool:
        return bool(stream_id & 2) and stream_id not in self.mine

    def stream_send(self, stream_id: int, data: bytes, fin: bool = False) -> int:
        half = self._sending(stream_id)
        if half.stopped is not None:
            raise StreamStopped(half.stopped)
        if half.reset is not None:
            raise ValueError(f"stream {stream_id} was reset")
        if half.fin:
            if data or not fin:
                raise ValueError(f"stream {stream_id} was finished")
            return 0
        data = bytes(data)
        taken = min(len(data), self.max_write, self.stream_capacity(stream_id))
        half.data += data[:taken]
        half.total += taken
        half.short = taken < len(data)
        if taken == len(data) and fin:
            half.fin = True
        if taken or half.fin:
            self.peer._readable[stream_id] = None
        if half.short and self.stream_capacity(stream_id) > 0:
            self._writable[stream_id] = None  # max_write was the limit
        return taken

    def stream_capacity(self, stream_id: int) -> int:
        half = self._sending(stream_id)
        return max(self.peer.window - len(half.data), 0)

    def stream_recv(self, stream_id: int, max_length: int = 65536) -> tuple[bytes, bool] | None:
        half = self.incoming.get(stream_id)
        if half is None or half.receiver_done:
            return None
        if half.reset is not None and not half.data:
            half.reset_read = True
            raise StreamReset(half.reset)
        if not half.data and not half.fin:
            return None
        data = bytes(half.data[:max_length])
        del half.data[:max_length]
        half.fin_read = half.fin and not half.data
        if half.short and data:
            half.short = False
            self.peer._writable[stream_id] = None
        return data, half.fin_read

    def stream_peek(self, stream_id: int, max_length: int) -> bytes:
        half = self.incoming.get(stream_id)
        if half is None or half.receiver_done:
            return b""
        return bytes(half.data[:max_length])

    def stream_recv_into(self, stream_id: int, buffer: bytearray) -> tuple[int, bool] | None:
        got = self.stream_recv(stream_id, len(buffer))
        if got is None:
            return None
        buffer[: len(got[0])] = got[0]
        return len(got[0]), got[1]

    def stream_shutdown(
        self, stream_id: int, direction: int, code: int, *, reliable_size: int = 0
    ) -> None:
        self.shutdowns.append((stream_id, direction, code))
        if direction == 0:
            half = self.incoming.get(stream_id)
            if half is not None and not half.receiver_done:
                half.stopped = code
                half.data.clear()
                if not half.fin and half.reset is None:
                    self.peer._writable[stream_id] = None
            return
        half = self.peer.incoming.get(stream_id)
        if half is not None and half.reset is None and not half.fin_read:
            half.reset = code
            half.fin = False
            del half.data[max(reliable_size - (half.total - len(half.data)), 0) :]
            if half.stopped is None:
                self.peer._readable[stream_id] = None

    def stream_acked(self, stream_id: int) -> bool:
        half = self.peer.incoming.get(stream_id)
        return half is None or not half.data

    def stream_priority(self, stream_id: int, urgency: int = 3, incremental: bool = True) -> None:
        self.priorities[stream_id] = (urgency, incremental)

    def readable(self) -> list[int]:
        out = list(self._readable)
        self._readable.clear()
        return out

    def writable(self) -> list[int]:
        out = list(self._writable)
        self._writable.clear()
        return out

    def dgram_send(self, data: bytes, flow: DatagramFlow | None = None) -> bool:
        if len(data) > self.dgram_max_writable_len(flow):
            raise DatagramTooLarge(len(data), self.dgram_max_writable_len(flow))
        self.peer._take_datagram((b"" if flow is None else varint.encode(flow.id)) + data)
        return True

    def _take_datagram(self, data: bytes) -> None:
        decoded = varint.decode(data)
        flow = None if decoded is None else self.flows.get(decoded[0])
        if decoded is None or flow is None:
            self._datagrams.append(data)
        else:
            flow.put(data[decoded[1] :])
            if flow not in self._ready_flows:
                self._ready_flows.append(flow)

    def dgram_recv(self) -> bytes | None:
        return self._datagrams.popleft() if self._datagrams else None

    def dgram_flow(self, id: int) -> DatagramFlow:
        self.flows[id] = DatagramFlow(1000, 1 << 20, id)
        return self.flows[id]

    def dgram_ready(self) -> list[DatagramFlow]:
        ready, self._ready_flows = self._ready_flows, []
        return ready

    def dgram_max_writable_len(self, flow: DatagramFlow | None = None) -> int:
        return max(self.peer.max_datagram - (0 if flow is None else varint.length(flow.id)), 0)

    def close(self, code: int, reason: str = "", app: bool = True) -> None:
        if self.closed_with is None:
            self.closed_with = (code, reason)
        self.is_closed = True

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        self.exports.append((label, context, length))
        return bytes(length)

    # -- for tests ---------------------------------------------------------------------------

    def sent_reset(self, stream_id: int) -> int | None:
        """The code of our RESET_STREAM."""
        half = self.peer.incoming.get(stream_id)
        return None if half is None else half.reset

    def sent_stop(self, stream_id: int) -> int | None:
        """The code of our STOP_SENDING."""
        half = self.incoming.get(stream_id)
        return None if half is None else half.stopped

    def unread(self, stream_id: int) -> bytes:
        """What the application below us has not taken from the stream."""
        return bytes(self.incoming[stream_id].data)

    def ended(self, stream_id: int) -> bool:
        """Whether the peer gave the end of the stream."""
        return self.incoming[stream_id].fin

    def raw_open(self, data: bytes = b"", fin: bool = False, *, bidirectional: bool = False) -> int:
        """Open a stream and write on it, past any HTTP/3."""
        stream_id = self.open_stream(bidirectional)
        assert stream_id is not None
        assert self.stream_send(stream_id, data, fin) == len(data)
        return stream_id


def pair(**options: int) -> tuple[FakeQuic, FakeQuic]:
    """``(client, server)``."""
    client, server = FakeQuic(True, **options), FakeQuic(False, **options)
    client.peer, server.peer = server, client
    return client, server
