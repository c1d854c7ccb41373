"""The batched, non-blocking UDP socket: GSO, GRO, sendmmsg, ECN and local addresses.

What the kernel lacks is found out at run time and replaced: GSO by sendmmsg, sendmmsg by sendmsg, GRO by
recvmmsg, recvmmsg by recvmsg. ``CWT_GSO=0``, ``CWT_GRO=0`` and ``CWT_MMSG=0`` in the environment do the
same when a socket is bound, for tests and for hosts whose offloads misbehave.

System calls keep the GIL: none of them waits, each takes microseconds, and a busy thread that got it in
between would keep it for its interval of 5 ms.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EAGAIN, EBADF, EFAULT, EINTR, EINVAL, EIO, ENOSYS, ENOTSOCK, EPERM
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)

from cwt._core.udp.system cimport (
    AF_INET, AF_INET6, CWT_LINUX, INET6_ADDRSTRLEN, Message, Peer, Request, cwt_set_gro,
    cwt_has_gso, cwt_recvmmsg, cwt_recvmsg, cwt_send_requests, cwt_sendmmsg, cwt_sendmsg, cwt_set_options, cwt_set_v4,
    cwt_set_v6, if_nametoindex, inet_ntop, inet_pton,
)

import os
import socket as _sockets
from typing import NamedTuple

cdef enum:
    SLOTS_GRO = 8            # each message then holds many datagrams
    SLOTS = 32
    SLOT_LENGTH = 65536
    CACHED = 64              # addresses remembered in each direction; a power of two
    MAX_GSO_SEGMENTS = 64    # all kernels since 4.18 take as many
    MAX_GSO_LENGTH = 65507   # UDP payload of the largest IPv4 packet
    BUFFER_LENGTH = 4 << 20
    STAGED = 32              # requests that may wait for one system call
    MAX_ERRORS = 16          # transient errors in a row after which the loop gets its turn

# Fills the cache of addresses: no caller can pass it.
cdef object _NOTHING = object()

cdef struct State:
    Message[SLOTS] messages
    Peer[CACHED] sources
    Peer[CACHED] targets
    Peer destination
    Peer to
    Peer from_
    Request[STAGED] requests
    int slots
    uint8_t* buffers


class Datagram(NamedTuple):
    """A received datagram as :meth:`UdpSocket.recv_all` gives it."""

    data: bytes
    source: tuple
    destination: tuple
    ecn: int


class Counters(NamedTuple):
    """What a socket has done; bytes are UDP payload, calls are system calls."""

    datagrams_received: int
    bytes_received: int
    receive_calls: int
    receive_errors: int
    datagrams_sent: int
    bytes_sent: int
    send_calls: int
    send_errors: int
    send_blocked: int
    last_error: int


cdef bint allowed(str name) except -1:
    return os.environ.get(name, "") != "0"


cdef tuple address_of(const Peer* peer):
    # (host, port), with the interface of a link-local address behind "%" (RFC 4007 Section 11).
    cdef char[INET6_ADDRSTRLEN] text
    cdef str host
    if not peer.family or inet_ntop(peer.family, peer.address, text, INET6_ADDRSTRLEN) == NULL:
        return ("", peer.port)
    host = text.decode("ascii")
    return (f"{host}%{peer.scope}" if peer.scope else host, peer.port)


cdef int parse_address(object address, Peer* peer) except -1:
    # A (host, port[, flow, scope]) tuple with an IP address as host; ValueError otherwise.
    cdef uint8_t[16] binary
    cdef uint32_t scope = 0
    cdef bytes text
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise ValueError(f"an address is (host, port), not {address!r}")
    host, port = address[0], address[1]
    if not isinstance(host, str) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"an address is (host, port), not {address!r}")
    if len(address) == 4:
        scope = address[3]
    host, _, zone = host.partition("%")
    if zone:
        scope = int(zone) if zone.isdecimal() else if_nametoindex(zone.encode())
    text = host.encode() if "\0" not in host else b""
    memset(peer, 0, sizeof(Peer))
    if inet_pton(AF_INET, text, binary) == 1:
        cwt_set_v4(peer, binary)
    elif inet_pton(AF_INET6, text, binary) == 1:
        cwt_set_v6(peer, binary, scope)
    else:
        raise ValueError(f"{address[0]!r} is not an IP address; resolve the name first")
    peer.port = <uint16_t>port
    return 0


cdef bint is_wildcard(const Peer* peer) noexcept:
    cdef int i
    for i in range(16):
        if peer.address[i]:
            return False
    return True


cdef bint is_fatal(int error) noexcept:
    # Everything else is the network's doing, or of one datagram: loss, as far as QUIC is concerned.
    return error == EBADF or error == ENOTSOCK or error == EFAULT


cdef int look_up(UdpSocket self, object address, Peer* peer) except -1:
    # Addresses are parsed once for as long as callers keep passing the same tuple.
    cdef size_t slot = (<uintptr_t><void*>address >> 4) & (CACHED - 1)
    if self.targets[slot] is not address:
        parse_address(address, peer)
        self.targets[slot] = address
        self.state.targets[slot] = peer[0]
    else:
        peer[0] = self.state.targets[slot]
    return 0


cdef int look_up_both(
    UdpSocket self, object to, object source, Peer* to_peer, Peer* source_peer
) except -1:
    if self.fd < 0:
        self.fail(EBADF)
    look_up(self, to, to_peer)
    source_peer.family = 0
    if source is not None:
        look_up(self, source, source_peer)
        if is_wildcard(source_peer):
            source_peer.family = 0
    return 0


@cython.final
cdef class UdpSocket:
    """A non-blocking UDP socket that sends and receives in batches.

    ``gso`` and ``gro`` tell whether segmentation offload is used now for sending and receiving, ``mmsg``
    whether several messages are moved by one system call; ``local_address`` is the ``(host, port)`` it is bound to.
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self):
        raise TypeError("use UdpSocket.bind(host, port)")

    def __dealloc__(self):
        if self.state != NULL:
            if self.state.buffers != NULL:
                munmap(self.state.buffers, <size_t>self.state.slots * SLOT_LENGTH)
            free(self.state)

    @classmethod
    def bind(
        cls, str host="::", int port=0, bint reuse_port=False, *, bint gso=True, bint gro=True, bint mmsg=True
    ):
        """A socket bound to the IP address *host* and *port* (0: any free one).

        ``"::"`` takes IPv4 as well, and shows IPv4 peers as such. With *reuse_port* several processes share
        the port. *gso*, *gro* and *mmsg* False do without that, as if the system had it not. OSError when
        the address cannot be bound, ValueError when *host* is not an IP address.
        """
        cdef UdpSocket self = UdpSocket.__new__(UdpSocket)
        cdef Peer peer
        parse_address((host, port), &peer)
        self.family = AF_INET6 if ":" in host else AF_INET
        name = (host, port)
        if self.family == AF_INET6:
            name = (host.partition("%")[0], port, 0, peer.scope)
        self._socket = _sockets.socket(self.family, _sockets.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if self.family == AF_INET6:
                v6_only = peer.family == AF_INET6 and not is_wildcard(&peer)
                self._socket.setsockopt(_sockets.IPPROTO_IPV6, _sockets.IPV6_V6ONLY, v6_only)
            if reuse_port:
                self._socket.setsockopt(_sockets.SOL_SOCKET, _sockets.SO_REUSEPORT, 1)
            for option in (_sockets.SO_RCVBUF, _sockets.SO_SNDBUF):
                try:
                    self._socket.setsockopt(_sockets.SOL_SOCKET, option, BUFFER_LENGTH)
                except OSError:
                    pass  # some systems refuse more than their maximum, and keep what there is
            self._socket.bind(name)
            self.fd = self._socket.fileno()
            self.prepare(gso, gro, mmsg)
        except BaseException:
            self._socket.close()
            self.fd = -1
            raise
        return self

    cdef int prepare(self, bint gso, bint gro, bint mmsg) except -1:
        cdef int i
        cdef void* pages
        cwt_set_options(self.fd, self.family)
        self.mmsg = mmsg and CWT_LINUX and allowed("CWT_MMSG")
        self.gso = gso and allowed("CWT_GSO") and cwt_has_gso(self.fd)
        self.gro = gro and allowed("CWT_GRO") and cwt_set_gro(self.fd, 1)
        self.state = <State*>calloc(1, sizeof(State))
        if self.state == NULL:
            raise MemoryError
        self.state.slots = SLOTS_GRO if self.gro else SLOTS
        # Fresh pages that no datagram is written to cost no memory; malloc would hand out used ones.
        pages = mmap(
            NULL, <size_t>self.state.slots * SLOT_LENGTH, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
        )
        if pages == MAP_FAILED:
            raise MemoryError
        self.state.buffers = <uint8_t*>pages
        for i in range(self.state.slots):
            self.state.messages[i].data = self.state.buffers + <size_t>i * SLOT_LENGTH
        self.sources = [None] * CACHED
        self.targets = [_NOTHING] * CACHED
        parse_address(self._socket.getsockname(), &self.state.to)
        self.local_address = address_of(&self.state.to)
        return 0

    cdef int receive(self) except -1:
        cdef int result, _
        cdef State* state = self.state
        self.count = 0
        for _ in range(MAX_ERRORS):
            self.receive_calls += 1
            if self.mmsg:
                result = cwt_recvmmsg(self.fd, state.messages, state.slots, SLOT_LENGTH)
                if result == -ENOSYS or result == -EPERM:
                    self.mmsg = False
                    continue
            else:
                result = cwt_recvmsg(self.fd, &state.messages[0], SLOT_LENGTH)
                while 0 < result < state.slots:
                    self.receive_calls += 1
                    if cwt_recvmsg(self.fd, &state.messages[result], SLOT_LENGTH) != 1:
                        break  # if it was an error, the next call will see whether it lasts
                    result += 1
            self.drained = result < state.slots
            if result > 0:
                self.keep(result)
                if self.count:
                    return self.count
            elif result == -EAGAIN:
                return 0
            elif is_fatal(-result):
                self.fail(-result)
            else:
                self.receive_errors += 1
                self.last_error = -result
        return 0

    cdef void keep(self, int count) noexcept:
        # Messages that did not fit are useless: QUIC cannot open half a packet.
        cdef State* state = self.state
        cdef Message spare
        cdef Message* message
        cdef int i
        for i in range(count):
            message = &state.messages[i]
            if message.truncated or not message.source.family:
                self.receive_errors += 1
                continue
            self.datagrams_received += 1 if not message.segment_size else (
                (message.length + message.segment_size - 1) // message.segment_size
            )
            self.bytes_received += message.length
            if i != self.count:
                spare = state.messages[self.count]
                state.messages[self.count] = message[0]
                message[0] = spare
            self.count += 1

    cdef Received* message(self, int i) noexcept:
        return <Received*>&self.state.messages[i] if 0 <= i < self.count else NULL

    cdef tuple source(self, int i):
        """The peer's ``(host, port)``: the same tuple for the same peer while it is remembered."""
        cdef const Peer* peer
        cdef size_t slot
        cdef tuple address
        if not 0 <= i < self.count:
            raise IndexError(i)
        peer = &self.state.messages[i].source
        slot = (
            peer.port ^ peer.address[3] ^ <size_t>peer.address[2] << 3 ^ peer.address[15]
            ^ <size_t>peer.address[7] << 2
        ) & (CACHED - 1)
        if self.sources[slot] is not None and (
            memcmp(&self.state.sources[slot], peer, sizeof(Peer)) == 0
        ):
            return self.sources[slot]
        address = address_of(peer)
        self.state.sources[slot] = peer[0]
        self.sources[slot] = address
        return address

    cdef tuple destination(self, int i):
        """The local ``(host, port)`` the message was sent to."""
        cdef const Peer* peer
        if not 0 <= i < self.count:
            raise IndexError(i)
        peer = &self.state.messages[i].destination
        if not peer.family:
            return self.local_address
        if self.last_destination is None or (
            memcmp(&self.state.destination, peer, sizeof(Peer)) != 0
        ):
            self.state.destination = peer[0]
            self.last_destination = (address_of(peer)[0], self.local_address[1])
        return self.last_destination

    cdef int send(
        self, const uint8_t* data, size_t length, size_t segment_size, object to, object source,
        int ecn
    ) except -2:
        look_up_both(self, to, source, &self.state.to, &self.state.from_)
        return self.hand_over(data, length, segment_size, ecn)

    cdef int hand_over(
        self, const uint8_t* data, size_t length, size_t segment_size, int ecn
    ) except -2:
        # send(), to and from the addresses in the state.
        cdef int result = 1
        cdef bint offload
        self.sent = 0
        if not segment_size or segment_size > length:
            segment_size = length
        while self.sent < length and result == 1:
            offload = self.gso and 2 * segment_size <= MAX_GSO_LENGTH
            if offload and length - self.sent > segment_size:
                result = self.send_offload(data + self.sent, length - self.sent, segment_size, ecn)
            else:
                result = self.send_plain(data + self.sent, length - self.sent, segment_size, ecn)
        if result < 0:
            self.fail(self.last_error)
        return result

    cdef bint can_stage(self) noexcept:
        return self.staged < STAGED

    cdef int stage(
        self, const uint8_t* data, size_t length, size_t segment_size, object to, object source,
        int ecn
    ) except -1:
        cdef Request* request = &self.state.requests[self.staged]
        look_up_both(self, to, source, &request.to, &request.from_)
        request.data = data
        request.length = length
        request.segment_size = segment_size if segment_size < length else 0
        request.ecn = ecn
        self.staged += 1
        return 0

    cdef int flush(self) except -2:
        cdef Request* request
        cdef int result, count
        while self.first < self.staged:
            count = self.sendable()
            if count > 1:
                self.send_calls += 1
                result = cwt_send_requests(
                    self.fd, self.family, &self.state.requests[self.first], count
                )
                if result > 0:
                    for count in range(result):
                        request = &self.state.requests[self.first + count]
                        self.bytes_sent += request.length
                        self.datagrams_sent += 1 if not request.segment_size else (
                            (request.length + request.segment_size - 1) // request.segment_size
                        )
                    self.first += result
                    continue
                if result == -EAGAIN:
                    return self.not_sent(EAGAIN, 0)
                if result == -ENOSYS:
                    self.mmsg = False
            # One by one: what goes wrong is about the first.
            request = &self.state.requests[self.first]
            self.state.to = request.to
            self.state.from_ = request.from_
            try:
                result = self.hand_over(
                    request.data, request.length, request.segment_size, request.ecn
                )
            except OSError:
                self.first = self.staged = 0
                raise
            if result == 0:
                request.data += self.sent
                request.length -= self.sent
                return 0
            self.first += 1
        self.first = self.staged = 0
        return 1

    cdef int sendable(self) noexcept:
        # How many requests from the first on the kernel takes as they are.
        cdef const Request* request
        cdef int i
        if not self.mmsg:
            return 0
        for i in range(self.first, self.staged):
            request = &self.state.requests[i]
            if request.segment_size and (
                not self.gso or request.length > MAX_GSO_LENGTH
                or request.length > MAX_GSO_SEGMENTS * request.segment_size
            ):
                return i - self.first
        return self.staged - self.first

    cdef int send_offload(
        self, const uint8_t* data, size_t length, size_t segment_size, int ecn
    ) noexcept:
        # One GSO request: 1 when done with it, 0 when it would block, -1 on a fatal error.
        cdef size_t most = min(<size_t>MAX_GSO_SEGMENTS, MAX_GSO_LENGTH // segment_size)
        cdef int result
        cdef uint64_t errors
        cdef size_t end
        length = min(length, most * segment_size)
        self.send_calls += 1
        result = cwt_sendmsg(
            self.fd, self.family, &self.state.to, &self.state.from_, ecn, data, length, segment_size
        )
        if result == 1:
            self.datagrams_sent += (length + segment_size - 1) // segment_size
            self.bytes_sent += length
            self.sent += length
            return 1
        if result != -EINVAL and result != -EIO:
            return self.not_sent(-result, length)
        # The device or the kernel may not do it. Only if it works without is GSO to blame.
        errors = self.send_errors
        end = self.sent + length
        result = 1
        while self.sent < end and result == 1:
            result = self.send_plain(data, length, segment_size, ecn)
            data += length - (end - self.sent)
            length = end - self.sent
        if self.send_errors == errors and result >= 0:
            self.gso = False
        return result

    cdef int send_plain(
        self, const uint8_t* data, size_t length, size_t segment_size, int ecn
    ) noexcept:
        # Some of the datagrams, each a message of its own: results as of send_offload().
        cdef int result
        cdef size_t taken
        self.send_calls += 1
        if self.mmsg and length > segment_size:
            result = cwt_sendmmsg(
                self.fd, self.family, &self.state.to, &self.state.from_, ecn, data, length,
                segment_size,
            )
            if result == -ENOSYS or result == 0:
                self.mmsg = False
                return 1
        else:
            result = cwt_sendmsg(
                self.fd, self.family, &self.state.to, &self.state.from_, ecn, data,
                min(length, segment_size), 0,
            )
        if result <= 0:
            return self.not_sent(-result, min(length, segment_size))
        taken = min(length, <size_t>result * segment_size)
        self.datagrams_sent += result
        self.bytes_sent += taken
        self.sent += taken
        return 1

    cdef int not_sent(self, int error, size_t length) noexcept:
        if error == EAGAIN:
            self.send_blocked += 1
            return 0
        if error == EINTR:
            return 1
        self.send_errors += 1
        self.last_error = error
        if is_fatal(error):
            return -1
        self.sent += length
        return 1

    cdef int fail(self, int error) except -1:
        if self.fd < 0:
            raise OSError(EBADF, "the UDP socket is closed")
        raise OSError(error, os.strerror(error))

    def recv_all(self):
        """Every datagram that waits now, as a list of :class:`Datagram`; OSError on a broken socket."""
        cdef Received* message
        cdef size_t start
        cdef int i
        datagrams = []
        while self.receive():
            for i in range(self.count):
                message = self.message(i)
                for start in range(0, message.length or 1, message.segment_size or 1):
                    size = min(message.segment_size, message.length - start)
                    datagrams.append(Datagram(
                        message.data[start:start + size], self.source(i), self.destination(i),
                        message.ecn,
                    ))
        return datagrams

    def sendto(self, data, to, *, size_t segment_size=0, from_=None, int ecn=0):
        """Send *data* to the ``(host, port)`` *to*, split into datagrams of *segment_size* bytes (0: one).

        False when it would block; ``sent`` is then the bytes handed over. Network errors are counted, not
        raised. *from_* chooses the local address, *ecn* is the codepoint 0 to 3. ValueError for an address
        that is none, OSError on a broken socket.
        """
        cdef Py_buffer view
        if not 0 <= ecn <= 3:
            raise ValueError(f"an ECN codepoint is 0 to 3, not {ecn}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.send(<const uint8_t*>view.buf, view.len, segment_size, to, from_, ecn) == 1
        finally:
            PyBuffer_Release(&view)

    def plain(self):
        """The socket as the standard library has it, for those who move datagrams one by one.

        It gives no merged datagrams from now on; this object still closes it.
        """
        if self.gro:
            cwt_set_gro(self.fd, 0)
            self.gro = False
        return self._socket

    def fileno(self):
        """The file descriptor, -1 once closed."""
        return self.fd

    def close(self):
        """Close the socket; doing it again is harmless."""
        self.fd = -1
        self.count = 0
        if self._socket is not None:
            self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def receive_buffer(self):
        """Bytes of kernel memory for datagrams that wait to be received (SO_RCVBUF as it says)."""
        return self._socket.getsockopt(_sockets.SOL_SOCKET, _sockets.SO_RCVBUF)

    @property
    def send_buffer(self):
        """Bytes of kernel memory for datagrams that wait to be sent (SO_SNDBUF as it says)."""
        return self._socket.getsockopt(_sockets.SOL_SOCKET, _sockets.SO_SNDBUF)

    @property
    def counters(self):
        """What the socket has done so far, as :class:`Counters`."""
        return Counters(
            self.datagrams_received, self.bytes_received, self.receive_calls, self.receive_errors,
            self.datagrams_sent, self.bytes_sent, self.send_calls, self.send_errors,
            self.send_blocked, self.last_error,
        )

    def __repr__(self):
        if self.fd < 0:
            return "<UdpSocket closed>"
        host, port = self.local_address
        return f"<UdpSocket {host} port {port} gso={bool(self.gso)} gro={bool(self.gro)}>"
