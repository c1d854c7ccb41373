"""The bytes of TLS 1.3 handshake messages: vectors and the values of extensions (RFC 8446 Sections 3, 4.2).

A ClientHello has some fifty length fields, so what reads and writes them is compiled; which message has
what is in ``cwt.tls.messages``.  Reading is strict: a structure that ends too soon or too late, a vector
below its minimum and a second extension of one type raise :class:`cwt.tls.alerts.Alert`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t

from typing import NamedTuple

from cwt.tls.alerts import Alert, AlertDescription, decode_error

KeyShare = tuple[int, bytes]
"""Group and key_exchange."""

OfferedPsks = tuple[tuple[tuple[bytes, int], ...], tuple[bytes, ...]]
"""Identities with their obfuscated ticket ages, and binders."""

cdef enum:
    PRE_SHARED_KEY = 41


@cython.final
cdef class Reader:
    """Takes values from the front of *data*; running out of it is a decode_error."""

    cdef bytes data
    cdef Py_ssize_t position
    cdef Py_ssize_t end

    def __cinit__(self, bytes data not None):
        self.data = data
        self.position = 0
        self.end = PyBytes_GET_SIZE(data)

    cpdef bytes take(self, Py_ssize_t length):
        """The next *length* bytes."""
        cdef const char* start = PyBytes_AS_STRING(self.data) + self.position
        if not 0 <= length <= self.end - self.position:
            decode_error("a TLS message is shorter than its lengths say")
        self.position += length
        return PyBytes_FromStringAndSize(start, length)

    cdef uint64_t number(self, Py_ssize_t size) except? 0xFFFFFFFFFF:
        # A number of at most four bytes: the error value is none of them.
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(self.data)
        cdef uint64_t value = 0
        cdef Py_ssize_t i
        if not 0 <= size <= min(self.end - self.position, 4):
            decode_error("a TLS message is shorter than its lengths say")
        for i in range(self.position, self.position + size):
            value = value << 8 | data[i]
        self.position += size
        return value

    def uint(self, Py_ssize_t size):
        """The next number, of *size* bytes (at most 4)."""
        return self.number(size)

    cpdef bytes vector(self, Py_ssize_t size, Py_ssize_t minimum=0):
        """A vector whose length is written in *size* bytes."""
        cdef Py_ssize_t length = <Py_ssize_t>self.number(size)
        if length < minimum:
            decode_error(f"a TLS vector of {length} bytes must have at least {minimum}")
        return self.take(length)

    cpdef Py_ssize_t left(self) noexcept:
        """How many bytes have not been taken."""
        return self.end - self.position

    cpdef int finish(self) except -1:
        """Everything must have been taken."""
        if self.position != self.end:
            decode_error(f"{self.end - self.position} bytes trail a TLS structure")
        return 0


cpdef bytes vector(int size, bytes data):
    """*data* after its length in *size* bytes; ValueError when it is too long for that."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef uint8_t head[4]
    cdef int i
    if not 1 <= size <= 4 or length >> 8 * size:
        raise ValueError(f"{length} bytes do not fit a vector with a length of {size} bytes")
    for i in range(size):
        head[i] = <uint8_t>(length >> 8 * (size - 1 - i) & 0xFF)
    return head[:size] + data


cdef bytes uint16(value):
    cdef int number = value
    cdef uint8_t data[2]
    if not 0 <= number <= 0xFFFF:
        raise ValueError(f"{number} does not fit 16 bits")
    data[0] = <uint8_t>(number >> 8)
    data[1] = <uint8_t>(number & 0xFF)
    return data[:2]


# Values of extensions.


cdef tuple numbers(bytes data):
    cdef const uint8_t* source = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    if length % 2:
        decode_error("a list of 16-bit numbers has an odd length")
    return tuple([source[i] << 8 | source[i + 1] for i in range(0, length, 2)])


def read_uint16s(Reader reader not None):
    return numbers(reader.vector(2, 2))


def read_uint16s_short(Reader reader not None):
    return numbers(reader.vector(1, 2))


def write_uint16s(values):
    return vector(2, b"".join([uint16(value) for value in values]))


def write_uint16s_short(values):
    return vector(1, b"".join([uint16(value) for value in values]))


def read_uint16(Reader reader not None):
    return reader.number(2)


def write_uint16(value):
    return uint16(value)


def read_uint8(Reader reader not None):
    return reader.number(1)


def write_uint8(value):
    return bytes([value])


def read_uint32(Reader reader not None):
    return reader.number(4)


def write_uint32(value):
    return int(value).to_bytes(4, "big")


