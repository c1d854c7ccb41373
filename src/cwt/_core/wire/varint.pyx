"""Variable-length integers for Python callers (RFC 9000 Section 16)."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.cursor cimport Reader, Writer, put_varint, read_varint, reader, varint_length, writer

MAX = (1 << 62) - 1


def encode(value):
    """The shortest encoding of *value*; ValueError when it is negative or above 2**62 - 1."""
    cdef uint8_t buffer[8]
    cdef Writer w = writer(buffer, 8)
    if not 0 <= value <= MAX:
        raise ValueError(f"a varint holds 0 to 2**62 - 1, not {value!r}")
    put_varint(&w, <uint64_t>value)
    return buffer[:w.pos - buffer]


def decode(data, size_t offset=0):
    """``(value, next_offset)`` of the varint at *offset*; None when it is cut short."""
    cdef uint64_t value
    cdef Py_buffer view
    cdef Reader r
    cdef bint found = False
    cdef size_t size
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    size = <size_t>view.len
    if offset < size:
        r = reader(<const uint8_t*>view.buf + offset, size - offset)
        found = read_varint(&r, &value)
        offset = size - <size_t>(r.end - r.pos)
    PyBuffer_Release(&view)
    return (value, offset) if found else None


def encode_all(values):
    """The shortest encodings of *values*, one after the other; ValueError as of :func:`encode`."""
    return b"".join([encode(value) for value in values])


def decode_all(bytes data not None):
    """Every varint in *data*; None when the last one is cut short."""
    cdef Reader r = reader(<const uint8_t*>PyBytes_AS_STRING(data), len(data))
    cdef uint64_t value
    cdef list values = []
    while r.pos < r.end:
        if not read_varint(&r, &value):
            return None
        values.append(value)
    return values


def length(value):
    """Bytes of the shortest encoding of *value*: 1, 2, 4 or 8."""
    if not 0 <= value <= MAX:
        raise ValueError(f"a varint holds 0 to 2**62 - 1, not {value!r}")
    return varint_length(<uint64_t>value)
