"""The paths of a connection: which is in use, and moves between them (RFC 9000 Section 9)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.idle cimport IdleTimer
from cwt._core.path cimport Path
from cwt._core.recovery.ack_frequency cimport AckFrequency
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.path cimport PathRecovery
from cwt._core.wire.frame cimport PacketBuilder
from cwt._core.wire.packet cimport Cid

cdef enum:
    MAX_PATHS = 4
    MAX_EVENTS = 16


cdef class Paths:
    # Components it tells of moves; the connection owns them.
    cdef LossRecovery recovery
    cdef AckFrequency ack_frequency
    cdef LocalIds local_ids
    cdef RemoteIds remote_ids
    cdef IdleTimer idle

    cdef object config
    cdef object random                       # callable: so many random bytes
    cdef bint is_client
    cdef readonly Path current
    cdef readonly Path previous              # validated, to fall back on; or None
    cdef list others                         # all but the one in use, oldest first; or None
    cdef Path reading                        # of the datagram being read, None for an unknown one
    cdef object source, destination          # of that datagram
    cdef size_t datagram_length              # of it
    cdef object seen_source, seen_destination  # addresses that led to seen
    cdef Path seen
    cdef object to, from_                    # of the datagrams written last
    cdef readonly bint busy                  # a path besides the one in use has something to send
    cdef readonly int64_t timer              # the earliest time of any path, 0 for never
    cdef uint8_t slots                       # given to paths so far, the newest of them
    cdef size_t datagram_size                # to begin with, on every path
    cdef size_t mtu_limit                    # of the search for larger ones, 0 for no search
    cdef object handshake_local, handshake_remote  # addresses of the handshake
    cdef object preferred                    # address that the server would have us use; or None
    cdef bint address_changed                # a client is known to be at another host, since this was asked
    cdef bint peer_stays                     # the peer asked us not to move
    cdef list events                         # PathEvent tuples, oldest first; or None
    cdef bint news                           # there are some since this was last looked at

    cdef PathMtu _new_mtu(self)
    cdef PathRecovery _new_recovery(self, int64_t initial_rtt)
    cdef list all(self)
    cdef bint knows(self, object remote) except -1
    cdef int set_mtu_limit(self, size_t limit) except -1
    cdef Path exactly(self, object remote, object local)
    cdef Path find(self, object remote, object local)
    cdef Path _look(self, object remote, object local)
    cdef int on_datagram(self, object remote, object local, size_t size) except -1
    cdef bint admits(self, uint64_t id) except -1
    cdef Path open(self, object local, object remote)
    cdef bint _make_room(self) except -1
    cdef PathRecovery _recovery_for(self, object local, object remote)
    cdef int _drop(self, Path path, object event) except -1
    cdef int _release(self, Path path) except -1
    cdef int validate(self, Path path) except -1
    cdef int use(self, Path path, int64_t now) except -1
    cdef int _retire_others(self, int64_t now) except -1
    cdef int on_packet(self, uint64_t id, bint moved, int64_t now) except -1
    cdef Path _open_reading(self)
    cdef int _follow(self, Path path, int64_t now) except -1
    cdef int _note_peer_id(self, Path path, uint64_t id) except -1
    cdef int on_path_challenge(self, bytes data) except -1
    cdef int on_path_response(self, bytes data, int64_t now) except -1
    cdef int on_ids_changed(self) except -1
    cdef int64_t _timeout(self) noexcept
    cdef int set_preferred(self, bytes value) except -1
    cdef int on_confirmed(self) except -1
    cdef Path try_path(self, object local, object remote)
    cdef int migrate(self, Path path, int64_t now) except -1
    cdef list stats(self)
    cdef int _note(self) except -1
    cdef bint on_timeout(self, int64_t now) except -1
    cdef bint _fail(self, Path path, int64_t now) except -1
    cdef bint wants_to_send(self) noexcept
    cdef bint write(self, Path path, PacketBuilder* p, int64_t now) except -1
    cdef Path due(self, int64_t now)
    cdef bint _get_cid(self, Path path) except -1
    cdef bint cid(self, Path path, Cid* cid) noexcept
    cdef int tell(self, object kind, Path path) except -1
    cdef int _push(self, object event) except -1
