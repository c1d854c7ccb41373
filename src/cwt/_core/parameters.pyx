"""Our transport parameters, as the configuration wants them (RFC 9000 Section 18)."""

from libc.stdint cimport uint64_t

from cwt._core.wire.params import TransportParameters


cdef uint64_t min_ack_delay(object config) except? 0:
    # Microseconds: event loops wake with about a millisecond's precision.
    return min(1000, int(config.max_ack_delay * 1000) * 1000)


cdef object parameters_of(object config, object random):
    # Without what belongs to one connection: its IDs, addresses and versions.
    params = TransportParameters(
        max_idle_timeout=int(config.max_idle_timeout * 1000),
        max_udp_payload_size=config.max_recv_udp_payload_size,
        initial_max_data=config.initial_max_data,
        initial_max_stream_data_bidi_local=config.initial_max_stream_data,
        initial_max_stream_data_bidi_remote=config.initial_max_stream_data,
        initial_max_stream_data_uni=config.initial_max_stream_data,
        initial_max_streams_bidi=config.initial_max_streams_bidi,
        initial_max_streams_uni=config.initial_max_streams_uni,
        ack_delay_exponent=config.ack_delay_exponent,
        max_ack_delay=int(config.max_ack_delay * 1000),
        active_connection_id_limit=config.active_connection_id_limit,
        max_datagram_frame_size=config.max_datagram_frame_size,
        disable_active_migration=config.disable_active_migration,
    )
    if config.ack_frequency:
        params.min_ack_delay = params.early_min_ack_delay = min_ack_delay(config)
    if config.grease:
        noise = random(4)
        params.unknown = {31 * (noise[0] << 8 | noise[1]) + 27: noise[: noise[2] % 5]}
        params.grease_quic_bit = True
    params.reset_stream_at = params.early_reset_stream_at = True
    return params
