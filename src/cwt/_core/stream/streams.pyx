"""Streams: identifiers, limits, scheduling (RFC 9000 Sections 2, 4 and 19.4 to 19.14)."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.stream.flow cimport (
    credit_blocked, credit_left, credit_raise, window_is_low, window_open, window_raise,
)
from cwt._core.stream.recv cimport ReceivePart
from cwt._core.stream.schedule cimport (
    FREE, FRESH, Link, UNLISTED, URGENCIES, schedule_clear, schedule_first, schedule_put,
    schedule_remove, schedule_spent,
)
from cwt._core.stream.send cimport SendPart
from cwt._core.wire.frame cimport (
    DATA_BLOCKED, DataFrame, FrameRecord, MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS_BIDI,
    MAX_STREAMS_UNI, PacketBuilder, RESET_STREAM, RESET_STREAM_AT, STOP_SENDING, STREAM,
    STREAM_DATA_BLOCKED, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI, StreamControl, can_record, put_one,
    put_reset_stream, put_two, record,
)
from cwt._core.wire.ranges cimport RangeSet

from cwt.errors import StreamReset, StreamStopped, TransportError, TransportErrorCode

cdef uint64_t UNKNOWN = <uint64_t>-1
cdef uint64_t MAX_STREAMS = <uint64_t>1 << 60


@cython.final
@cython.no_gc
cdef class SendGroup:
    """Streams that are sent in an order of their own, and have one turn among the others of a connection.

    ``Connection.send_group`` makes them.
    """

    def __cinit__(self):
        self.group.link.owner = <PyObject*>self
        self.group.link.place = UNLISTED
        self.group.link.urgency = 3
        self.group.link.incremental = True
        self.group.link.is_group = True

    def __dealloc__(self):
        PyMem_Free(self.group.members)

    def __len__(self):
        """How many streams belong to it."""
        return self.joined

    @property
    def urgency(self):
        """Of its streams (RFC 9218 Section 4.1)."""
        return self.group.link.urgency

    cdef int join(self) except -1:
        # Room for one more, so that none is wanting when it has data.
        cdef Link** members
        cdef uint32_t room
        if self.joined == self.group.room:
            room = max(2 * self.group.room, <uint32_t>8)
            members = <Link**>PyMem_Realloc(self.group.members, room * sizeof(Link*))
            if members == NULL:
                raise MemoryError
            self.group.members = members
            self.group.room = room
        self.joined += 1
        return 0


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Stream:
    """One stream: its two parts, and the lists and queues it is in."""

    def __cinit__(self):
        self.link.owner = <PyObject*>self
        self.link.place = UNLISTED
        self.link.urgency = 3
        self.link.incremental = True
        self.link.is_group = False
        self.link.group = NULL


@cython.final
cdef class Streams:
    """All streams of a connection, its flow control and its stream limits.

    Bit 0 of a stream ID is the initiator (1: server), bit 1 the direction (1: unidirectional).
    """

    def __init__(self, bint is_client, config):
        cdef int uni
        self.is_client = is_client
        self.by_id = {}
        self.control = []
        self.readable_list = []
        self.writable_list = []
        window_open(&self.window, config.initial_max_data, config.max_connection_window)
        self.stream_window = config.initial_max_stream_data
        self.max_stream_window = config.max_stream_window
        self.send_buffer = config.send_buffer
        self.allowance[0] = config.initial_max_streams_bidi
        self.allowance[1] = config.initial_max_streams_uni
        for uni in range(2):
            self.our_limit[uni] = self.allowance[uni]

    def __dealloc__(self):
        schedule_clear(&self.schedule)

    cdef int set_peer_limits(self, object params) except -1:
        cdef Stream stream
        cdef uint64_t window
        self.credit.limit = max(self.credit.limit, <uint64_t>params.initial_max_data)
        self.peer_window_bidi_local = params.initial_max_stream_data_bidi_local
        self.peer_window_bidi_remote = params.initial_max_stream_data_bidi_remote
        self.peer_window_uni = params.initial_max_stream_data_uni
        self.peer_limit[0] = max(self.peer_limit[0], <uint64_t>params.initial_max_streams_bidi)
        self.peer_limit[1] = max(self.peer_limit[1], <uint64_t>params.initial_max_streams_uni)
        self.peer_takes_reset_at = params.reset_stream_at or params.early_reset_stream_at
        for stream in self.by_id.values():
            if stream.send is not None:
                window = self.peer_window_uni if stream.id & 2 else self.peer_window_bidi_remote
                credit_raise(&stream.send.credit, window)
        if self.held:
            self._let_go()
        return 0

    # 0-RTT (RFC 9001 Section 4.6)

    cdef int on_early_refused(self) except -1:
        # All streams are ours, and nothing of them has arrived: each starts again when the real limits come.
        cdef Stream stream
        cdef int uni
        self.credit.limit = self.credit.used = self.credit.blocked_at = 0
        self.peer_window_bidi_local = self.peer_window_bidi_remote = self.peer_window_uni = 0
        for uni in range(2):
            self.peer_limit[uni] = self.blocked_at[uni] = 0
            self.blocked_pending[uni] = False
        self.control.clear()
        for stream in self.by_id.values():
            stream.control_queued = False
            schedule_remove(&self.schedule, &stream.link)
            stream.send.rewind()
            if stream.recv is not None and stream.recv.stopped:
                stream.recv.stop_pending = True
            stream.held = True
            self.held += 1
        return 0

    cdef int _let_go(self) except -1:
        # Streams that the peer has room for now.
        cdef Stream stream
        cdef int uni
        for stream in self.by_id.values():
            uni = 1 if stream.id & 2 else 0
            if not stream.held:
                continue
            if stream.id >> 2 >= self.peer_limit[uni]:
                self.blocked_pending[uni] = True
                continue
            stream.held = False
            self.held -= 1
            if stream.send.reset_pending or stream.recv is not None and stream.recv.stop_pending:
                self._queue_control(stream)
            if stream.send.has_data():
                self._queue(stream)
        return 0

    cdef int mark_early(self, uint64_t stream_id) except -1:
        cdef Stream stream = self.find(stream_id)
        if stream is not None:
            stream.early = True
        return 0

    cdef bint is_early(self, uint64_t stream_id) except -1:
        cdef Stream stream = self._known(stream_id)
        return stream is not None and stream.early

    # Finding and creating

    cdef Stream find(self, uint64_t stream_id):
        cdef object found
        if self.latest is not None and self.latest.id == stream_id:
            return self.latest
        found = self.by_id.get(stream_id)
        if found is None:
            return None
        self.latest = <Stream>found
        return self.latest

    cdef Stream _create(self, uint64_t stream_id):
        cdef Stream stream = Stream.__new__(Stream)
        cdef bint local = <bint>(stream_id & 1) != self.is_client, uni = stream_id & 2
        stream.id = stream_id
        if local or not uni:
            stream.send = SendPart(
                self.peer_window_uni if uni
                else self.peer_window_bidi_remote if local else self.peer_window_bidi_local
            )
        if not local or not uni:
            stream.recv = ReceivePart(self.stream_window, self.max_stream_window)
        self.by_id[stream_id] = stream
        self.latest = stream
        return stream

    cdef Stream _open_by_peer(self, uint64_t stream_id, int frame_type):
        # The peer's stream, perhaps new; None when it has ended.
        cdef Stream stream = self.find(stream_id)
        cdef int uni = 1 if stream_id & 2 else 0
        cdef uint64_t index = stream_id >> 2
        cdef RangeSet closed
        if stream is not None:
            return stream
        if index >= self.our_limit[uni]:
            raise TransportError(
                TransportErrorCode.STREAM_LIMIT_ERROR, "more streams than allowed", frame_type
            )
        if index < self.next_remote[uni]:
            closed = self.closed_uni if uni else self.closed_bidi
            if closed is not None and closed.contains(index):
                return None
        else:
            self.next_remote[uni] = index + 1
            self._check_limit(uni)
        return self._create(stream_id)

    cdef Stream _own(self, uint64_t stream_id, int frame_type):
        # Our own stream, which must have been opened; None when it has ended.
        if stream_id >> 2 >= self.next_local[1 if stream_id & 2 else 0]:
            raise TransportError(
                TransportErrorCode.STREAM_STATE_ERROR, "the stream was not opened", frame_type
            )
        return self.find(stream_id)

    cdef Stream _for_receiving(self, uint64_t stream_id, int frame_type):
        # The stream a frame of the peer's sending side is about.
        if <bint>(stream_id & 1) == self.is_client:
            return self._open_by_peer(stream_id, frame_type)
        if stream_id & 2:
            raise TransportError(
                TransportErrorCode.STREAM_STATE_ERROR, "the stream only sends", frame_type
            )
        return self._own(stream_id, frame_type)

    cdef Stream _for_sending(self, uint64_t stream_id, int frame_type):
        # The stream a frame of the peer's receiving side is about.
        if <bint>(stream_id & 1) != self.is_client:
            return self._own(stream_id, frame_type)
        if stream_id & 2:
            raise TransportError(
                TransportErrorCode.STREAM_STATE_ERROR, "the stream only receives", frame_type
            )
        return self._open_by_peer(stream_id, frame_type)

    # In, from the peer

    cdef int _received(self, int64_t grown, int frame_type) except -1:
        self.window.received += grown
        if self.window.received > self.window.limit:
            raise TransportError(
                TransportErrorCode.FLOW_CONTROL_ERROR, "more data than the connection allows",
                frame_type,
            )
        return 0

    cdef int on_stream(self, DataFrame* frame) except -1:
        cdef Stream stream = self._for_receiving(frame.stream_id, STREAM)
        cdef int64_t grown
        if stream is None:
            return 0
        grown = stream.recv.on_data(frame.offset, frame.data, frame.length, frame.fin)
        self._received(grown, STREAM)
        if stream.recv.stopped:
            self._consumed(stream, grown)
            self._settle(stream)
        elif stream.recv.has_news():
            self._list_readable(stream)
        return 0

    cdef int on_reset_stream(self, StreamControl* frame) except -1:
        cdef Stream stream = self._for_receiving(frame.stream_id, RESET_STREAM)
        cdef int64_t grown
        if stream is None:
            return 0
        grown = stream.recv.on_reset(frame.code, frame.final_size, frame.reliable_size)
        self._received(grown, RESET_STREAM)
        if stream.recv.was_reset:
            self._consumed(stream, stream.recv.unreadable())
        if stream.recv.has_news():
            self._list_readable(stream)
        self._settle(stream)
        return 0

    cdef int on_stop_sending(self, StreamControl* frame) except -1:
        cdef Stream stream = self._for_sending(frame.stream_id, STOP_SENDING)
        if stream is None or stream.send.stopped:
            return 0
        stream.send.stopped = True
        stream.send.stop_code = frame.code
        if not stream.send.done():
            self._reset(stream, frame.code, 0)   # RFC 9000 Section 3.5
        self._list_writable(stream)
        return 0

    cdef int on_max_data(self, uint64_t limit) except -1:
        credit_raise(&self.credit, limit)
        return 0

    cdef int on_max_stream_data(self, uint64_t stream_id, uint64_t limit) except -1:
        cdef Stream stream = self._for_sending(stream_id, MAX_STREAM_DATA)
        if stream is not None and credit_raise(&stream.send.credit, limit) and stream.send.has_data():
            self._queue(stream)
        return 0

    cdef int on_max_streams(self, bint uni, uint64_t limit) except -1:
        if limit > MAX_STREAMS:
            raise TransportError(
                TransportErrorCode.FRAME_ENCODING_ERROR, "MAX_STREAMS above 2**60",
                MAX_STREAMS_UNI if uni else MAX_STREAMS_BIDI,
            )
        self.peer_limit[uni] = max(self.peer_limit[uni], limit)
        if self.held:
            self._let_go()
        return 0

    cdef int on_stream_data_blocked(self, uint64_t stream_id) except -1:
        self._for_receiving(stream_id, STREAM_DATA_BLOCKED)
        return 0

    cdef int on_streams_blocked(self, bint uni, uint64_t limit) except -1:
        if limit > MAX_STREAMS:
            raise TransportError(
                TransportErrorCode.FRAME_ENCODING_ERROR, "STREAMS_BLOCKED above 2**60",
                STREAMS_BLOCKED_UNI if uni else STREAMS_BLOCKED_BIDI,
            )
        return 0

    # Bookkeeping

    cdef int _consumed(self, Stream stream, uint64_t size) except -1:
        # Give credit back as the application takes data, on the stream and on the connection.
        cdef ReceivePart recv = stream.recv
        recv.window.consumed += size
        if recv.final_size == UNKNOWN and not recv.stopped and window_is_low(&recv.window):
            recv.limit_pending = True
            self._queue_control(stream)
        self.window.consumed += size
        if window_is_low(&self.window):
            self.max_data_pending = True
        return 0

    cdef void _queue(self, Stream stream) noexcept:
        # It has data to send.
        if stream.held:
            return
        if not stream.send.needs_credit():
            schedule_put(&self.schedule, &stream.link, FREE)
        elif stream.link.place == UNLISTED:
            schedule_put(&self.schedule, &stream.link, FRESH)

    cdef void _queue_control(self, Stream stream) noexcept:
        if not stream.control_queued and not stream.held:
            stream.control_queued = True
            self.control.append(stream)

    cdef void _list_readable(self, Stream stream) noexcept:
        if not stream.readable_listed:
            stream.readable_listed = True
            self.readable_list.append(stream)

    cdef void _list_writable(self, Stream stream) noexcept:
        if not stream.writable_listed:
            stream.writable_listed = True
            self.writable_list.append(stream)

    cdef int _settle(self, Stream stream) except -1:
        # Forget a stream whose both sides are done (RFC 9000 Section 3).
        cdef int uni = 1 if stream.id & 2 else 0
        cdef uint64_t index = stream.id >> 2
        if stream.send is not None and not stream.send.done():
            return 0
        if stream.recv is not None and not stream.recv.done:
            if not (stream.recv.stopped and stream.recv.final_size != UNKNOWN):
                return 0
        if self.by_id.pop(stream.id, None) is None:
            return 0
        if self.latest is stream:
            self.latest = None
        schedule_remove(&self.schedule, &stream.link)
        if stream.group is not None:
            self._arrange(stream, None, 0)
        if <bint>(stream.id & 1) != self.is_client:
            return 0
        if uni:
            if self.closed_uni is None:
                self.closed_uni = RangeSet()
            self.closed_uni.add(index, index + 1)
        else:
            if self.closed_bidi is None:
                self.closed_bidi = RangeSet()
            self.closed_bidi.add(index, index + 1)
        self.closed_remote[uni] += 1
        self._check_limit(uni)
        return 0

    cdef void _check_limit(self, int uni) noexcept:
        # Raise the limit in steps of half the allowance; of less when the peer has less than half of it left,
        # so that it need not wait; and by whatever there is when it has nothing left: with long-lived
        # streams, no more may end.
        cdef uint64_t gained = self.closed_remote[uni] + self.allowance[uni] - self.our_limit[uni]
        cdef uint64_t left = self.peer_available(uni)
        cdef uint64_t step = self.allowance[uni] // 2 if 2 * left > self.allowance[uni] else self.allowance[uni] // 16
        if gained >= max(step, <uint64_t>1) or gained > 0 and left == 0:
            self.limit_pending[uni] = True

    # Out, into packets

    cdef bint wants_to_send(self) noexcept:
        return (
            schedule_first(&self.schedule, credit_left(&self.credit) > 0) != NULL
            or self.max_data_pending or len(self.control) > 0 or self._is_blocked()
            or self.limit_pending[0] or self.limit_pending[1]
            or self.blocked_pending[0] or self.blocked_pending[1]
        )

    cdef int write_control(self, PacketBuilder* p, int64_t now, int64_t rtt) except -1:
        cdef Stream stream
        cdef Py_ssize_t count = 0
        if not self._write_limits(p, now, rtt) or not self.control:
            return 0
        for stream in self.control:
            if not self._write_stream_control(p, stream, now, rtt):
                break
            stream.control_queued = False
            count += 1
        del self.control[:count]
        return 0

    cdef bint _write_limits(self, PacketBuilder* p, int64_t now, int64_t rtt) noexcept:
        cdef uint64_t limit
        cdef int uni, kind
        if self.max_data_pending:
            limit = window_raise(&self.window, now, rtt)
            if not can_record(p) or not put_one(&p.w, MAX_DATA, limit):
                return False
            record(p, MAX_DATA, 0, limit, 0, False)
            self.max_data_pending = False
        for uni in range(2):
            if self.limit_pending[uni]:
                limit = min(self.closed_remote[uni] + self.allowance[uni], MAX_STREAMS)
                kind = MAX_STREAMS_UNI if uni else MAX_STREAMS_BIDI
                if not can_record(p) or not put_one(&p.w, kind, limit):
                    return False
                record(p, kind, 0, limit, 0, False)
                self.our_limit[uni] = limit
                self.limit_pending[uni] = False
            if self.blocked_pending[uni]:
                kind = STREAMS_BLOCKED_UNI if uni else STREAMS_BLOCKED_BIDI
                if not can_record(p) or not put_one(&p.w, kind, self.peer_limit[uni]):
                    return False
                record(p, kind, 0, self.peer_limit[uni], 0, False)
                self.blocked_pending[uni] = False
        return True

    cdef bint _write_stream_control(
        self, PacketBuilder* p, Stream stream, int64_t now, int64_t rtt
    ) noexcept:
        # Whether nothing is left to write.
        cdef uint64_t limit
        cdef ReceivePart recv = stream.recv
        cdef SendPart send = stream.send
        if recv is not None and recv.stop_pending and recv.final_size == UNKNOWN:
            if not can_record(p) or not put_two(&p.w, STOP_SENDING, stream.id, recv.stop_code):
                return False
            record(p, STOP_SENDING, stream.id, 0, 0, False)
            recv.stop_pending = False
        if recv is not None and recv.limit_pending and recv.final_size == UNKNOWN and not recv.stopped:
            limit = window_raise(&recv.window, now, rtt)
            if not can_record(p) or not put_two(&p.w, MAX_STREAM_DATA, stream.id, limit):
                return False
            record(p, MAX_STREAM_DATA, stream.id, limit, 0, False)
            recv.limit_pending = False
        if send is not None and send.reset_ready(self.peer_takes_reset_at):
            return self._write_reset(p, stream.id, send)
        return True

    cdef bint _write_reset(self, PacketBuilder* p, uint64_t stream_id, SendPart send) noexcept:
        cdef StreamControl frame
        frame.stream_id = stream_id
        frame.code = send.reset_code
        frame.final_size = send.sent
        frame.reliable_size = send.reliable if self.peer_takes_reset_at else 0
        if not can_record(p) or not put_reset_stream(&p.w, &frame):
            return False
        record(
            p, RESET_STREAM_AT if frame.reliable_size else RESET_STREAM, stream_id, send.reliable, 0, False
        )
        send.reset_pending = False
        return True

    cdef int write_data(self, PacketBuilder* p) except -1:
        # STREAM frames until the packet is full or nothing may be sent.
        cdef const uint8_t* start
        cdef int written
        cdef Link* link
        cdef Stream stream
        cdef SendPart send
        while True:
            link = schedule_first(&self.schedule, credit_left(&self.credit) > 0)
            if link == NULL:
                break
            stream = <Stream>link.owner
            send = stream.send
            if not send.has_data():
                schedule_remove(&self.schedule, link)
                continue
            if link.place < FRESH and send.needs_credit():
                schedule_put(&self.schedule, link, FRESH)
                continue
            start = p.w.pos
            written = send.write(p, stream.id, &self.credit)
            if written < 0:
                return 0
            if written == 0:
                schedule_remove(&self.schedule, link)
                self._stream_blocked(p, stream)
                continue
            if send.short_write and self._has_room(stream):
                send.short_write = False
                self._list_writable(stream)
            if send.reset_pending:
                self._queue_control(stream)      # the reset may have waited for this
            schedule_spent(&self.schedule, link, p.w.pos - start)
        if self._is_blocked() and can_record(p) and put_one(&p.w, DATA_BLOCKED, self.credit.limit):
            record(p, DATA_BLOCKED, 0, self.credit.limit, 0, False)
            self.credit.blocked_at = self.credit.limit + 1
            self.data_blocked_sent += 1
        return 0

    cdef bint _has_room(self, Stream stream) noexcept:
        # Half of what a stream may hold unsent is free again.
        return 2 * (stream.send.end - stream.send.sent) <= self.send_buffer

    cdef void _stream_blocked(self, PacketBuilder* p, Stream stream) noexcept:
        # Out of credit: say so once for each limit (RFC 9000 Section 4.1).
        cdef SendPart send = stream.send
        if credit_blocked(&send.credit) and can_record(p) and put_two(
            &p.w, STREAM_DATA_BLOCKED, stream.id, send.credit.limit
        ):
            record(p, STREAM_DATA_BLOCKED, stream.id, send.credit.limit, 0, False)
            send.credit.blocked_at = send.credit.limit + 1
            self.stream_data_blocked_sent += 1

    cdef bint _is_blocked(self) noexcept:
        # Streams wait for credit of the connection, and the peer was not told yet.
        return credit_blocked(&self.credit) and self.schedule.ready >> FRESH != 0

    cdef int on_acked(self, const FrameRecord* r) except -1:
        cdef Stream stream
        cdef bint waiting
        stream = self.find(r.id)
        if stream is None:
            return 0
        if r.type != STREAM:
            if stream.send.on_reset_acked(r.offset):
                self._settle(stream)
            return 0
        waiting = not stream.send.all_acked()
        stream.send.on_acked(r.offset, r.length, r.fin)
        if stream.send.reset_pending:
            self._queue_control(stream)
        if waiting and stream.send.all_acked():
            self._list_writable(stream)
            if stream.send.done():
                self._settle(stream)
        return 0

    cdef int on_lost(self, const FrameRecord* r) except -1:
        cdef Stream stream
        if r.type == MAX_DATA:
            self.max_data_pending = self.max_data_pending or r.offset == self.window.limit
            return 0
        if r.type == MAX_STREAMS_BIDI or r.type == MAX_STREAMS_UNI:
            self.limit_pending[r.type - MAX_STREAMS_BIDI] = True
            return 0
        if r.type == STREAMS_BLOCKED_BIDI or r.type == STREAMS_BLOCKED_UNI:
            if r.offset == self.peer_limit[r.type - STREAMS_BLOCKED_BIDI]:
                self.blocked_pending[r.type - STREAMS_BLOCKED_BIDI] = True
            return 0
        if r.type == DATA_BLOCKED:
            self.credit.blocked_at = 0
            return 0
        stream = self.find(r.id)
        if stream is None:
            return 0
        if r.type == STREAM:
            stream.send.on_lost(r.offset, r.length, r.fin)
            if stream.send.has_data():
                self._queue(stream)
        elif r.type == RESET_STREAM or r.type == RESET_STREAM_AT:
            stream.send.reset_pending = not stream.send.reset_acked
            self._queue_control(stream)
        elif r.type == STOP_SENDING:
            stream.recv.stop_pending = stream.recv.final_size == UNKNOWN
            self._queue_control(stream)
        elif r.type == MAX_STREAM_DATA and r.offset == stream.recv.window.limit:
            stream.recv.limit_pending = True
            self._queue_control(stream)
        elif r.type == STREAM_DATA_BLOCKED:
            stream.send.credit.blocked_at = 0
        return 0

    # The application's verbs

    cdef object open(self, bint bidirectional):
        cdef int uni = 0 if bidirectional else 1
        cdef uint64_t index = self.next_local[uni], stream_id
        if index >= self.peer_limit[uni]:
            if self.blocked_at[uni] != self.peer_limit[uni] + 1:
                self.blocked_at[uni] = self.peer_limit[uni] + 1
                self.blocked_pending[uni] = True
            return None
        self.next_local[uni] += 1
        stream_id = index << 2 | <uint64_t>(uni << 1) | <uint64_t>(0 if self.is_client else 1)
        self._create(stream_id)
        return stream_id

    cdef uint64_t available(self, bint bidirectional) noexcept:
        cdef int uni = 0 if bidirectional else 1
        return self.peer_limit[uni] - min(self.next_local[uni], self.peer_limit[uni])

    cdef uint64_t peer_available(self, int uni) noexcept:
        # How many streams the peer may open now.
        return self.our_limit[uni] - min(self.next_remote[uni], self.our_limit[uni])

    cdef uint64_t send_credit(self, uint64_t stream_id) except? 0:
        # Bytes of new data that flow control would let through now.
        cdef Stream stream = self._known(stream_id)
        if stream is None or stream.send is None or stream.send.was_reset:
            return 0
        return min(credit_left(&stream.send.credit), credit_left(&self.credit))

    cdef Stream _known(self, uint64_t stream_id):
        # None for a stream that has ended; ValueError for one that never was.
        cdef Stream stream = self.find(stream_id)
        cdef int uni = 1 if stream_id & 2 else 0
        if stream is not None:
            return stream
        if <bint>(stream_id & 1) != self.is_client:
            if stream_id >> 2 < self.next_local[uni]:
                return None
        elif stream_id >> 2 < self.next_remote[uni]:
            return None
        raise ValueError(f"stream {stream_id} has not been opened")

    cdef uint64_t capacity(self, uint64_t stream_id) except? 0:
        cdef Stream stream = self._known(stream_id)
        cdef uint64_t unsent
        if stream is None or stream.send is None or stream.send.fin or stream.send.was_reset:
            return 0
        unsent = stream.send.end - stream.send.sent
        return self.send_buffer - min(unsent, self.send_buffer)

    cdef Py_ssize_t write(self, uint64_t stream_id, object data, bint fin) except -1:
        cdef Stream stream = self._known(stream_id)
        cdef SendPart send
        cdef Py_buffer view
        cdef size_t length
        if stream is None:
            raise StreamStopped(None)
        send = stream.send
        if send is None:
            raise ValueError(f"stream {stream_id} only receives")
        if send.stopped:
            raise StreamStopped(send.stop_code)
        if send.was_reset:
            raise ValueError(f"stream {stream_id} was reset")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if send.fin:
                if view.len or not fin:
                    raise ValueError(f"stream {stream_id} was finished")
                return 0
            length = min(<uint64_t>view.len, self.capacity(stream_id))
            send.append(data, <const uint8_t*>view.buf, length)
            if length < <size_t>view.len:
                send.short_write = True
            elif fin:
                send.fin = True
        finally:
            PyBuffer_Release(&view)
        if send.has_data():
            self._queue(stream)
        return length

    cdef Stream _readable_stream(self, uint64_t stream_id):
        # The stream when it has something to read or its end to tell, else None.
        cdef Stream stream = self._known(stream_id)
        if stream is None or stream.recv is None or stream.recv.done or stream.recv.stopped:
            return None
        if stream.recv.reset_due():
            stream.recv.done = True
            self._settle(stream)
            raise StreamReset(stream.recv.reset_code)
        return stream if stream.recv.has_news() else None

    cdef bint _after_read(self, Stream stream, size_t length) except -1:
        # Account for what was read; whether that was the end.
        self._consumed(stream, length)
        if not stream.recv.at_end():
            if stream.recv.reset_due():
                self._list_readable(stream)
            return False
        stream.recv.done = True
        self._settle(stream)
        return True

    cdef object read(self, uint64_t stream_id, size_t length):
        cdef Stream stream = self._readable_stream(stream_id)
        cdef bytes out
        if stream is None:
            return None
        length = min(length, stream.recv.available())
        out = PyBytes_FromStringAndSize(NULL, length)
        stream.recv.take(<uint8_t*>PyBytes_AS_STRING(out), length)
        return out, bool(self._after_read(stream, length))

    cdef bytes peek(self, uint64_t stream_id, size_t length):
        cdef Stream stream = self._known(stream_id)
        cdef bytes out
        if stream is None or stream.recv is None or stream.recv.reset_due():
            return b""
        length = min(length, stream.recv.available())
        out = PyBytes_FromStringAndSize(NULL, length)
        stream.recv.peek(<uint8_t*>PyBytes_AS_STRING(out), length)
        return out

    cdef Py_ssize_t read_into(
        self, uint64_t stream_id, uint8_t* out, size_t length, bint* fin
    ) except -2:
        cdef Stream stream = self._readable_stream(stream_id)
        if stream is None:
            return -1
        length = stream.recv.take(out, length)
        fin[0] = self._after_read(stream, length)
        return length

    cdef int _reset(self, Stream stream, uint64_t code, uint64_t reliable) except -1:
        self.resets_sent += not stream.send.was_reset
        stream.send.reset(code, reliable)
        if stream.send.has_data():
            self._queue(stream)
        else:
            schedule_remove(&self.schedule, &stream.link)
        self._queue_control(stream)
        return 0

    cdef int shutdown(self, uint64_t stream_id, bint writing, uint64_t code, uint64_t reliable) except -1:
        cdef Stream stream = self._known(stream_id)
        cdef uint64_t unread
        if stream is None:
            return 0
        if writing:
            if stream.send is None:
                raise ValueError(f"stream {stream_id} only receives")
            if stream.send.done():
                return 0
            if reliable > stream.send.end and not stream.send.was_reset:
                raise ValueError(f"reliable_size is {reliable}, and {stream.send.end} bytes were written")
            return self._reset(stream, code, reliable)
        if stream.recv is None:
            raise ValueError(f"stream {stream_id} only sends")
        if stream.recv.done or stream.recv.stopped:
            return 0
        if stream.recv.reset_due():
            stream.recv.done = True
            self._settle(stream)
            return 0
        unread = stream.recv.stop(code)
        self.window.consumed += unread
        if window_is_low(&self.window):
            self.max_data_pending = True
        if stream.recv.stop_pending:
            self._queue_control(stream)
            self.stops_sent += 1
        self._settle(stream)
        return 0

    cdef bint acked(self, uint64_t stream_id) except -1:
        cdef Stream stream = self._known(stream_id)
        return stream is None or stream.send is None or stream.send.all_acked()

    cdef int prioritize(self, uint64_t stream_id, int urgency, bint incremental) except -1:
        cdef Stream stream = self._known(stream_id)
        cdef Link* link
        if not 0 <= urgency < URGENCIES:
            raise ValueError(f"urgency must be 0 to {URGENCIES - 1}, not {urgency}")
        if stream is None:
            return 0
        if stream.group is not None:
            self._arrange(stream, None, 0)
        link = &stream.link
        link.incremental = incremental
        link.urgency = <uint8_t>urgency
        if link.place != UNLISTED:
            schedule_put(&self.schedule, link, FREE if link.place < FRESH else FRESH)
        if not incremental:
            # Those of an urgency one after the other, by their ID (RFC 9218 Section 10).
            if self.sequences is None:
                self.sequences = [None] * URGENCIES
            if self.sequences[urgency] is None:
                self.sequences[urgency] = self.make_group(urgency)
                (<SendGroup>self.sequences[urgency]).group.link.incremental = False
            self._arrange(stream, self.sequences[urgency], -<int64_t>stream_id)
        return 0

    cdef SendGroup make_group(self, int urgency):
        cdef SendGroup group
        if not 0 <= urgency < URGENCIES:
            raise ValueError(f"urgency must be 0 to {URGENCIES - 1}, not {urgency}")
        group = SendGroup.__new__(SendGroup)
        group.owner = <void*>self
        group.group.link.urgency = <uint8_t>urgency
        return group

    cdef int order(self, uint64_t stream_id, SendGroup group, int64_t order) except -1:
        cdef Stream stream = self._known(stream_id)
        if group is not None and group.owner != <void*>self:
            raise ValueError("the group belongs to another connection")
        if stream is None:
            return 0
        return self._arrange(stream, group, order)

    cdef int _arrange(self, Stream stream, SendGroup group, int64_t order) except -1:
        # Into *group*, or out of all groups.
        cdef Link* link = &stream.link
        cdef uint8_t place = link.place
        if group is not None and group is not stream.group:
            group.join()
        schedule_remove(&self.schedule, link)
        if stream.group is not None and group is not stream.group:
            stream.group.joined -= 1
        stream.group = group
        link.order = order
        link.group = NULL
        if group is not None:
            link.group = &group.group
            link.urgency = group.group.link.urgency
            link.incremental = True
        if place != UNLISTED:
            schedule_put(&self.schedule, link, FREE if place < FRESH else FRESH)
        return 0

    cdef list take_readable(self):
        cdef Stream stream
        cdef list ids = []
        for stream in self.readable_list:
            stream.readable_listed = False
            if stream.recv.has_news():
                ids.append(stream.id)
        self.readable_list.clear()
        return ids

    cdef list take_writable(self):
        cdef Stream stream
        cdef list ids = []
        for stream in self.writable_list:
            stream.writable_listed = False
            ids.append(stream.id)
        self.writable_list.clear()
        return ids
