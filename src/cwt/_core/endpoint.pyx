"""One UDP port: datagrams to connections (RFC 9000 Section 5.2)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import logging
from functools import partial

from cwt._core.connection cimport Connection, Host, nanoseconds
from cwt._core.stateless cimport Stateless
from cwt._core.recovery.controllers cimport new_controller
from cwt._core.timers cimport TimerHeap
from cwt._core.tokens cimport AddressTokens, INVALID, RETRY, UNKNOWN
from cwt._core.wire.packet cimport (
    Header, INITIAL, MIN_INITIAL_SIZE, MIN_RESET_SIZE, ONE_RTT, VERSION_NEGOTIATION, parse_header,
)

from cwt._types import SendInfo
from cwt.errors import ConfigError, TransportErrorCode

cdef enum:
    CID_LENGTH = 8


_RETRY = ("auto", "always", "never")

logger = logging.getLogger("cwt.endpoint")

cdef uint64_t _INTERNAL_ERROR = TransportErrorCode.INTERNAL_ERROR
cdef uint64_t _CONNECTION_REFUSED = TransportErrorCode.CONNECTION_REFUSED
cdef uint64_t _INVALID_TOKEN = TransportErrorCode.INVALID_TOKEN


@cython.final
cdef class Endpoint(Host):
    """Connections that share a UDP port.

    *tls*, when given, has ``handshake(transport_parameters)`` and makes this a server.  *random* gives so
    many random bytes.  *reset_key* makes stateless reset tokens (RFC 9000 Section 10.3), and must be kept
    to be useful after a restart.  *max_connections*, and *max_handshakes* of clients whose handshake is
    not complete, bound the memory of a flood: beyond them new clients are refused, or not answered.

    *retry* says when a client must prove its address with a Retry packet before it gets a connection
    (RFC 9000 Section 8.1.2): "always", "never", or "auto", while *max_unvalidated* handshakes or more are
    not complete.  *tokens* are those of Retry packets and NEW_TOKEN frames, *unix_time* tells their age.

    ``on_output``, when set, is called when there may be something to send where there was nothing before:
    whatever the cause, it is time to ``send``.
    """

    def __init__(
        self, config, *, random, tls=None, bytes reset_key=None,
        int max_connections=100_000, int max_handshakes=4096, int max_unvalidated=1024,
        str retry="auto", AddressTokens tokens=None, unix_time=None,
    ):
        Host.__init__(self, random)
        self.config = config
        new_controller(config, config.max_udp_payload_size)      # raises now what it would in a connection
        self.tls = tls
        self.stateless = Stateless(random, reset_key or random(32), config.versions, config.grease)
        self.max_connections = max_connections
        self.max_handshakes = max_handshakes
        if retry not in _RETRY:
            raise ConfigError(f'retry must be "auto", "always" or "never", not {retry!r}')
        self.retry_from = {"auto": max_unvalidated, "always": 0, "never": max_handshakes}[retry]
        self.tokens = tokens or AddressTokens(random=random)
        self.unix_time = unix_time
        self.handshaking = set()
        self.routes = {}
        self.reset_tokens = {}
        self.all = set()
        self.news = []
        self.sending = []
        self.timers = TimerHeap()
        self.accepting = True
        self.on_output = None

    @property
    def connections(self):
        """How many connections there are."""
        return len(self.all)

    # What connections tell

    cdef int wants_to_send(self, Connection connection) except -1:
        connection.send_listed = True
        if not self.sending and self.on_output is not None:
            self.on_output()
        self.sending.append(connection)
        return 0

    cdef int has_news(self, Connection connection) except -1:
        connection.news_listed = True
        self.news.append(connection)
        return 0

    cdef int routes_changed(self, Connection connection) except -1:
        if connection.local_ids.added is not None:
            for cid in connection.local_ids.added:
                self.routes[cid] = connection
            connection.local_ids.added = None
        if connection.local_ids.removed is not None:
            for cid in connection.local_ids.removed:
                self._unroute(cid, connection)
            connection.local_ids.removed = None
        if connection.reset_token is not connection.remote_ids.token:
            self._forget_token(connection)
            connection.reset_token = connection.remote_ids.token
            if connection.reset_token is not None:
                self.reset_tokens[connection.reset_token] = connection
        return 0

    cdef tuple new_connection_id(self):
        cid = self.random(CID_LENGTH)
        return cid, self.reset_token(cid)

    cdef bytes new_token(self, object remote, uint32_t version):
        return None if self.tls is None else self.tokens.new_token(remote, version, self._unix_time())

    cdef double _unix_time(self) except? -1:
        # Tests may do with the time of the connections.
        return self.now / 1e9 if self.unix_time is None else self.unix_time()

    def reset_token(self, bytes cid):
        """The stateless reset token of *cid* (RFC 9000 Section 10.3.2)."""
        return self.stateless.reset_token(cid)

    # Connections

    def connect(self, server_name, remote, tls, double now, *, local=None, config=None):
        """A client connection to *remote*; *tls* has ``handshake(server_name, transport_parameters)``."""
        cid, token = self.new_connection_id()
        connection = Connection(
            True, partial(tls.handshake, server_name), config or self.config, self, self.random,
            local, remote, cid, self.random(8), reset_token=token,
        )
        self._add(connection)
        self.wants_to_send(connection)
        return connection

    cdef int _add(self, Connection connection) except -1:
        self.all.add(connection)
        self.routes_changed(connection)
        return 0

    cdef int _forget(self, Connection connection) except -1:
        for cid in connection.local_ids.all():
            self._unroute(cid, connection)
        # What the client chose to begin with, or we for it in a Retry packet.
        self._unroute(connection.intake.retry_source or connection.intake.original_destination, connection)
        self._forget_token(connection)
        self.all.discard(connection)
        self.handshaking.discard(connection)
        self.timers.remove(connection)
        return 0

    cdef int _unroute(self, bytes cid, Connection connection) except -1:
        self.last = None
        if self.routes.get(cid) is connection:
            del self.routes[cid]
        return 0

    cdef int _forget_token(self, Connection connection) except -1:
        if self.reset_tokens.get(connection.reset_token) is connection:
            del self.reset_tokens[connection.reset_token]
        return 0

    # In, from the network

    def recv(self, datagram, info, double now):
        """Take a received *datagram*; *info* is a RecvInfo, *now* in seconds."""
        cdef bytearray copy = bytearray(memoryview(datagram))
        cdef uint8_t* data = copy
        self.receive(
            data, len(copy), len(copy), info.from_, info.to, info.ecn, nanoseconds(now)
        )

    cdef int receive(
        self, uint8_t* data, size_t length, size_t segment_size, object remote, object local,
        int ecn, int64_t now
    ) except -1:
        cdef Header header
        cdef Connection connection
        cdef size_t run, offset = 0, size
        self.now = now
        while offset < length:
            run = self._run(data + offset, length - offset, segment_size)
            size = min(segment_size, run)
            if parse_header(data + offset, size, CID_LENGTH, &header):
                connection = self._route(data + offset, size, &header)
                if connection is not None:
                    connection.receive(data + offset, run, segment_size, remote, local, ecn, now)
                    if connection.is_closed:
                        self._forget(connection)
                else:
                    run = size
                    self._unknown(data + offset, size, &header, remote, local, ecn, now)
            offset += run
        return 0

    cdef size_t _run(self, const uint8_t* data, size_t length, size_t segment_size) noexcept:
        # Bytes of the datagrams at the front that are for the same connection ID.
        cdef size_t end = segment_size
        if length <= segment_size or data[0] & 0x80 or segment_size < 1 + CID_LENGTH:
            return min(segment_size, length)
        while end + 1 + CID_LENGTH <= length and not data[end] & 0x80 and (
            memcmp(data + 1, data + end + 1, CID_LENGTH) == 0
        ):
            end += segment_size
        return min(end, length)

    cdef Connection _route(self, const uint8_t* data, size_t length, Header* header):
        cdef object found
        if header.dcid_length != CID_LENGTH:
            return self.routes.get(header.dcid[:header.dcid_length])
        if self.last is not None and memcmp(self.last_id, header.dcid, CID_LENGTH) == 0:
            return self.last
        found = self.routes.get(header.dcid[:CID_LENGTH])
        if found is not None:
            memcpy(self.last_id, header.dcid, CID_LENGTH)
            self.last = <Connection>found
        return found

    cdef int _unknown(
        self, uint8_t* data, size_t length, Header* header, object remote, object local, int ecn, int64_t now
    ) except -1:
        if not data[0] & 0x40 and not self.config.grease and header.type != VERSION_NEGOTIATION and (
            header.version == 0 or header.version in self.config.versions
        ):
            return 0                             # not a packet of a version that is spoken here
        if header.type == ONE_RTT:
            return self._short_unknown(data, length, remote, local, now)
        if self.tls is None or header.type == VERSION_NEGOTIATION or length < MIN_INITIAL_SIZE:
            return 0
        if header.version not in self.config.versions:
            return self.stateless.offer_versions(header, remote, local)
        if header.type == INITIAL and header.dcid_length >= 8:
            self._accept(data, length, header, remote, local, ecn, now)
        return 0

    cdef int _accept(
        self, uint8_t* data, size_t length, Header* header, object remote, object local, int ecn, int64_t now
    ) except -1:
        # A client's first Initial packet, or its first one after a Retry.
        cdef bytes dcid = header.dcid[:header.dcid_length], token = header.token[:header.token_length], original
        cdef int kind = UNKNOWN
        if not self.accepting or len(self.all) >= self.max_connections:
            return self.stateless.refuse(header, _CONNECTION_REFUSED, remote, local, now)
        if len(self.handshaking) >= self.max_handshakes:
            return 0
        if token:
            kind, original = self.tokens.open(token, remote, dcid, header.version, self._unix_time())
        if kind == INVALID:
            return self.stateless.refuse(header, _INVALID_TOKEN, remote, local, now)
        if kind == UNKNOWN and len(self.handshaking) >= self.retry_from:
            return self._retry(header, dcid, remote, local)
        if self._open(
            data, length, header, dcid, original if kind == RETRY else dcid,
            dcid if kind == RETRY else None, kind != UNKNOWN, remote, local, ecn, now,
        ) and kind != UNKNOWN:
            self.tokens.spend(token, self._unix_time())
        return 0

    cdef int _retry(self, Header* header, bytes dcid, object remote, object local) except -1:
        cdef bytes cid = self.random(CID_LENGTH)
        return self.stateless.retry(
            header, cid, self.tokens.retry_token(remote, dcid, cid, header.version, self._unix_time()),
            remote, local,
        )

    cdef bint _open(
        self, uint8_t* data, size_t length, Header* header, bytes dcid, bytes original, bytes retry_source,
        bint validated, object remote, object local, int ecn, int64_t now
    ) except -1:
        # A connection for the client, if there is anything authentic in its datagram.
        cdef Connection connection
        cid, reset_token = self.new_connection_id()
        try:
            connection = Connection(
                False, self.tls.handshake, self.config, self, self.random, local, remote, cid,
                header.scid[:header.scid_length], original_destination=original, retry_source=retry_source,
                reset_token=reset_token, address_validated=validated, version=header.version,
            )
        except Exception:
            # Of what the application had its part in making; other connections go on.
            logger.exception("no connection for %s: internal error", remote)
            self.stateless.refuse(header, _INTERNAL_ERROR, remote, local, now)
            return False
        connection.send_listed = True            # not in any list before it proves to be one
        connection.news_listed = True
        connection.receive(data, length, length, remote, local, ecn, now)
        connection.send_listed = False
        connection.news_listed = False
        if connection.packets_received == 0:
            self._forget(connection)
            return False
        self._add(connection)
        self.routes[dcid] = connection
        self.handshaking.add(connection)
        self.wants_to_send(connection)
        self.has_news(connection)
        return True

    cdef int _short_unknown(
        self, const uint8_t* data, size_t length, object remote, object local, int64_t now
    ) except -1:
        # A stateless reset has a connection ID of chance; its token says what it is about.
        cdef Connection connection
        if length >= MIN_RESET_SIZE and self.reset_tokens:
            connection = self.reset_tokens.get(data[length - 16:length])
            if connection is not None:
                return connection.take_reset(now)
        return self.stateless.reset(data, length, CID_LENGTH, remote, local, now)

    # Out

    def ready(self):
        """The connections with news since the last call: new, established, readable, writable, closed."""
        cdef Connection connection
        cdef list ready
        if not self.news:
            return []
        ready, self.news = self.news, []
        for connection in ready:
            connection.news_listed = False
            if connection.is_established and self.handshaking:
                self.handshaking.discard(connection)
            if connection.is_closed:
                self._forget(connection)
        return ready

    def send(self, double now):
        """The next datagram as ``(bytes, SendInfo)``, or None: for use without a Pump."""
        cdef Connection connection
        if self.stateless.queue:
            data, to, from_ = self.stateless.queue.pop(0)
            return data, SendInfo(to, from_, now)
        while self.sending:
            connection = self.sending[0]
            out = connection.send(now)
            if out is not None:
                self.written += 1
                return out
            self.sending.pop(0)
            connection.send_listed = False
            self.arm(connection, nanoseconds(now))
        return None

    cdef int arm(self, Connection connection, int64_t now) except -1:
        if connection.is_closed:
            return self._forget(connection)
        return self.timers.set(connection, connection.next_timeout(now))

    def timeout(self, double now):
        """Seconds until ``on_timeout`` is due; 0 when there is something to send; None for never."""
        cdef int64_t at = self.timers.first()
        if self.sending or self.stateless.queue:
            return 0.0
        return max(at / 1e9 - now, 0.0) if at else None

    def on_timeout(self, double now):
        """Time has passed: deal with every timer that is due at *now* seconds."""
        cdef int64_t time = nanoseconds(now)
        cdef Connection connection = self.timers.due(time)
        while connection is not None:
            connection.timeout_at(time)
            self.timers.set(connection, 0)       # armed again when it has sent what it may
            if not connection.send_listed:
                self.wants_to_send(connection)
            connection = self.timers.due(time)

    def close_all(self, uint64_t code=0, str reason="", bint app=True):
        """Close every connection."""
        cdef Connection connection
        for connection in list(self.all):
            connection.close(code, reason, app)
