"""Field sections before and after QPACK has decoded them: how large they are (RFC 9114 Section 4.2.2)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t

from cwt.errors import H3ErrorCode
from cwt.h3.fault import ConnectionFault

cdef enum:
    INTEGER_BITS = 62


cdef struct Cursor:
    const uint8_t* data
    size_t position
    size_t size


cdef object failed(str reason):
    return ConnectionFault(H3ErrorCode.QPACK_DECOMPRESSION_FAILED, reason)


cdef uint64_t integer(Cursor* cursor, int prefix) except? 0xFFFFFFFFFFFFFFFF:
    # A prefixed integer (RFC 9204 Section 4.1.1).
    cdef uint64_t mask = (<uint64_t>1 << prefix) - 1, value
    cdef int shift = 0
    cdef uint8_t byte
    if cursor.position >= cursor.size:
        raise failed("the field section is cut short")
    value = cursor.data[cursor.position] & mask
    cursor.position += 1
    if value < mask:
        return value
    while cursor.position < cursor.size and shift < INTEGER_BITS:
        byte = cursor.data[cursor.position]
        cursor.position += 1
        value += <uint64_t>(byte & 0x7F) << shift
        if value >> INTEGER_BITS:
            break
        if not byte & 0x80:
            return value
        shift += 7
    raise failed("an integer of the field section is cut short or too large")


cdef int literal(Cursor* cursor, int prefix) except -1:
    # A string (RFC 9204 Section 4.1.2), which is passed over.
    cdef uint64_t length = integer(cursor, prefix)
    if length > cursor.size - cursor.position:
        raise failed("a literal goes beyond the field section")
    cursor.position += <size_t>length
    return 0


def measure(bytes section not None, size_t max_lines):
    """``(field lines, most references to one dynamic entry)`` of an encoded section; it decodes nothing.

    It stops counting above *max_lines*.  ConnectionFault when the section is malformed.

    The entries a section refers to are all in the table at once, so together they are no larger than
    its capacity, and the section expands to no more than that times the second number.
    """
    cdef Cursor cursor
    cdef size_t count = 0
    cdef uint8_t first
    cdef uint64_t index
    cdef bint dynamic, post_base, has_value
    cdef dict references = None
    cursor.data = <const uint8_t*>PyBytes_AS_STRING(section)
    cursor.position = 0
    cursor.size = <size_t>PyBytes_GET_SIZE(section)
    integer(&cursor, 8)
    integer(&cursor, 7)
    while cursor.position < cursor.size and count <= max_lines:
        first = cursor.data[cursor.position]
        count += 1
        dynamic = post_base = has_value = False
        index = 0
        if first & 0x80:                     # indexed
            index = integer(&cursor, 6)
            dynamic = not first & 0x40
        elif first & 0x40:                   # literal with name reference
            index = integer(&cursor, 4)
            dynamic = not first & 0x10
            has_value = True
        elif first & 0x20:                   # literal name
            literal(&cursor, 3)
            has_value = True
        else:                                # post-base: indexed, or literal with name reference
            has_value = not first & 0x10
            index = integer(&cursor, 3 if has_value else 4)
            dynamic = post_base = True
        if has_value:
            literal(&cursor, 7)
        if dynamic:
            if references is None:
                references = {}
            key = (post_base, index)
            references[key] = references.get(key, 0) + 1
    return count, max(references.values()) if references else 0


def section_size(list lines not None):
    """Size of a field section as RFC 9114 Section 4.2.2 counts it: 32 bytes more for each line."""
    cdef Py_ssize_t total = 0
    for name, value in lines:
        total += len(name) + len(value) + 32
    return total
