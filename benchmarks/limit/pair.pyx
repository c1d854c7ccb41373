"""A sender and a receiver that do what no QUIC stack can leave out, and nothing else.

A packet is a short header, a packet number and one STREAM frame, protected with AEAD and header
protection, built and read in batches, and carried by GSO and GRO.  The receiver answers each batch of
messages with one protected packet that says how far it has come: that is all the flow control there is.
There are no connections, streams, timers, acknowledgements, retransmissions or congestion control, and
what is lost stays lost.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cwt._core.crypto.aead cimport (
    AES_128_GCM_SHA256, Aead, HeaderProtection, Packet, SAMPLE_LENGTH, TAG_LENGTH, make_aead,
    make_header_protection,
)
from cwt._core.udp.socket cimport Received, UdpSocket

cdef enum:
    PACKET = 1200            # bytes of a full datagram
    CID = 8
    NUMBER = 4               # bytes of a packet number: enough that one never has to be guessed
    HEADER = 1 + CID + NUMBER
    FRAME = 1 + 1 + 8 + 2    # STREAM with offset and length: type, stream, offset, length
    PAYLOAD = PACKET - HEADER - FRAME - TAG_LENGTH
    CREDIT = HEADER + 8 + TAG_LENGTH
    BATCH = 54               # full packets in one GSO request
    BUFFER = BATCH * PACKET
    CHUNK = 65536            # the application's reads and writes
    BUDGET = 1 << 20         # bytes in one call of receive()
    STREAM = 0x0E            # with OFF and LEN bits (RFC 9000 Section 19.8)
    FIN = 0x01


cdef enum:
    VARINT_2 = 0x4000        # what marks a varint of two bytes (RFC 9000 Section 16)

cdef uint64_t VARINT_8 = <uint64_t>3 << 62


cdef inline void put(uint8_t* out, uint64_t value, int length) noexcept nogil:
    while length:
        length -= 1
        out[length] = <uint8_t>value
        value >>= 8


cdef inline uint64_t get(const uint8_t* data, int length) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(length):
        value = value << 8 | data[i]
    return value


@cython.final
cdef class Protection:
    """One key for each direction; both ends derive them from who is the client."""

    cdef Aead sealing, opening
    cdef HeaderProtection seal_masks, open_masks
    cdef uint8_t samples[BATCH * SAMPLE_LENGTH]
    cdef uint8_t masks[BATCH * SAMPLE_LENGTH]

    def __init__(self, bint is_client):
        cdef bytes write = bytes([1 + is_client] * 16), read = bytes([2 - is_client] * 16)
        self.sealing = make_aead(AES_128_GCM_SHA256, write, write[:12])
        self.opening = make_aead(AES_128_GCM_SHA256, read, read[:12])
        self.seal_masks = make_header_protection(AES_128_GCM_SHA256, write)
        self.open_masks = make_header_protection(AES_128_GCM_SHA256, read)

    cdef void start(self, uint8_t* out, uint64_t number) noexcept:
        out[0] = 0x40 | NUMBER - 1
        put(out + 1, 0, CID)
        put(out + 1 + CID, number, NUMBER)

    cdef void flip(self, uint8_t* data, const uint8_t* mask) noexcept:
        cdef int i
        data[0] ^= mask[0] & 0x1F
        for i in range(NUMBER):
            data[1 + CID + i] ^= mask[1 + i]

    cdef void sample(self, Packet* packets, size_t count) noexcept:
        cdef size_t i
        for i in range(count):
            memcpy(&self.samples[i * SAMPLE_LENGTH], packets[i].data + 1 + CID + 4, SAMPLE_LENGTH)

    cdef int seal(self, Packet* packets, size_t count) except -1:
        cdef size_t i
        self.sealing.seal(packets, count)
        self.sample(packets, count)
        self.seal_masks.mask(self.samples, self.masks, count)
        for i in range(count):
            self.flip(packets[i].data, &self.masks[i * SAMPLE_LENGTH])
        return 0

    cdef int open(self, Packet* packets, size_t count) except -1:
        cdef size_t i
        self.sample(packets, count)
        self.open_masks.mask(self.samples, self.masks, count)
        for i in range(count):
            self.flip(packets[i].data, &self.masks[i * SAMPLE_LENGTH])
            packets[i].number = get(packets[i].data + 1 + CID, NUMBER)
            packets[i].header_length = HEADER
        self.opening.open(packets, count)
        return 0

    cdef size_t split(
        self, uint8_t* data, size_t length, size_t size, Packet* packets
    ) except? 0:
        # Open up to BATCH datagrams of *size* bytes; the bytes that they were.
        cdef size_t count = 0, position = 0
        while position < length and count < BATCH:
            packets[count].data = data + position
            packets[count].length = <uint32_t>min(size, length - position)
            if packets[count].length < CREDIT:
                raise ValueError("a datagram that is none of ours")
            position += packets[count].length
            count += 1
        self.open(packets, count)
        return count


@cython.final
cdef class Sender:
    """Sends *total* bytes to *to*, at most *window* of them ahead of the receiver."""

    cdef UdpSocket socket
    cdef object to
    cdef Protection protection
    cdef bytes chunk
    cdef uint8_t buffer[BUFFER]
    cdef size_t held, held_from
    cdef readonly uint64_t total, window
    cdef readonly uint64_t offset, credited  # stream bytes sent, and those the receiver has seen
    cdef readonly uint64_t packets
    cdef bint finished

    def __init__(self, UdpSocket socket, tuple to, uint64_t total, uint64_t window):
        self.socket = socket
        self.to = to
        self.protection = Protection(True)
        self.chunk = bytes(CHUNK)
        self.total = total
        self.window = window

    @property
    def is_done(self):
        """Whether the receiver has seen everything."""
        return self.credited >= self.total

    def transmit(self):
        """Send what the window allows; False when the socket would block."""
        while self._flush():
            self.held = self._fill()
            self.held_from = 0
            if self.held == 0:
                return True
        return False

    def receive(self):
        """Take the receiver's credit."""
        cdef Packet packets[BATCH]
        cdef Received* message
        cdef size_t position, count
        cdef int i, messages
        while True:
            messages = self.socket.receive()
            if messages == 0:
                return
            for i in range(messages):
                message = self.socket.message(i)
                position = 0
                while position < message.length:
                    count = self.protection.split(
                        message.data + position, message.length - position, CREDIT, packets
                    )
                    position += count * CREDIT
                    self._credit(packets, count)

    cdef int _credit(self, Packet* packets, size_t count) except -1:
        cdef size_t i
        for i in range(count):
            if packets[i].ok:
                self.credited = max(self.credited, get(packets[i].data + HEADER, 8))
        return 0

    cdef bint _flush(self) except -1:
        if self.held == 0:
            return True
        if self.socket.send(
            self.buffer + self.held_from, self.held, PACKET, self.to, None, 0
        ):
            self.held = 0
            return True
        self.held_from += self.socket.sent
        self.held -= self.socket.sent
        return False

    cdef size_t _fill(self) except? 0:
        # One batch of packets; the bytes in it.
        cdef Packet packets[BATCH]
        cdef size_t count = 0, length, at
        cdef uint8_t* out
        while count < BATCH and not self.finished and self.offset < self.credited + self.window:
            out = self.buffer + count * PACKET
            length = min(<uint64_t>PAYLOAD, self.total - self.offset)
            self.finished = self.offset + length == self.total
            self.protection.start(out, self.packets)
            out[HEADER] = STREAM | (FIN if self.finished else 0)
            out[HEADER + 1] = 0
            put(out + HEADER + 2, self.offset | VARINT_8, 8)
            put(out + HEADER + 10, length | VARINT_2, 2)
            at = self.offset % CHUNK
            self._copy(out + HEADER + FRAME, at, length)
            packets[count].data = out
            packets[count].header_length = HEADER
            packets[count].length = HEADER + FRAME + length
            packets[count].number = self.packets
            self.offset += length
            self.packets += 1
            count += 1
        if count == 0:
            return 0
        self.protection.seal(packets, count)
        return (count - 1) * PACKET + packets[count - 1].length + TAG_LENGTH

    cdef void _copy(self, uint8_t* out, size_t at, size_t length) noexcept:
        # From the application's chunk, which is written again and again.
        cdef const uint8_t* chunk = <const uint8_t*>PyBytes_AS_STRING(self.chunk)
        cdef size_t first = min(length, CHUNK - at)
        memcpy(out, chunk + at, first)
        memcpy(out + first, chunk, length - first)


