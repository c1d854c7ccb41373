"""Frames as qlog describes them (draft-ietf-quic-qlog-quic-events Section 8.13)."""

from libc.stdint cimport uint8_t, uint64_t

from cwt._core.qlog.text cimport Text


cdef void write_frames(Text out, const uint8_t* payload, size_t length, int exponent, bint http3) noexcept
cdef void write_error(Text out, const char* name, bint application, uint64_t code, bint http3) noexcept
