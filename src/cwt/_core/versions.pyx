"""Which QUIC version a connection speaks (RFC 9368, RFC 9369)."""

cimport cython
from libc.stdint cimport uint32_t

from cwt._core.wire.packet cimport VERSION_1

from cwt._core.wire.params import TransportParameters
from cwt.errors import TransportError, TransportErrorCode


cdef uint32_t reserved_version(object random) except? 0:
    # One of those that exercise version negotiation (RFC 9000 Section 15).
    return <uint32_t>int.from_bytes(random(4), "big") & 0xF0F0F0F0 | 0x0A0A0A0A


@cython.final
cdef class Versions:
    """The version of the client's first flight, and what the two sides agree on.

    All versions that are spoken here are compatible with each other (RFC 9368 Section 2.2): a server may
    go on with any that the client offers.
    """

    def __init__(self, bint is_client, config, uint32_t version, random):
        self.is_client = is_client
        self.supported = config.versions
        self.original = self.chosen = version
        if config.grease:
            self.reserved = reserved_version(random)

    cdef tuple _information(self):
        # What the version_information parameter holds (Section 3).
        cdef tuple reserved = (self.reserved,) if self.reserved else ()
        return (self.chosen, *self.supported, *reserved)

    def client_parameters(self, params):
        """A client's *params* with its offer in them, encoded."""
        params.version_information = self._information()
        return params.encode()

    def expect(self, params):
        """Keep a server's *params* for ``server_parameters``."""
        self.own_params = params

    def server_parameters(self, bytes offered not None):
        """A server's parameters, encoded, in answer to the client's: here it chooses the version."""
        cdef tuple information = None
        params, self.own_params = self.own_params, None
        try:
            self.peer_params = TransportParameters.parse(offered, True)
            information = self.peer_params.version_information
        except TransportError:
            pass                             # whoever applies them will say what is wrong
        if information is not None and information[0] == self.original:
            self.chosen = self.select(information[1:]) or self.original
        params.version_information = self._information()
        return params.encode()

    cdef object take_peer_params(self):
        # The peer's parameters if they have been parsed already, or None.
        params, self.peer_params = self.peer_params, None
        return params

    cdef uint32_t select(self, versions) except? 0:
        # The one of ours that we like best among *versions*, 0 for none.
        for version in self.supported:
            if version in versions:
                return version
        return 0

    cdef bint may_move_to(self, uint32_t version) except -1:
        # Whether a server could have chosen *version* for a client that heard nothing of it yet.
        return self.is_client and self.chosen == self.original and version in self.supported

    cdef uint32_t react(self, list offered) except? 0:
        # The version for another attempt after a Version Negotiation packet, 0 for none (Section 2.1).
        cdef uint32_t version = self.select(offered)
        if version:
            self.reacted = True
            self.original = self.chosen = version
        return version

    cdef int check(self, params) except -1:
        # Whether the peer saw the same negotiation as we did (Section 4).
        cdef tuple information = params.version_information
        cdef bint right
        if not self.is_client:
            right = information is None or information[0] == self.original
        elif information is None:
            # Such a server speaks version 1 and nothing else (Section 8).
            right = self.chosen == self.original and (not self.reacted or self.chosen == VERSION_1)
        else:
            right = information[0] == self.chosen and (
                not self.reacted or self.select((self.chosen, *information[1:])) == self.original
            )
        if not right:
            raise TransportError(
                TransportErrorCode.VERSION_NEGOTIATION_ERROR,
                "the peer negotiated another version than this side: somebody may have interfered",
            )
        return 0