@cython.final
cdef class Receiver:
    """Takes in what a :class:`Sender` sends, and copies it into the application's buffer."""

    cdef UdpSocket socket
    cdef Protection protection
    cdef uint8_t chunk[CHUNK]
    cdef uint64_t number
    cdef readonly uint64_t received, offset, packets
    cdef readonly bint is_done               # the end of the stream was seen

    def __init__(self, UdpSocket socket):
        self.socket = socket
        self.protection = Protection(False)

    def receive(self):
        """Take what the socket has, up to about a millisecond of work; the bytes of it."""
        cdef Packet packets[BATCH]
        cdef Received* message
        cdef size_t position, count, total = 0
        cdef int i, messages
        while total < BUDGET:
            messages = self.socket.receive()
            if messages == 0:
                break
            for i in range(messages):
                message = self.socket.message(i)
                position = 0
                while position < message.length:
                    count = self.protection.split(
                        message.data + position, message.length - position, PACKET, packets
                    )
                    position += count * PACKET
                    self._read(packets, count)
                total += message.length
            self._credit(self.socket.source(0))
        return total

    cdef int _read(self, Packet* packets, size_t count) except -1:
        cdef size_t i, length, at, first
        cdef uint64_t offset
        cdef uint8_t* frame
        for i in range(count):
            if not packets[i].ok:
                continue
            frame = packets[i].data + HEADER
            offset = get(frame + 2, 8) & ~VARINT_8
            length = get(frame + 10, 2) & ~<uint64_t>VARINT_2
            if frame[0] & ~FIN != STREAM or HEADER + FRAME + length + TAG_LENGTH > packets[i].length:
                raise ValueError("not a packet of ours")
            at = offset % CHUNK
            first = min(length, CHUNK - at)
            memcpy(&self.chunk[at], frame + FRAME, first)
            memcpy(self.chunk, frame + FRAME + first, length - first)
            self.received += length
            self.offset = max(self.offset, offset + length)
            self.packets += 1
            if frame[0] & FIN:
                self.is_done = True
        return 0

    cdef int _credit(self, object to) except -1:
        # Like an ACK: it says how far this end has come.  Later ones make up for a lost one.
        cdef uint8_t out[CREDIT]
        cdef Packet packet
        self.protection.start(out, self.number)
        put(out + HEADER, self.offset, 8)
        packet.data = out
        packet.header_length = HEADER
        packet.length = HEADER + 8
        packet.number = self.number
        self.number += 1
        self.protection.seal(&packet, 1)
        self.socket.send(out, CREDIT, CREDIT, to, None, 0)
        return 0
