"""The server's side of the handshake (RFC 8446 Section 4)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

from cwt.tls import compression, groups, signatures
from cwt.tls.alerts import PROTOCOL_VIOLATION, Alert, AlertDescription
from cwt.tls.codec import vector
from cwt.tls.handshake import Handler, Handshake, Level, ParametersSource
from cwt.tls.key_schedule import KeySchedule, same_hash, ticket_psk
from cwt.tls.messages import (
    TLS_1_3,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    HandshakeType,
    HelloRetryRequest,
    NewSessionTicket,
    ServerHello,
)
from cwt.tls.public_keys import CertificateType
from cwt.tls.tickets import TICKET_LIFETIME, TicketKeys, TicketState

if TYPE_CHECKING:
    from cwt.tls.context import ServerContext
    from cwt.tls.identity import Identity

__all__ = ["ServerHandshake"]

_PSK_DHE_KE = 1
"""The mode of RFC 8446 Section 4.2.9 that exchanges keys, too: the only one here."""

_MAX_EARLY_DATA = 0xFFFFFFFF
"""max_early_data_size in QUIC, where flow control sets the limit (RFC 9001 Section 4.6.1)."""

_MAX_IDENTITIES = 4
"""Tickets of a ClientHello that are tried."""


class ServerHandshake(Handshake):
    """A handshake as server::

    ClientHello -> [HelloRetryRequest <- ClientHello ->]
                   ServerHello  EncryptedExtensions  [CertificateRequest]
                   Certificate  CertificateVerify  Finished
    [Certificate  CertificateVerify]  Finished
    """

    __slots__ = (
        "_client_authenticated",
        "_client_handshake_secret",
        "_context",
        "_first_hello",
        "_identities",
        "_parameters_source",
        "_requested",
        "_selected_psk",
        "_transport_parameters",
        "_wants_ticket",
    )

    is_client = False

    def __init__(
        self, context: ServerContext, transport_parameters: bytes | ParametersSource
    ) -> None:
        super().__init__(context.keylog)
        self._context = context
        self._parameters_source: ParametersSource | None = None
        self._transport_parameters = b""
        if isinstance(transport_parameters, bytes):
            self._transport_parameters = transport_parameters
        else:
            self._parameters_source = transport_parameters
        self._first_hello: ClientHello | None = None
        self._selected_psk: int | None = None
        self._wants_ticket = False
        self._identities: tuple[Identity, ...] = ()
        self._requested = False
        self._client_authenticated = 0
        """When the client of a session that is resumed showed its certificate (Unix time in seconds)."""
        self._client_handshake_secret = b""
        self._expected = (HandshakeType.CLIENT_HELLO,)

    def _on_client_hello(self, body: bytes, message: bytes) -> None:
        hello = ClientHello.parse(body)
        if self._first_hello is None:
            self._negotiate(hello)
        else:
            self._check_second_hello(self._first_hello, hello)
        share = self._choose_share(hello)
        if share is None:
            self._schedule.add(message)
            self._send_retry(hello)
            return
        ticket = self._resume(hello, message)
        self._schedule.add(message)
        if hello.early_data:
            self._decide_early_data(hello, ticket)
        self.group = share[0]
        self._send_flight(hello, *groups.respond(*share))

    # Negotiation.

    def _negotiate(self, hello: ClientHello) -> None:
        """Everything that the first ClientHello decides, except for the group."""
        self._check_hello(hello)
        self._client_random = hello.random
        self.server_name = hello.server_name
        self.peer_transport_parameters = hello.transport_parameters
        for protocol in self._context.alpn:
            if hello.alpn is not None and protocol in hello.alpn:
                self.alpn = protocol
                break
        else:
            raise Alert(
                AlertDescription.NO_APPLICATION_PROTOCOL,
                "the client offers none of our application protocols",
            )
        for cipher_suite in self._context.cipher_suites:
            if cipher_suite in hello.cipher_suites:
                self.cipher_suite = cipher_suite
                break
        else:
            raise Alert(AlertDescription.HANDSHAKE_FAILURE, "no cipher suite in common")
        self._schedule = KeySchedule(self.cipher_suite)
        if self._parameters_source is not None:
            self._transport_parameters = self._parameters_source(hello.transport_parameters or b"")
            self._parameters_source = None
        # Also for a session that will be resumed: a name can be refused.
        self._identities = self._context.credentials.for_name(self.server_name)

    def _check_hello(self, hello: ClientHello) -> None:
        if hello.supported_versions is None or TLS_1_3 not in hello.supported_versions:
            raise Alert(AlertDescription.PROTOCOL_VERSION, "the client does not offer TLS 1.3")
        if hello.session_id:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "the client asks for the compatibility mode that QUIC forbids",
                transport_code=PROTOCOL_VIOLATION,  # RFC 9001 Section 8.4
            )
        if hello.compression_methods != b"\0":
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "the client offers compression")
        if hello.transport_parameters is None:
            raise Alert(
                AlertDescription.MISSING_EXTENSION, "the client sent no quic_transport_parameters"
            )
        for name in ("supported_groups", "key_shares", "signature_algorithms"):
            if getattr(hello, name) is None:
                raise Alert(AlertDescription.MISSING_EXTENSION, f"ClientHello has no {name}")
        if hello.cookie is not None:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "the client made up a cookie")

    def _check_second_hello(self, first: ClientHello, second: ClientHello) -> None:
        """After HelloRetryRequest only the key shares may differ (RFC 8446 Section 4.1.2)."""
        self._check_hello(second)
        if second.early_data:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER, "the retried ClientHello has early_data"
            )
        for name in (
            "random",
            "cipher_suites",
            "server_name",
            "supported_versions",
            "supported_groups",
            "signature_algorithms",
            "alpn",
            "client_certificate_types",
            "server_certificate_types",
            "certificate_compression",
            "transport_parameters",
        ):
            if getattr(first, name) != getattr(second, name):
                raise Alert(
                    AlertDescription.ILLEGAL_PARAMETER,
                    f"{name} changed between the ClientHello and the retried one",
                )
        if [group for group, _ in second.key_shares or ()] != [self.group]:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "the retried ClientHello does not have the one key share it was asked for",
            )

    def _choose_share(self, hello: ClientHello) -> tuple[int, bytes] | None:
        """The client's share to use: of the groups that need no further round trip, our best."""
        shares = dict(hello.key_shares or ())
        if not shares.keys() <= set(hello.supported_groups or ()):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "the client sent a key share for a group it does not offer",
            )
        for group in self._context.groups:
            if group in shares:
                return group, shares[group]
        return None

    # Resumption (RFC 8446 Sections 2.2 and 4.2.11).

    def _resume(self, hello: ClientHello, message: bytes) -> TicketState | None:
        """Take the first session of the client's that is of use; without one it is a full handshake."""
        keys = self._context.ticket_keys
        modes = hello.psk_modes or b""
        self._wants_ticket = keys is not None and _PSK_DHE_KE in modes
        if hello.psks is None:
            return None
        identities, binders = hello.psks
        if hello.psk_modes is None:
            raise Alert(
                AlertDescription.MISSING_EXTENSION, "ClientHello has no psk_key_exchange_modes"
            )
        if len(identities) != len(binders):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER, "there are not as many binders as identities"
            )
        if keys is None or not self._wants_ticket:
            return None
        now = self._context.now().timestamp()
        for index, (ticket, _) in enumerate(identities[:_MAX_IDENTITIES]):
            state = keys.open(ticket, now)
            if state is not None and self._fits(state):
                partial = message[: -2 - sum(1 + len(binder) for binder in binders)]
                self._check_binder(state.psk, partial, binders[index])
                if not self._trusts_client(state, now):
                    continue
                self._schedule.resume(state.psk)
                self._selected_psk = index
                self.is_resumed = True
                return state
        return None

    def _check_binder(self, psk: bytes, partial: bytes, binder: bytes) -> None:
        if not hmac.compare_digest(self._schedule.binder(psk, partial), binder):
            raise Alert(AlertDescription.DECRYPT_ERROR, "the binder does not fit the ClientHello")

    def _fits(self, state: TicketState) -> bool:
        """Whether the session is one of what was negotiated now."""
        return (
            state.alpn == self.alpn
            and state.server_name == self.server_name
            and state.version == self.original_version
            and same_hash(self.cipher_suite, state.cipher_suite)
        )

    def _trusts_client(self, state: TicketState, now: float) -> bool:
        """Whether the client of the session, whose it stays, would be let in by a full handshake now."""
        verifier = self._context.verifier
        chain, key = list(state.client_certificates), state.client_public_key
        if verifier is None:
            return not chain and not key
        if not chain and not key:
            return not verifier.is_required
        if not -2 <= now - state.authenticated < TICKET_LIFETIME or (key and not verifier.keys):
            return False
        try:
            if key:
                verifier.keys.check(key, self.server_name or "")
            else:
                verifier.check(chain, self.server_name or "")
        except Alert:
            return False
        self.peer_certificates = chain
        self.peer_public_key = key or None
        self._client_authenticated = state.authenticated
        return True

    # Early data (RFC 8446 Section 4.2.10, RFC 9001 Section 4.6).

    @property
    def takes_early_data(self) -> bool:
        """Whether 0-RTT is on."""
        return self._context.replay_guard is not None

    def _decide_early_data(self, hello: ClientHello, state: TicketState | None) -> None:
        """Call with the transcript at ClientHello."""
        reason = self._early_data_refusal(hello, state)
        self.early_data_accepted = reason is None
        self.early_data_reason = reason or "accepted"
        if reason is None:
            self._install_early(self._schedule, self.cipher_suite)

    def _early_data_refusal(self, hello: ClientHello, state: TicketState | None) -> str | None:
        guard = self._context.replay_guard
        if guard is None:
            return "early data is off"
        if state is None or hello.psks is None:
            return "the session is not resumed"
        if self._selected_psk != 0:
            return "it belongs to another session than the one that is resumed"
        if state.cipher_suite != self.cipher_suite:
            return "the cipher suite changed"
        if not state.early_data or state.early_data != self._early_data_digest():
            return "limits or settings changed"
        ticket, obfuscated = hello.psks[0][0]
        age = (obfuscated - state.age_add) & 0xFFFFFFFF
        return guard.refusal(
            sha256(ticket).digest()[:16],
            state.issued / 1000,
            (state.issued + age) / 1000,
            self._context.now().timestamp(),
        )

    def _early_data_digest(self) -> bytes:
        """Of what the client may rely on in 0-RTT, which must not change (RFC 9000 Section 7.4.1)."""
        context = vector(2, self.remembered_parameters) + self._context.early_data_context
        return sha256(context).digest()[:16]

    def _send_ticket(self, keys: TicketKeys) -> None:
        resumption_secret = self._schedule.derive(b"res master")
        now = self._context.now().timestamp()
        age_add = int.from_bytes(self._context.random(4), "big")
        early_data = self._context.replay_guard is not None
        # One ticket a connection: its nonce need not tell it from others.
        state = TicketState(
            cipher_suite=self.cipher_suite,
            psk=ticket_psk(self.cipher_suite, resumption_secret, b""),
            issued=int(now * 1000),
            alpn=self.alpn or b"",
            server_name=self.server_name,
            version=self.negotiated_version,
            age_add=age_add,
            early_data=self._early_data_digest() if early_data else b"",
            authenticated=self._client_authenticated or int(now),
            client_certificates=tuple(self.peer_certificates),
            client_public_key=self.peer_public_key or b"",
        )
        if state.is_too_long():
            return
        message = NewSessionTicket(
            lifetime=TICKET_LIFETIME,
            age_add=age_add,
            nonce=b"",
            ticket=keys.seal(state, now),
            max_early_data_size=_MAX_EARLY_DATA if early_data else None,
        )
        self._send(Level.APPLICATION, message.pack())

    # Answers.

    def _send_retry(self, hello: ClientHello) -> None:
        for group in self._context.groups:
            if group in (hello.supported_groups or ()):
                self.group = group
                break
        else:
            raise Alert(AlertDescription.HANDSHAKE_FAILURE, "no key exchange group in common")
        self._first_hello = hello
        self._schedule.restart()
        retry = HelloRetryRequest(cipher_suite=self.cipher_suite, selected_group=self.group).pack()
        self._schedule.add(retry)
        self._send(Level.INITIAL, retry)

    def _send_flight(self, hello: ClientHello, share: bytes, shared_secret: bytes) -> None:
        """ServerHello to Finished."""
        # Before anything is sent: without a common signature the handshake fails.
        credentials = None if self.is_resumed else self._choose_credentials(hello)
        client_type = None if self.is_resumed else self._choose_client_type(hello)
        server_hello = ServerHello(
            random=self._context.random(32),
            cipher_suite=self.cipher_suite,
            key_share=(self.group, share),
            selected_psk=self._selected_psk,
        ).pack()
        self._schedule.add(server_hello)
        self._send(Level.INITIAL, server_hello)
        self._derive_handshake_secrets(shared_secret)
        self._install(Level.HANDSHAKE, is_write=True)
        self._install(Level.HANDSHAKE, is_write=False)
        self._read_from(Level.HANDSHAKE)

        extensions = EncryptedExtensions(
            server_name_used=self.server_name is not None,
            alpn=(self.alpn or b"",),
            client_certificate_type=client_type,
            transport_parameters=self._transport_parameters,
            early_data=bool(self.early_data_accepted),
        )
        if credentials is not None and hello.server_certificate_types is not None:
            extensions.server_certificate_type = _certificate_type(credentials[0])
        self._send_handshake(extensions.pack())
        if credentials is not None:
            self._authenticate(hello, *credentials)
        self._send_finished(self._server_secret)

        self._client_handshake_secret = self._client_secret
        self._derive_application_secrets()
        self._install(Level.APPLICATION, is_write=True)
        if self._requested and self._compression:
            self._expected = HandshakeType.CERTIFICATE, HandshakeType.COMPRESSED_CERTIFICATE
        elif self._requested:
            self._expected = (HandshakeType.CERTIFICATE,)
        else:
            self._expected = (HandshakeType.FINISHED,)

    def _choose_credentials(self, hello: ClientHello) -> tuple[Identity, int]:
        return self._context.credentials.choose(
            self._identities, hello.server_certificate_types, hello.signature_algorithms or ()
        )

    def _choose_client_type(self, hello: ClientHello) -> int | None:
        """The client_certificate_type to answer with (RFC 7250 Section 4.2)."""
        verifier = self._context.verifier
        if verifier is None or hello.client_certificate_types is None:
            return None
        for kind in hello.client_certificate_types:
            if kind == CertificateType.X509 or (
                kind == CertificateType.RAW_PUBLIC_KEY and verifier.keys
            ):
                self._peer_is_raw = kind == CertificateType.RAW_PUBLIC_KEY
                return kind
        raise Alert(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            "the client has no certificate of a kind that this server takes",
        )

    def _authenticate(self, hello: ClientHello, identity: Identity, scheme: int) -> None:
        algorithms = self._context.certificate_compression
        if self._context.verifier is not None:
            request = CertificateRequest(
                signature_algorithms=signatures.OFFERED,
                certificate_compression=algorithms or None,
            )
            self._send_handshake(request.pack())
            self._requested = True
            self._compression = algorithms
        algorithm = compression.choose(algorithms, hello.certificate_compression)
        self._send_certificate(identity, scheme, signatures.SERVER_CONTEXT, algorithm)

    # The client's second flight.

    def _on_certificate(self, body: bytes, message: bytes) -> None:
        verifier = self._context.verifier
        assert verifier is not None
        name = self.server_name or ""
        if not self._read_certificate(body, message):
            if verifier.is_required:
                raise Alert(
                    AlertDescription.CERTIFICATE_REQUIRED,
                    "the client sent no certificate, and this server requires one",
                    certificate=True,
                )
            self._expected = (HandshakeType.FINISHED,)
            return
        if self.peer_public_key is not None:
            verifier.keys.check(self.peer_public_key, name)
        else:
            verifier.check(self.peer_certificates, name)
        self._expected = (HandshakeType.CERTIFICATE_VERIFY,)

    def _on_certificate_verify(self, body: bytes, message: bytes) -> None:
        self._read_certificate_verify(body, message, signatures.CLIENT_CONTEXT)
        self._expected = (HandshakeType.FINISHED,)

    def _on_finished(self, body: bytes, message: bytes) -> None:
        self._read_finished(body, message, self._client_handshake_secret)
        self._read_from(Level.APPLICATION)
        self._install(Level.APPLICATION, is_write=False)
        if self._context.ticket_keys is not None and self._wants_ticket:
            self._send_ticket(self._context.ticket_keys)
        self.is_complete = True
        self._expected = ()
        self._release()
        self._first_hello = None
        self._identities = ()
        self._transport_parameters = self._client_handshake_secret = b""

    _handlers: ClassVar[Mapping[int, Handler]] = {
        HandshakeType.CLIENT_HELLO: _on_client_hello,
        HandshakeType.CERTIFICATE: _on_certificate,
        HandshakeType.COMPRESSED_CERTIFICATE: _on_certificate,
        HandshakeType.FINISHED: _on_finished,
        HandshakeType.CERTIFICATE_VERIFY: _on_certificate_verify,
    }


def _certificate_type(identity: Identity) -> int:
    return CertificateType.RAW_PUBLIC_KEY if identity.is_raw else CertificateType.X509
