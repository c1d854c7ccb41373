"""Reader and Writer over memory: the only pointer arithmetic on packets (RFC 9000 Section 16).

Every function checks its bounds and says whether it succeeded; a failed one leaves the cursor where it was.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memmove, memset

cdef enum:
    MAX_VARINT_LENGTH = 8

cdef struct Reader:
    const uint8_t* pos
    const uint8_t* end

cdef struct Writer:
    uint8_t* pos
    uint8_t* end


cdef inline Reader reader(const uint8_t* data, size_t length) noexcept nogil:
    cdef Reader r
    r.pos = data
    r.end = data + length
    return r


cdef inline Writer writer(uint8_t* data, size_t length) noexcept nogil:
    cdef Writer w
    w.pos = data
    w.end = data + length
    return w


cdef inline size_t remaining(const Reader* r) noexcept nogil:
    return <size_t>(r.end - r.pos)


cdef inline size_t room(const Writer* w) noexcept nogil:
    return <size_t>(w.end - w.pos)


cdef inline size_t varint_length(uint64_t value) noexcept nogil:
    if value < 0x40:
        return 1
    if value < 0x4000:
        return 2
    if value < 0x40000000:
        return 4
    return 8


cdef inline bint read_u8(Reader* r, uint8_t* value) noexcept nogil:
    if r.pos >= r.end:
        return False
    value[0] = r.pos[0]
    r.pos += 1
    return True


cdef inline bint read_u32(Reader* r, uint32_t* value) noexcept nogil:
    if remaining(r) < 4:
        return False
    value[0] = (
        (<uint32_t>r.pos[0] << 24) | (<uint32_t>r.pos[1] << 16)
        | (<uint32_t>r.pos[2] << 8) | r.pos[3]
    )
    r.pos += 4
    return True


cdef inline bint read_varint(Reader* r, uint64_t* value) noexcept nogil:
    cdef size_t length, i
    cdef uint64_t result
    if r.pos >= r.end:
        return False
    length = <size_t>1 << (r.pos[0] >> 6)
    if remaining(r) < length:
        return False
    result = r.pos[0] & 0x3F
    for i in range(1, length):
        result = (result << 8) | r.pos[i]
    r.pos += length
    value[0] = result
    return True


cdef inline bint read_bytes(Reader* r, size_t length, const uint8_t** data) noexcept nogil:
    if remaining(r) < length:
        return False
    data[0] = r.pos
    r.pos += length
    return True


cdef inline bint put_u8(Writer* w, uint8_t value) noexcept nogil:
    if w.pos >= w.end:
        return False
    w.pos[0] = value
    w.pos += 1
    return True


cdef inline bint put_u32(Writer* w, uint32_t value) noexcept nogil:
    if room(w) < 4:
        return False
    w.pos[0] = <uint8_t>(value >> 24)
    w.pos[1] = <uint8_t>(value >> 16)
    w.pos[2] = <uint8_t>(value >> 8)
    w.pos[3] = <uint8_t>value
    w.pos += 4
    return True


cdef inline bint put_varint_of(Writer* w, uint64_t value, size_t length) noexcept nogil:
    # In exactly *length* bytes (1, 2, 4 or 8), which must hold the value.
    cdef size_t i
    if room(w) < length:
        return False
    for i in range(length):
        w.pos[i] = <uint8_t>(value >> (8 * (length - 1 - i)))
    if length == 2:
        w.pos[0] |= 0x40
    elif length == 4:
        w.pos[0] |= 0x80
    elif length == 8:
        w.pos[0] |= 0xC0
    w.pos += length
    return True


cdef inline bint put_varint(Writer* w, uint64_t value) noexcept nogil:
    return put_varint_of(w, value, varint_length(value))


cdef inline bint put_bytes(Writer* w, const uint8_t* data, size_t length) noexcept nogil:
    if room(w) < length:
        return False
    # memmove, because gcc makes `rep movs` of a memcpy whose size it can bound, and that starts slowly.
    if length:
        memmove(w.pos, data, length)
    w.pos += length
    return True


cdef inline bint put_zeros(Writer* w, size_t length) noexcept nogil:
    if room(w) < length:
        return False
    memset(w.pos, 0, length)
    w.pos += length
    return True
