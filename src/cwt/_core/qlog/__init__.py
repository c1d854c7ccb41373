"""What happens in a connection, as qlog events (draft-ietf-quic-qlog-main-schema)."""
