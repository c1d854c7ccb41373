"""The events of the qlog drafts as tables: which fields they have, and of what kind.

draft-ietf-quic-qlog-main-schema-14, draft-ietf-quic-qlog-quic-events-13, -h3-events-13.  A kind is the name
of a number or text, a tuple of the words that are allowed, a list with the kind of its elements, a dict of
fields (those whose name ends with ``?`` may be absent), or :class:`Either` of several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["EVENTS", "EXTENSIONS", "FRAMES", "HEADER", "TRACE", "Either", "Kind"]


@dataclass(frozen=True)
class Either:
    """One of several kinds."""

    kinds: tuple[Any, ...]


Kind: TypeAlias = str | tuple[str, ...] | list[Any] | dict[str, Any] | Either

_UINT = "uint64"
_INITIATOR = ("local", "remote")
_RAW: Kind = {"length?": _UINT, "payload_length?": _UINT, "data?": "hexstring"}
_TOKEN: Kind = {"type?": ("retry", "resumption"), "details?": "object", "raw?": _RAW}
_STREAM_TYPE = ("unidirectional", "bidirectional")
_SPACE = ("initial", "handshake", "application_data")
_ENDPOINT: Kind = {
    "ip_v4?": "text",
    "port_v4?": "uint16",
    "ip_v6?": "text",
    "port_v6?": "uint16",
    "connection_ids?": ["hexstring"],
}
_PACKET_HEADER: Kind = {
    "packet_type": (
        "initial",
        "handshake",
        "0RTT",
        "1RTT",
        "retry",
        "version_negotiation",
        "stateless_reset",
        "unknown",
    ),
    "packet_type_bytes?": _UINT,
    "spin_bit?": "bool",
    "key_phase?": _UINT,
    "key_phase_bit?": "bool",
    "packet_number_length?": "uint8",
    "packet_number?": _UINT,
    "token?": _TOKEN,
    "length?": "uint16",
    "version?": "hexstring",
    "scil?": "uint8",
    "dcil?": "uint8",
    "scid?": "hexstring",
    "dcid?": "hexstring",
}
_TRANSPORT_ERROR = (
    "no_error",
    "internal_error",
    "connection_refused",
    "flow_control_error",
    "stream_limit_error",
    "stream_state_error",
    "final_size_error",
    "frame_encoding_error",
    "transport_parameter_error",
    "connection_id_limit_error",
    "protocol_violation",
    "invalid_token",
    "application_error",
    "crypto_buffer_exceeded",
    "key_update_error",
    "aead_limit_reached",
    "no_viable_path",
    "unknown",
)
_APPLICATION_ERROR = (
    "unknown",
    "http_no_error",
    "http_general_protocol_error",
    "http_internal_error",
    "http_stream_creation_error",
    "http_closed_critical_stream",
    "http_frame_unexpected",
    "http_frame_error",
    "http_excessive_load",
    "http_id_error",
    "http_settings_error",
    "http_missing_settings",
    "http_request_rejected",
    "http_request_cancelled",
    "http_request_incomplete",
    "http_early_response",
    "http_connect_error",
    "http_version_fallback",
)
_CONNECTION_ERROR = Either((_TRANSPORT_ERROR, "crypto_error"))

_RESET = {"stream_id": _UINT, "error": _APPLICATION_ERROR, "error_code?": _UINT}
_STREAM_FRAME = {"stream_id": _UINT, "offset?": _UINT, "fin?": "bool"}
FRAMES: dict[str, dict[str, Any]] = {
    "padding": {},
    "ping": {},
    "ack": {
        "ack_delay?": "number",
        "acked_ranges?": [["uint64"]],
        "ect1?": _UINT,
        "ect0?": _UINT,
        "ce?": _UINT,
    },
    "reset_stream": {**_RESET, "final_size": _UINT},
    "reset_stream_at": {**_RESET, "final_size": _UINT, "reliable_size": _UINT},
    "stop_sending": _RESET,
    "crypto": {"offset": _UINT, "raw": _RAW},
    "new_token": {"token": _TOKEN},
    "stream": _STREAM_FRAME,
    "max_data": {"maximum": _UINT},
    "max_stream_data": {"stream_id": _UINT, "maximum": _UINT},
    "max_streams": {"stream_type": _STREAM_TYPE, "maximum": _UINT},
    "data_blocked": {"limit": _UINT},
    "stream_data_blocked": {"stream_id": _UINT, "limit": _UINT},
    "streams_blocked": {"stream_type": _STREAM_TYPE, "limit": _UINT},
    "new_connection_id": {
        "sequence_number": _UINT,
        "retire_prior_to": _UINT,
        "connection_id_length?": "uint8",
        "connection_id": "hexstring",
        "stateless_reset_token?": "hexstring",
    },
    "retire_connection_id": {"sequence_number": _UINT},
    "path_challenge": {"data?": "hexstring"},
    "path_response": {"data?": "hexstring"},
    "connection_close": {
        "error_space?": ("transport", "application"),
        "error?": Either((_TRANSPORT_ERROR, "crypto_error", _APPLICATION_ERROR)),
        "error_code?": _UINT,
        "reason?": "text",
        "reason_bytes?": "hexstring",
        "trigger_frame_type?": Either(("uint64", "text")),
    },
    "handshake_done": {},
    "unknown": {"frame_type_bytes": _UINT},
    "datagram": {},
}
"""The QUIC frames by ``frame_type``, without the ``raw`` that all may have."""

_FRAMES: Kind = ["frame"]
_LIMITS = {
    "disable_active_migration?": "bool",
    "max_idle_timeout?": _UINT,
    "max_udp_payload_size?": _UINT,
    "active_connection_id_limit?": _UINT,
    "initial_max_data?": _UINT,
    "initial_max_stream_data_bidi_local?": _UINT,
    "initial_max_stream_data_bidi_remote?": _UINT,
    "initial_max_stream_data_uni?": _UINT,
    "initial_max_streams_bidi?": _UINT,
    "initial_max_streams_uni?": _UINT,
    "max_datagram_frame_size?": _UINT,
    "grease_quic_bit?": "bool",
}
_ALPN: Kind = {"byte_value?": "hexstring", "string_value?": "text"}
_PACKET = {
    "header": _PACKET_HEADER,
    "frames?": _FRAMES,
    "stateless_reset_token?": "hexstring",
    "supported_versions?": ["hexstring"],
    "raw?": _RAW,
    "datagram_payload_checksum?": "uint32",
}
_DATAGRAMS = {
    "count?": "uint16",
    "raw?": [_RAW],
    "ecn?": [("Not-ECT", "ECT(1)", "ECT(0)", "CE")],
    "datagram_payload_checksums?": ["uint32"],
}
_UNREADABLE = {
    "header?": _PACKET_HEADER,
    "raw?": _RAW,
    "datagram_payload_checksum?": "uint32",
}
_KEY = {
    "key_type": (
        "server_initial_secret",
        "client_initial_secret",
        "server_handshake_secret",
        "client_handshake_secret",
        "server_0rtt_secret",
        "client_0rtt_secret",
        "server_1rtt_secret",
        "client_1rtt_secret",
    ),
    "key_phase?": _UINT,
    "trigger?": ("tls", "remote_update", "local_update"),
}
_CONNECTION_STATE = (
    "attempted",
    "handshake_started",
    "handshake_complete",
    "closed",
    "peer_validated",
    "early_write",
    "handshake_confirmed",
    "closing",
    "draining",
)
_STREAM_STATE = (
    "idle",
    "open",
    "closed",
    "half_closed_local",
    "half_closed_remote",
    "ready",
    "send",
    "data_sent",
    "reset_sent",
    "reset_received",
    "receive",
    "size_known",
    "data_read",
    "reset_read",
    "data_received",
    "destroyed",
)
_MIGRATION_STATE = (
    "probing_started",
    "probing_abandoned",
    "probing_successful",
    "migration_started",
    "migration_abandoned",
    "migration_complete",
)
_ECN_STATE = ("testing", "unknown", "failed", "capable")
_BLOCKED = {
    "old?": ("blocked", "unblocked"),
    "new": ("blocked", "unblocked"),
    "reason?": (
        "scheduling",
        "pacing",
        "amplification_protection",
        "congestion_control",
        "connection_flow_control",
        "stream_flow_control",
        "stream_id",
        "application",
    ),
}
_LOCATION = ("application", "transport", "network")
_HTTP3_SETTINGS = {
    "max_field_section_size?": _UINT,
    "max_table_capacity?": _UINT,
    "blocked_streams_count?": _UINT,
    "extended_connect?": "uint16",
    "h3_datagram?": "uint16",
}

EVENTS: dict[str, dict[str, Any]] = {
    "quic:server_listening": {
        "ip_v4?": "text",
        "port_v4?": "uint16",
        "ip_v6?": "text",
        "port_v6?": "uint16",
        "retry_required?": "bool",
    },
    "quic:connection_started": {"local": _ENDPOINT, "remote": _ENDPOINT},
    "quic:connection_closed": {
        "initiator?": _INITIATOR,
        "connection_error?": _CONNECTION_ERROR,
        "application_error?": _APPLICATION_ERROR,
        "error_code?": _UINT,
        "internal_code?": _UINT,
        "reason?": "text",
        "trigger?": (
            "idle_timeout",
            "application",
            "error",
            "version_mismatch",
            "stateless_reset",
            "aborted",
            "unspecified",
        ),
    },
    "quic:connection_id_updated": {
        "initiator": _INITIATOR,
        "old?": "hexstring",
        "new?": "hexstring",
    },
    "quic:spin_bit_updated": {"state": "bool"},
    "quic:connection_state_updated": {"old?": _CONNECTION_STATE, "new": _CONNECTION_STATE},
    "quic:tuple_assigned": {
        "tuple_id": "text",
        "tuple_remote?": _ENDPOINT,
        "tuple_local?": _ENDPOINT,
    },
    "quic:mtu_updated": {"old?": "uint32", "new": "uint32", "done?": "bool"},
    "quic:version_information": {
        "server_versions?": ["hexstring"],
        "client_versions?": ["hexstring"],
        "chosen_version?": "hexstring",
    },
    "quic:alpn_information": {
        "server_alpns?": [_ALPN],
        "client_alpns?": [_ALPN],
        "chosen_alpn?": _ALPN,
    },
    "quic:parameters_set": {
        "initiator?": _INITIATOR,
        "resumption_allowed?": "bool",
        "early_data_enabled?": "bool",
        "tls_cipher?": "text",
        "original_destination_connection_id?": "hexstring",
        "initial_source_connection_id?": "hexstring",
        "retry_source_connection_id?": "hexstring",
        "stateless_reset_token?": "hexstring",
        "ack_delay_exponent?": _UINT,
        "max_ack_delay?": _UINT,
        "preferred_address?": {
            "ip_v4?": "text",
            "port_v4?": "uint16",
            "ip_v6?": "text",
            "port_v6?": "uint16",
            "connection_id": "hexstring",
            "stateless_reset_token": "hexstring",
        },
        "unknown_parameters?": [{"id": _UINT, "value?": "hexstring"}],
        "reset_stream_at?": "bool",
        **_LIMITS,
    },
    "quic:parameters_restored": _LIMITS,
    "quic:packet_sent": {
        **_PACKET,
        "is_mtu_probe_packet?": "bool",
        "trigger?": (
            "retransmit_reordered",
            "retransmit_timeout",
            "pto_probe",
            "retransmit_crypto",
            "cc_bandwidth_probe",
        ),
    },
    "quic:packet_received": {**_PACKET, "trigger?": ("keys_available",)},
    "quic:packet_dropped": {
        **_UNREADABLE,
        "details?": "object",
        "trigger?": (
            "internal_error",
            "rejected",
            "unsupported",
            "invalid",
            "duplicate",
            "connection_unknown",
            "decryption_failure",
            "key_unavailable",
            "general",
        ),
    },
    "quic:packet_buffered": {**_UNREADABLE, "trigger?": ("backpressure", "keys_unavailable")},
    "quic:packets_acked": {"packet_number_space?": _SPACE, "packet_numbers?": [_UINT]},
    "quic:udp_datagrams_sent": _DATAGRAMS,
    "quic:udp_datagrams_received": _DATAGRAMS,
    "quic:udp_datagram_dropped": {"raw?": _RAW},
    "quic:stream_state_updated": {
        "stream_id": _UINT,
        "stream_type?": _STREAM_TYPE,
        "old?": _STREAM_STATE,
        "new": _STREAM_STATE,
        "stream_side": ("sending", "receiving"),
        "trigger?": _INITIATOR,
    },
    "quic:frames_created": {"frames": _FRAMES, "packet_numbers?": [_UINT]},
    "quic:frames_parsed": {"frames": _FRAMES, "packet_numbers?": [_UINT]},
    "quic:stream_data_moved": {
        "stream_id?": _UINT,
        "offset?": _UINT,
        "from?": _LOCATION,
        "to?": _LOCATION,
        "additional_info?": ("fin_set", "stream_reset"),
        "raw?": _RAW,
    },
    "quic:datagram_data_moved": {"from?": _LOCATION, "to?": _LOCATION, "raw?": _RAW},
    "quic:connection_data_blocked_updated": _BLOCKED,
    "quic:stream_data_blocked_updated": {**_BLOCKED, "stream_id": _UINT},
    "quic:datagram_data_blocked_updated": _BLOCKED,
    "quic:migration_state_updated": {
        "old?": _MIGRATION_STATE,
        "new": _MIGRATION_STATE,
        "tuple_id?": "text",
        "tuple_remote?": _ENDPOINT,
        "tuple_local?": _ENDPOINT,
    },
    "quic:timer_updated": {
        "timer_type?": (
            "ack",
            "pto",
            "loss_timeout",
            "path_validation",
            "handshake_timeout",
            "idle_timeout",
        ),
        "timer_id?": _UINT,
        "packet_number_space?": _SPACE,
        "event_type": ("set", "expired", "cancelled"),
        "delta?": "number",
    },
    "quic:key_updated": {**_KEY, "old?": "hexstring", "new?": "hexstring"},
    "quic:key_discarded": {**_KEY, "key?": "hexstring"},
    "quic:recovery_parameters_set": {
        "reordering_threshold?": "uint16",
        "time_threshold?": "number",
        "timer_granularity": "uint16",
        "initial_rtt?": "number",
        "max_datagram_size?": "uint32",
        "initial_congestion_window?": _UINT,
        "minimum_congestion_window?": _UINT,
        "loss_reduction_factor?": "number",
        "persistent_congestion_threshold?": "uint16",
    },
    "quic:recovery_metrics_updated": {
        "min_rtt?": "number",
        "smoothed_rtt?": "number",
        "latest_rtt?": "number",
        "rtt_variance?": "number",
        "pto_count?": "uint16",
        "congestion_window?": _UINT,
        "bytes_in_flight?": _UINT,
        "ssthresh?": _UINT,
        "packets_in_flight?": _UINT,
        "pacing_rate?": _UINT,
    },
    "quic:congestion_state_updated": {"old?": "text", "new": "text", "trigger?": "text"},
    "quic:packet_lost": {
        "header?": _PACKET_HEADER,
        "frames?": _FRAMES,
        "is_mtu_probe_packet?": "bool",
        "trigger?": ("reordering_threshold", "time_threshold", "pto_expired"),
    },
    "quic:marked_for_retransmit": {"frames": _FRAMES},
    "quic:ecn_state_updated": {"old?": _ECN_STATE, "new": _ECN_STATE},
    "http3:parameters_set": {
        "initiator?": _INITIATOR,
        **_HTTP3_SETTINGS,
        "waits_for_settings?": "bool",
    },
    "http3:parameters_restored": _HTTP3_SETTINGS,
    "http3:stream_type_set": {
        "initiator?": _INITIATOR,
        "stream_id": _UINT,
        "stream_type": (
            "request",
            "control",
            "push",
            "reserved",
            "unknown",
            "qpack_encode",
            "qpack_decode",
        ),
        "stream_type_bytes?": _UINT,
        "associated_push_id?": _UINT,
    },
    "http3:priority_updated": {
        "stream_id?": _UINT,
        "push_id?": _UINT,
        "old?": "text",
        "new": "text",
        "trigger?": ("client_signal_received", "local", "other"),
        "reason?": ("client_signal_only", "client_server_merged", "local_policy", "other"),
    },
    "http3:frame_created": {"stream_id": _UINT, "frame": "http3_frame"},
    "http3:frame_parsed": {"stream_id": _UINT, "frame": "http3_frame"},
    "http3:datagram_created": {"quarter_stream_id": _UINT, "raw?": _RAW},
    "http3:datagram_parsed": {"quarter_stream_id": _UINT, "raw?": _RAW},
    "http3:push_resolved": {
        "push_id?": _UINT,
        "stream_id?": _UINT,
        "decision": ("claimed", "abandoned"),
    },
    "http:capsule_created": {"stream_id": _UINT, "capsule": "object"},
    "http:capsule_parsed": {"stream_id": _UINT, "capsule": "object"},
}
"""The events by name."""

_FIELD: Kind = {
    "name?": "text",
    "name_bytes?": "hexstring",
    "value?": "text",
    "value_bytes?": "hexstring",
}
_SETTING: Kind = {
    "name?": (
        "settings_qpack_max_table_capacity",
        "settings_max_field_section_size",
        "settings_qpack_blocked_streams",
        "settings_enable_connect_protocol",
        "settings_h3_datagram",
        "reserved",
        "unknown",
    ),
    "name_bytes?": _UINT,
    "value": _UINT,
}
HTTP3_FRAMES: dict[str, dict[str, Any]] = {
    "data": {},
    "headers": {"headers": [_FIELD]},
    "cancel_push": {"push_id": _UINT},
    "settings": {"settings": [_SETTING]},
    "push_promise": {"push_id": _UINT, "headers": [_FIELD]},
    "goaway": {"id": _UINT},
    "max_push_id": {"push_id": _UINT},
    "reserved": {"frame_type_bytes": _UINT},
    "unknown": {"frame_type_bytes": _UINT},
    "priority_update": {"stream_id?": _UINT, "push_id?": _UINT, "priority_field_value": "text"},
    "origin": {"origin_entries": [{"origin_len": "uint16", "ascii_origin?": "text"}]},
}
"""The frames of HTTP/3, as ``FRAMES``."""

EXTENSIONS: dict[str, dict[str, Any]] = {
    "quic:recovery_parameters_set": {"congestion_controller?": "text"},
    "quic:parameters_set": {"min_ack_delay?": _UINT},
    "cwt:spurious_loss": {"packet_number_space?": _SPACE, "packet_number": _UINT},
    "ack_frequency": {
        "sequence_number": _UINT,
        "ack_eliciting_threshold": _UINT,
        "requested_max_ack_delay": "number",
        "reordering_threshold": _UINT,
    },
    "immediate_ack": {},
}
"""What this library adds: fields of the events above, and events and frames of its own."""

_REFERENCE_TIME: Kind = {
    "clock_type?": "text",
    "epoch?": "text",
    "wall_clock_time?": "text",
}
TRACE: dict[str, Any] = {
    "title?": "text",
    "description?": "text",
    "common_fields?": {
        "tuple?": "text",
        "time_format?": ("relative_to_epoch", "relative_to_previous_event"),
        "reference_time?": _REFERENCE_TIME,
        "group_id?": "text",
    },
    "vantage_point?": {
        "name?": "text",
        "type": ("client", "server", "network", "unknown"),
        "flow?": ("client", "server", "unknown"),
    },
    "event_schemas": ["text"],
}
"""The description of a trace."""
HEADER: dict[str, Any] = {
    "file_schema": ("urn:ietf:params:qlog:file:sequential", "urn:ietf:params:qlog:file:contained"),
    "serialization_format": ("application/qlog+json-seq", "application/qlog+json"),
    "title?": "text",
    "description?": "text",
}
"""The fields of a file, besides its traces."""