def read_server_name(Reader reader not None):
    cdef Reader names = Reader(reader.vector(2, 1))
    cdef bytes name
    cdef int name_type
    host_name = None
    while names.left():
        name_type = <int>names.number(1)
        name = names.vector(2, 1)
        if name_type != 0:
            continue
        if host_name is not None:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "two host names in server_name")
        if not name.isascii() or not name.decode("ascii").isprintable():
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "server_name is not printable ASCII")
        host_name = name.decode("ascii").lower().removesuffix(".")
    if not host_name:
        decode_error("server_name has no host name")
    return host_name


def write_server_name(name):
    return vector(2, b"\0" + vector(2, name.encode("ascii")))


cdef tuple vectors(bytes data, int size):
    # A list of vectors, none of which is empty.
    cdef Reader entries = Reader(data)
    cdef list found = []
    while entries.left():
        found.append(entries.vector(size, 1))
    return tuple(found)


def read_alpn(Reader reader not None):
    return vectors(reader.vector(2, 2), 1)


def write_alpn(protocols):
    return vector(2, b"".join([vector(1, protocol) for protocol in protocols]))


def read_names(Reader reader not None):
    return vectors(reader.vector(2, 3), 2)


def write_names(names):
    return vector(2, b"".join([vector(2, name) for name in names]))


def read_key_share(Reader reader not None):
    return reader.number(2), reader.vector(2, 1)


def write_key_share(share):
    return uint16(share[0]) + vector(2, share[1])


def read_key_shares(Reader reader not None):
    cdef Reader entries = Reader(reader.vector(2))
    cdef list shares = []
    cdef set groups = set()
    while entries.left():
        group = entries.number(2)
        shares.append((group, entries.vector(2, 1)))
        groups.add(group)
    if len(groups) != len(shares):
        raise Alert(AlertDescription.ILLEGAL_PARAMETER, "two key shares for one group")
    return tuple(shares)


def write_key_shares(shares):
    return vector(2, b"".join([write_key_share(share) for share in shares]))


def read_opaque(Reader reader not None):
    return reader.vector(2, 1)


def write_opaque(data):
    return vector(2, data)


def read_opaque_short(Reader reader not None):
    return reader.vector(1, 1)


def write_opaque_short(data):
    return vector(1, data)


def read_offered_psks(Reader reader not None):
    cdef Reader entries = Reader(reader.vector(2, 7))
    cdef list identities = []
    while entries.left():
        identity = entries.vector(2, 1)
        identities.append((identity, entries.number(4)))
    entries = Reader(reader.vector(2, 33))
    binders = []
    while entries.left():
        binders.append(entries.vector(1, 32))
    return tuple(identities), tuple(binders)


def write_offered_psks(offered):
    identities, binders = offered
    return vector(
        2, b"".join([vector(2, identity) + age.to_bytes(4, "big") for identity, age in identities])
    ) + vector(2, b"".join([vector(1, binder) for binder in binders]))


def read_all(Reader reader not None):
    return reader.take(reader.left())


def write_all(data):
    return bytes(data)


def read_flag(Reader reader not None):
    return True


def write_flag(value):
    return b""


# Extensions.


class Codec(NamedTuple):
    """How one extension is read and written, and the attribute of the message that has its value."""

    name: str
    read: object
    write: object


Codecs = dict[int, Codec]
"""By the type of the extension."""


def read_extensions(Reader reader not None, dict codecs not None, bint is_client_hello=False):
    """Attributes for the extensions of *codecs*, and the rest under "other".

    Only in a ClientHello pre_shared_key has to be the last (RFC 8446 Section 4.2.11).
    """
    cdef Reader extensions = Reader(reader.vector(2))
    cdef Reader value
    cdef dict values = {}
    cdef list other = []
    cdef set seen = set()
    cdef int last = -1
    while extensions.left():
        extension_type = extensions.number(2)
        data = extensions.vector(2)
        if is_client_hello and last == PRE_SHARED_KEY:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "pre_shared_key is not the last")
        if extension_type in seen:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, f"two extensions {extension_type}")
        seen.add(extension_type)
        last = extension_type
        codec = codecs.get(extension_type)
        if codec is None:
            other.append((extension_type, data))
        else:
            value = Reader(data)
            values[codec[0]] = codec[1](value)
            value.finish()
    values["other"] = tuple(other)
    return values


def write_extensions(message, dict codecs not None):
    """The extensions of *codecs* that *message* has, in their order, and its ``other``.

    pre_shared_key comes behind them all (RFC 8446 Section 4.2.11).
    """
    cdef list parts = []
    cdef bytes last = b""
    for extension_type, codec in codecs.items():
        value = getattr(message, codec[0])
        if value is None or value is False:
            continue
        part = uint16(extension_type) + vector(2, codec[2](value))
        if extension_type == PRE_SHARED_KEY:
            last = part
        else:
            parts.append(part)
    for extension_type, raw in message.other:
        parts.append(uint16(extension_type) + vector(2, raw))
    return vector(2, b"".join(parts) + last)
