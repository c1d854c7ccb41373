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


cdef inline uint32_t load_u32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline void store_u32(uint8_t* p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>(value >> 16)
    p[2] = <uint8_t>(value >> 8)
    p[3] = <uint8_t>value


cdef inline bint read_u32(Reader* r, uint32_t* value) noexcept nogil:
    if remaining(r) < 4:
        return False
    value[0] = load_u32(r.pos)
    r.pos += 4
    return True


cdef inline bint read_varint(Reader* r, uint64_t* value) noexcept nogil:
    # Each length by itself: the compiler makes one load of it, and none of a loop.
    cdef const uint8_t* p = r.pos
    cdef size_t length, left = remaining(r)
    if left == 0:
        return False
    length = <size_t>1 << (p[0] >> 6)
    if left < length:
        return False
    if length == 1:
        value[0] = p[0]
    elif length == 2:
        value[0] = (<uint64_t>(p[0] & 0x3F) << 8) | p[1]
    elif length == 4:
        value[0] = load_u32(p) & 0x3FFFFFFF
    else:
        value[0] = ((<uint64_t>load_u32(p) & 0x3FFFFFFF) << 32) | load_u32(p + 4)
    r.pos += length
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
    store_u32(w.pos, value)
    w.pos += 4
    return True


cdef inline bint put_varint_of(Writer* w, uint64_t value, size_t length) noexcept nogil:
    # In exactly *length* bytes (1, 2, 4 or 8), which must hold the value.
    if room(w) < length:
        return False
    if length == 1:
        w.pos[0] = <uint8_t>value
    elif length == 2:
        w.pos[0] = <uint8_t>(0x40 | value >> 8)
        w.pos[1] = <uint8_t>value
    elif length == 4:
        store_u32(w.pos, <uint32_t>2 << 30 | <uint32_t>value)
    else:
        store_u32(w.pos, <uint32_t>3 << 30 | <uint32_t>(value >> 32))
        store_u32(w.pos + 4, <uint32_t>value)
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
