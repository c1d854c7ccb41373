"""Transport parameters (RFC 9000 Section 18)."""

from libc.stdint cimport uint64_t


cdef class TransportParameters:
    cdef public bytes original_destination_connection_id
    cdef public uint64_t max_idle_timeout            # milliseconds, 0 for none
    cdef public bytes stateless_reset_token
    cdef public uint64_t max_udp_payload_size
    cdef public uint64_t initial_max_data
    cdef public uint64_t initial_max_stream_data_bidi_local
    cdef public uint64_t initial_max_stream_data_bidi_remote
    cdef public uint64_t initial_max_stream_data_uni
    cdef public uint64_t initial_max_streams_bidi
    cdef public uint64_t initial_max_streams_uni
    cdef public uint64_t ack_delay_exponent
    cdef public uint64_t max_ack_delay               # milliseconds
    cdef public bint disable_active_migration
    cdef public bytes preferred_address              # as on the wire
    cdef public uint64_t active_connection_id_limit
    cdef public bytes initial_source_connection_id
    cdef public bytes retry_source_connection_id
    cdef public uint64_t max_datagram_frame_size
    cdef public uint64_t min_ack_delay               # microseconds, ABSENT for no support
    cdef public uint64_t early_min_ack_delay         # the same, of draft-ietf-quic-ack-frequency-00
    cdef public bint grease_quic_bit                # RFC 9287
    cdef public bint reset_stream_at                # draft-ietf-quic-reliable-stream-reset
    cdef public bint early_reset_stream_at          # the same, up to its version 07
    cdef public tuple version_information           # chosen, then available (RFC 9368), or None
    cdef public dict unknown                         # id -> value of parameters to send as they are, or None
