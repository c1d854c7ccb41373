"""JSON text in a growing buffer (RFC 8259)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, strlen

from json.encoder import encode_basestring_ascii

cdef enum:
    MAX_SIZE = 1 << 22
    MAX_STRING = 1024


@cython.final
cdef class Text:
    """JSON being written, without an object for each value.

    Nothing raises: when there is no memory for all of it, ``failed`` says so.  A name of NULL stands for an
    element of a list.  Names and words are written as they are; only ``string`` escapes.
    """

    def __cinit__(self):
        self.data = NULL

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef bint _reserve(self, size_t more) noexcept:
        cdef size_t size = max(self.size, <size_t>1024)
        cdef char* grown
        if self.size - self.length >= more:
            return True
        while size - self.length < more:
            size *= 2
        grown = <char*>PyMem_Realloc(self.data, size) if size <= MAX_SIZE else NULL
        if grown == NULL:
            self.failed = True
            return False
        self.data = grown
        self.size = size
        return True

    cdef void raw(self, const char* text, size_t length) noexcept:
        if length and self._reserve(length):
            memcpy(self.data + self.length, text, length)
            self.length += length

    cdef void put(self, const char* text) noexcept:
        self.raw(text, strlen(text))

    cdef void separate(self) noexcept:
        # A comma, unless this is the first of an object or a list.
        if self.length and self.data[self.length - 1] != c"{" and self.data[self.length - 1] != c"[":
            self.raw(",", 1)

    cdef void key(self, const char* name) noexcept:
        self.separate()
        if name != NULL:
            self.raw('"', 1)
            self.put(name)
            self.raw('":', 2)

    cdef void open(self, const char* name) noexcept:
        self.key(name)
        self.raw("{", 1)

    cdef void open_list(self, const char* name) noexcept:
        self.key(name)
        self.raw("[", 1)

    cdef void unsigned(self, uint64_t value) noexcept:
        cdef char digits[20]
        cdef int at = 20
        while True:
            at -= 1
            digits[at] = <char>(c"0" + value % 10)
            value //= 10
            if value == 0:
                break
        self.raw(&digits[at], 20 - at)

    cdef void milliseconds(self, int64_t nanoseconds) noexcept:
        # To the microsecond.
        cdef char fraction[4]
        cdef uint64_t micro
        if nanoseconds < 0:
            self.raw("-", 1)
            nanoseconds = -nanoseconds
        micro = <uint64_t>nanoseconds // 1000
        self.unsigned(micro // 1000)
        micro %= 1000
        if micro:
            fraction[0] = c"."
            fraction[1] = <char>(c"0" + micro // 100)
            fraction[2] = <char>(c"0" + micro // 10 % 10)
            fraction[3] = <char>(c"0" + micro % 10)
            self.raw(fraction, 4)

    cdef void number(self, const char* name, uint64_t value) noexcept:
        self.key(name)
        self.unsigned(value)

    cdef void duration(self, const char* name, int64_t nanoseconds) noexcept:
        self.key(name)
        self.milliseconds(nanoseconds)

    cdef void word(self, const char* name, const char* value) noexcept:
        self.key(name)
        self.raw('"', 1)
        self.put(value)
        self.raw('"', 1)

    cdef void flag(self, const char* name, bint value) noexcept:
        self.key(name)
        self.put("true" if value else "false")

    cdef void hex(self, const char* name, const uint8_t* data, size_t length) noexcept:
        cdef const char* digits = "0123456789abcdef"
        cdef size_t i
        self.key(name)
        if not self._reserve(2 * length + 2):
            return
        self.raw('"', 1)
        for i in range(length):
            self.data[self.length] = digits[data[i] >> 4]
            self.data[self.length + 1] = digits[data[i] & 15]
            self.length += 2
        self.raw('"', 1)

    cdef void string(self, const char* name, str value) noexcept:
        # Whatever it holds, perhaps from the peer; cut where it is too long for a log.
        cdef bytes quoted
        try:
            quoted = encode_basestring_ascii(value[:MAX_STRING]).encode("ascii")
        except Exception:
            self.failed = True
            return
        self.key(name)
        self.raw(PyBytes_AS_STRING(quoted), len(quoted))

    cdef bytes take(self):
        """All of it; the buffer is empty then."""
        cdef bytes taken = PyBytes_FromStringAndSize(self.data, self.length)
        self.length = 0
        return taken
