"""The keys of a connection and the packets under them (RFC 9001 Sections 5 and 6)."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cwt._core.crypto.aead cimport Packet, SAMPLE_LENGTH, TAG_LENGTH
from cwt._core.crypto.keys cimport Key
from cwt._core.wire.packet cimport decode_number

from cwt._core.crypto.keys import (
    confidentiality_limit, initial_keys, integrity_limit, make_key,
)
from cwt.errors import TransportError, TransportErrorCode


@cython.final
cdef class Keyring:
    """Opens and seals packets in place; knows the key phases of 1-RTT.

    Spaces are 0 Initial, 1 Handshake, 2 application data; for reading 0-RTT has 3 for itself.  A client
    writes application data in 0-RTT packets until it has keys for 1-RTT.
    """

    def __cinit__(self):
        self.seal_limit = <uint64_t>-1       # of no key

    cdef int set_initial(self, uint32_t version, bytes dcid, bint is_client) except -1:
        self.read_initial, self.write_initial = initial_keys(version, dcid, is_client)
        return 0

    cdef int move_initial(self, uint32_t version, bytes dcid) except -1:
        # A server writes in *version* from now on, and reads what the client sent before, too.
        self.other_read_initial = self.read_initial
        return self.set_initial(version, dcid, False)

    cdef bint select_initial(self, uint32_t version, bytes dcid) except -1:
        # Read Initial packets of *version*: one that is known, or with *dcid* a client's new one.
        if self.read_initial.version == version:
            return True
        if self.other_read_initial is None or self.other_read_initial.version != version:
            if dcid is None:
                return False
            self.other_read_initial, self.other_write_initial = initial_keys(version, dcid, True)
        self.read_initial, self.other_read_initial = self.other_read_initial, self.read_initial
        return True

    cdef void settle_initial(self) noexcept:
        # A client follows the server to the version selected last.
        self.write_initial = self.other_write_initial

    def install(self, int space, bint is_write, int cipher_suite, bytes secret, uint32_t version):
        """A secret of the TLS handshake (RFC 9001 Section 4.1.4)."""
        cdef Key key = make_key(cipher_suite, secret, version)
        if space == 1 and is_write:
            self.write_handshake = key
        elif space == 1:
            self.read_handshake = key
        elif not is_write:
            if space == 3:
                self.read_early = key
            else:
                self.read_application = key
        else:
            self.write_early = None          # Section 4.9.3: not used beside those of 1-RTT
            self.sealed = 0
            self.seal_limit = confidentiality_limit(cipher_suite)
            if space == 3:
                self.write_early = key
            else:
                self.write_application = key

    cdef Key reading(self, int space):
        if space == 2:
            return self.read_application
        if space == 3:
            return self.read_early
        return self.read_initial if space == 0 else self.read_handshake

    cdef Key writing(self, int space):
        if space == 2:
            return self.write_application if self.write_application is not None else self.write_early
        return self.write_initial if space == 0 else self.write_handshake

    cdef bint can_read(self, int space) noexcept:
        return self.reading(space) is not None

    cdef bint can_write(self, int space) noexcept:
        return self.writing(space) is not None

    cdef void discard(self, int space) noexcept:
        # Of the handshake: those of 1-RTT stay.
        if space == 0:
            self.read_initial = self.other_read_initial = None
            self.write_initial = self.other_write_initial = None
        else:
            self.read_handshake = None
            self.write_handshake = None

    cdef int mask(self, int space, const uint8_t* samples, uint8_t* masks, size_t count) except -1:
        return self.reading(space).header_protection.mask(samples, masks, count)

    cdef Key _key_for(self, int space, bint phase, uint64_t number):
        # The key a 1-RTT packet claims to be under (Section 6.3); others have but one.
        cdef Key key = self.reading(space)
        if space != 2 or phase == self.key_phase:
            return key
        if self.previous_read is not None and number < self.read_phase_start:
            return self.previous_read
        self.prepare()
        return self.next_read

    cdef int prepare(self) except -1:
        # The peer's next key is derived before it is needed: to try it must not take longer than to try the
        # present one, or time would tell the Key Phase bit (Section 9.5).
        if self.next_read is None:
            self.next_read = self.read_application.updated()
        return 0

    cdef int open(
        self, int space, uint8_t* data, size_t end, size_t number_offset, const uint8_t* mask,
        uint64_t expected, Opened* opened
    ) except -1:
        """Remove protection from ``data[:end]``: 0 not authentic, 1 authentic, 2 in the next key phase."""
        cdef Packet packet
        cdef Key key
        cdef uint8_t first = data[0] ^ (mask[0] & (0x0F if data[0] & 0x80 else 0x1F))
        cdef size_t length = (first & 3) + 1, i
        cdef uint64_t truncated = 0
        if end < number_offset + length + TAG_LENGTH:
            return 0
        data[0] = first
        for i in range(length):
            data[number_offset + i] ^= mask[1 + i]
            truncated = truncated << 8 | data[number_offset + i]
        packet.number = decode_number(truncated, length, expected)
        packet.data = data
        packet.header_length = <uint32_t>(number_offset + length)
        packet.length = <uint32_t>end
        packet.ok = False
        key = self._key_for(space, (first & 4) != 0, packet.number)
        key.aead.open(&packet, 1)
        if not packet.ok:
            self.failures += 1
            if self.failures > integrity_limit(key.cipher_suite):
                raise TransportError(TransportErrorCode.AEAD_LIMIT_REACHED, "too many forged packets")
            return 0
        if first & (0x0C if first & 0x80 else 0x18):
            raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, "reserved header bits are set")
        opened.number = packet.number
        opened.header = data
        opened.payload = data + packet.header_length
        opened.length = end - packet.header_length - TAG_LENGTH
        if space == 2 and key is self.next_read:
            return 2
        if space == 2 and packet.number < self.read_phase_start and key is self.read_application:
            self.read_phase_start = packet.number
        return 1

    cdef int _rotate(self, uint64_t number, uint64_t next_sent) except -1:
        # Into the next key phase, which starts at *number* from the peer and *next_sent* from us.
        self.prepare()
        self.previous_read = self.read_application
        self.previous_until = 0
        self.read_application = self.next_read
        self.next_read = None
        self.prepare()
        self.write_application = self.write_application.updated()
        self.key_phase = not self.key_phase
        self.read_phase_start = number
        self.write_phase_start = next_sent
        self.update_allowed = False
        self.sealed = 0
        self.key_updates += 1
        return 0

    cdef bint has_old(self) noexcept:
        # Whether there are keys that are to go when the peer has gone on to others.
        return self.previous_read is not None or self.read_early is not None

    cdef void retire(self, uint64_t number, int64_t now, int64_t pto) noexcept:
        # 1-RTT packet *number* came under the present key: three probe timeouts later the keys before it
        # are of no use any more (Sections 4.9.3 and 6.5).
        if self.read_early is not None and self.early_until == 0:
            self.early_until = now + 3 * pto
        if self.previous_read is not None and self.previous_until == 0 and number >= self.read_phase_start:
            self.previous_until = now + 3 * pto
        self.on_timeout(now)

    cdef int64_t next_timeout(self) noexcept:
        # When on_timeout is due, 0 for never.
        if self.early_until == 0 or self.previous_until == 0:
            return self.early_until + self.previous_until
        return min(self.early_until, self.previous_until)

    cdef void on_timeout(self, int64_t now) noexcept:
        if self.early_until and now >= self.early_until:
            self.read_early = None
            self.early_until = 0
        if self.previous_until and now >= self.previous_until:
            self.previous_read = None
            self.previous_until = 0

    cdef int seal(self, int space, Packet* packets, size_t count) except -1:
        cdef Key key = self.writing(space)
        cdef uint8_t samples[MAX_BATCH * SAMPLE_LENGTH]
        cdef uint8_t masks[MAX_BATCH * SAMPLE_LENGTH]
        cdef size_t i, j, number_offset, length
        cdef uint8_t* data
        key.aead.seal(packets, count)
        for i in range(count):
            data = packets[i].data
            number_offset = packets[i].header_length - (data[0] & 3) - 1
            memcpy(&samples[i * SAMPLE_LENGTH], data + number_offset + 4, SAMPLE_LENGTH)
        key.header_protection.mask(samples, masks, count)
        for i in range(count):
            data = packets[i].data
            length = (data[0] & 3) + 1
            number_offset = packets[i].header_length - length
            data[0] ^= masks[i * SAMPLE_LENGTH] & (0x0F if data[0] & 0x80 else 0x1F)
            for j in range(length):
                data[number_offset + j] ^= masks[i * SAMPLE_LENGTH + 1 + j]
        if space == 2:
            self.sealed += count
        return 0

    cdef bint update(self, uint64_t next_sent) except -1:
        """Start a key update; False while the present phase is unconfirmed (Section 6.1)."""
        if not self.update_allowed:
            return False
        # Until the peer answers, anything it sends is still in its old phase.
        self._rotate(<uint64_t>-1, next_sent)
        return True

    cdef bint limit_near(self) noexcept:
        """Whether the present key has protected nearly as many packets as it may (Section 6.6)."""
        return self.sealed >= self.seal_limit // 2

    cdef int check_limit(self) except -1:
        """TransportError(AEAD_LIMIT_REACHED) when there is no room for another batch (Section 6.6)."""
        if self.sealed + MAX_BATCH > self.seal_limit:
            raise TransportError(
                TransportErrorCode.AEAD_LIMIT_REACHED, "a key update is due and the last one unconfirmed"
            )
        return 0

    cdef void on_acked(self, uint64_t largest) noexcept:
        if largest >= self.write_phase_start:
            self.update_allowed = True
