"""Streams: identifiers, limits, scheduling (RFC 9000 Sections 2, 4 and 19.4 to 19.14)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.stream.flow cimport ReceiveWindow, SendCredit
from cwt._core.stream.recv cimport ReceivePart
from cwt._core.stream.schedule cimport Group, Link, Schedule
from cwt._core.stream.send cimport SendPart
from cwt._core.wire.frame cimport DataFrame, FrameRecord, PacketBuilder, StreamControl
from cwt._core.wire.ranges cimport RangeSet


cdef class SendGroup:
    cdef Group group
    cdef uint32_t joined                     # streams that are in it
    cdef void* owner                         # the Streams it is for

    cdef int join(self) except -1


cdef class Stream:
    cdef readonly uint64_t id
    cdef ReceivePart recv                    # None when we only send
    cdef SendPart send                       # None when we only receive
    cdef Link link                           # in the schedule while it has data to send
    cdef uint8_t control_queued              # has control frames to send
    cdef uint8_t readable_listed
    cdef uint8_t writable_listed
    cdef uint8_t early                       # received something in 0-RTT
    cdef uint8_t held                        # of ours, beyond the limit that came when 0-RTT was refused
    cdef SendGroup group                     # whose streams are sent in order; None for none


cdef class Streams:
    # Flags first and of one byte each: with them the object stays below the 512 bytes up to which Python
    # allocates without overhead.
    cdef uint8_t is_client
    cdef uint8_t blocked_pending[2]
    cdef uint8_t limit_pending[2]            # MAX_STREAMS is due
    cdef uint8_t peer_takes_reset_at         # knows RESET_STREAM_AT
    cdef uint8_t max_data_pending
    cdef dict by_id
    cdef Stream latest                       # the one found last
    cdef Schedule schedule                   # of streams with data to send
    cdef list sequences                      # groups of those that are not incremental, by urgency; or None
    cdef list control                        # streams with control frames to send
    cdef list readable_list, writable_list
    cdef SendCredit credit                   # of the connection
    cdef ReceiveWindow window                # of the connection
    cdef uint64_t stream_window, max_stream_window, send_buffer
    cdef uint64_t peer_window_bidi_local, peer_window_bidi_remote, peer_window_uni
    cdef uint64_t next_local[2]              # index of the next stream of ours; 0 bidi, 1 uni
    cdef uint64_t peer_limit[2]              # how many the peer lets us open
    cdef uint64_t blocked_at[2]              # the limit that STREAMS_BLOCKED last reported, plus one
    cdef uint64_t next_remote[2]             # the peer has opened all below
    cdef uint64_t our_limit[2]               # how many the peer may open
    cdef uint64_t allowance[2]               # at once
    cdef uint64_t closed_remote[2]           # how many of the peer's have ended
    cdef RangeSet closed_bidi, closed_uni    # indexes of the peer's that have ended; None for none
    cdef uint64_t held                       # streams
    cdef readonly uint32_t resets_sent, stops_sent
    cdef readonly uint32_t data_blocked_sent, stream_data_blocked_sent

    cdef Stream find(self, uint64_t stream_id)
    cdef Stream _create(self, uint64_t stream_id)
    cdef Stream _for_receiving(self, uint64_t stream_id, int frame_type)
    cdef Stream _for_sending(self, uint64_t stream_id, int frame_type)
    cdef Stream _open_by_peer(self, uint64_t stream_id, int frame_type)
    cdef Stream _own(self, uint64_t stream_id, int frame_type)
    cdef Stream _known(self, uint64_t stream_id)
    cdef void _stream_blocked(self, PacketBuilder* p, Stream stream) noexcept
    cdef bint _is_blocked(self) noexcept
    cdef int _received(self, int64_t grown, int frame_type) except -1
    cdef int _consumed(self, Stream stream, uint64_t size) except -1
    cdef void _queue(self, Stream stream) noexcept
    cdef void _queue_control(self, Stream stream) noexcept
    cdef void _list_readable(self, Stream stream) noexcept
    cdef void _list_writable(self, Stream stream) noexcept
    cdef void _check_limit(self, int uni) noexcept
    cdef int _settle(self, Stream stream) except -1

    cdef int set_peer_limits(self, object params) except -1
    cdef int on_early_refused(self) except -1
    cdef int _let_go(self) except -1
    cdef int mark_early(self, uint64_t stream_id) except -1
    cdef bint is_early(self, uint64_t stream_id) except -1
    cdef int on_stream(self, DataFrame* frame) except -1
    cdef int on_reset_stream(self, StreamControl* frame) except -1
    cdef int on_stop_sending(self, StreamControl* frame) except -1
    cdef int on_max_data(self, uint64_t limit) except -1
    cdef int on_max_stream_data(self, uint64_t stream_id, uint64_t limit) except -1
    cdef int on_max_streams(self, bint uni, uint64_t limit) except -1
    cdef int on_stream_data_blocked(self, uint64_t stream_id) except -1
    cdef int on_streams_blocked(self, bint uni, uint64_t limit) except -1

    cdef bint wants_to_send(self) noexcept
    cdef int write_control(self, PacketBuilder* p, int64_t now, int64_t rtt) except -1
    cdef bint _write_limits(self, PacketBuilder* p, int64_t now, int64_t rtt) noexcept
    cdef bint _write_stream_control(self, PacketBuilder* p, Stream stream, int64_t now, int64_t rtt) noexcept
    cdef bint _write_reset(self, PacketBuilder* p, uint64_t stream_id, SendPart send) noexcept
    cdef int write_data(self, PacketBuilder* p) except -1
    cdef bint _has_room(self, Stream stream) noexcept
    cdef int on_acked(self, const FrameRecord* r) except -1
    cdef int on_lost(self, const FrameRecord* r) except -1

    cdef object open(self, bint bidirectional)
    cdef uint64_t available(self, bint bidirectional) noexcept
    cdef uint64_t peer_available(self, int uni) noexcept
    cdef uint64_t send_credit(self, uint64_t stream_id) except? 0
    cdef Py_ssize_t write(self, uint64_t stream_id, object data, bint fin) except -1
    cdef object read(self, uint64_t stream_id, size_t length)
    cdef bytes peek(self, uint64_t stream_id, size_t length)
    cdef Py_ssize_t read_into(self, uint64_t stream_id, uint8_t* out, size_t length, bint* fin) except -2
    cdef Stream _readable_stream(self, uint64_t stream_id)
    cdef bint _after_read(self, Stream stream, size_t length) except -1
    cdef int shutdown(self, uint64_t stream_id, bint writing, uint64_t code, uint64_t reliable) except -1
    cdef int _reset(self, Stream stream, uint64_t code, uint64_t reliable) except -1
    cdef uint64_t capacity(self, uint64_t stream_id) except? 0
    cdef bint acked(self, uint64_t stream_id) except -1
    cdef SendGroup make_group(self, int urgency)
    cdef int order(self, uint64_t stream_id, SendGroup group, int64_t order) except -1
    cdef int _arrange(self, Stream stream, SendGroup group, int64_t order) except -1
    cdef int prioritize(self, uint64_t stream_id, int urgency, bint incremental) except -1
    cdef list take_readable(self)
    cdef list take_writable(self)
