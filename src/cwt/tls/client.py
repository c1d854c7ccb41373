"""The client's side of the handshake (RFC 8446 Section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from cwt.tls import compression, groups, signatures
from cwt.tls.alerts import PROTOCOL_VIOLATION, Alert, AlertDescription
from cwt.tls.codec import vector
from cwt.tls.handshake import Handler, Handshake, Level
from cwt.tls.key_schedule import KeySchedule, hash_length, same_hash, ticket_psk
from cwt.tls.messages import (
    TLS_1_3,
    Certificate,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    ExtensionType,
    HandshakeType,
    HelloRetryRequest,
    NewSessionTicket,
    ServerHello,
)
from cwt.tls.names import is_ip_address
from cwt.tls.public_keys import CertificateType
from cwt.tls.sessions import MAX_LIFETIME, SessionTicket

if TYPE_CHECKING:
    from cwt.tls.context import ClientContext

__all__ = ["ClientHandshake"]

_PSK_DHE_KE = b"\x01"
"""psk_key_exchange_modes: a PSK only together with a key exchange (RFC 8446 Section 4.2.9)."""

MAX_TICKETS = 256
"""NewSessionTickets taken from a server in the life of a connection."""


class ClientHandshake(Handshake):
    """A handshake as client::

    start() -> ClientHello
               [HelloRetryRequest -> ClientHello]
               ServerHello  EncryptedExtensions  [CertificateRequest]
               Certificate  CertificateVerify  Finished
            -> [Certificate  CertificateVerify]  Finished
    """

    __slots__ = (
        "_authenticated",
        "_context",
        "_early_transcript",
        "_hello",
        "_kept",
        "_keys",
        "_request",
        "_resumption_secret",
        "_retried",
        "_sends_raw",
        "_session",
        "_session_data",
        "_tickets",
        "early_parameters",
        "early_session_data",
    )

    is_client = True

    def __init__(
        self, context: ClientContext, server_name: str, transport_parameters: bytes
    ) -> None:
        super().__init__(context.keylog)
        self.server_name = server_name
        self._context = context
        self._keys: dict[int, groups.KeyExchange] = {}
        self._hello = ClientHello(
            random=context.random(32),
            cipher_suites=context.cipher_suites,
            server_name=None if is_ip_address(server_name) else server_name or None,
            supported_versions=(TLS_1_3,),
            supported_groups=context.groups,
            signature_algorithms=signatures.OFFERED,
            alpn=context.alpn,
            client_certificate_types=context.client_certificate_types,
            server_certificate_types=context.server_certificate_types,
            certificate_compression=context.certificate_compression or None,
            transport_parameters=transport_parameters,
        )
        self._compression = context.certificate_compression
        self._client_random = self._hello.random
        self._retried = False
        self._early_transcript = b""
        self._request: CertificateRequest | None = None
        self._sends_raw = False
        self._tickets = 0
        self._session: SessionTicket | None = None
        self._resumption_secret = b""
        self._authenticated = 0.0
        self._kept: list[bytes] = []
        self._session_data = b""
        self.early_parameters: bytes | None = None
        """When 0-RTT is offered: the ``remembered_parameters`` of the connection its session is from."""
        self.early_session_data = b""
        """And what ``remember`` was given there."""

    def start(self) -> None:
        self._offer_session()
        self._generate(self._context.key_share_groups)
        self._send_hello()
        if self._session is not None and self._hello.early_data:
            schedule = KeySchedule(self._session.cipher_suite)
            schedule.resume(self._session.psk)
            schedule.add(self._early_transcript)
            self._install_early(schedule, self._session.cipher_suite)
        self._expected = (HandshakeType.SERVER_HELLO,)

    def remember(self, data: bytes) -> None:
        """Keep *data* of the application with the sessions of this connection, for 0-RTT with one of them:
        SETTINGS of HTTP/3, for example (RFC 9114 Section 7.2.4.2)."""
        self._session_data = bytes(data)
        if self._context.session_cache is not None:
            for ticket in self._kept:
                self._context.session_cache.annotate(self.server_name or "", ticket, data)

    def take_token(self) -> bytes:
        """A token for the first Initial packets, from a NEW_TOKEN frame of the server; empty when there
        is none (RFC 9000 Section 8.1.3)."""
        cache = self._context.session_cache
        token = (
            None
            if cache is None
            else cache.take_token(self.server_name or "", self.original_version)
        )
        return token or b""

    def put_token(self, token: bytes, version: int) -> None:
        """The server has given *token* for connections of QUIC *version* to come."""
        if self._context.session_cache is not None:
            self._context.session_cache.put_token(self.server_name or "", token, version)

    def _generate(self, chosen: tuple[int, ...]) -> None:
        self._keys = {group: groups.generate(group) for group in chosen}
        shares = tuple((group, key.share) for group, key in self._keys.items())
        self._hello = replace(self._hello, key_shares=shares)

    def _offer_session(self) -> None:
        """Put a session of the cache into the ClientHello, if there is one to trust."""
        context = self._context
        if context.session_cache is None:
            return
        self._hello = replace(self._hello, psk_modes=_PSK_DHE_KE)
        now = context.now().timestamp()
        for alpn in context.alpn:
            session = context.session_cache.take(
                self.server_name or "",
                alpn,
                now,
                self.original_version,
                context.client_identity,
            )
            if session is not None and self._trusts(session):
                self._session = session
                identity = (session.ticket, session.obfuscated_age(now))
                binder = bytes(hash_length(session.cipher_suite))
                self._hello = replace(self._hello, psks=((identity,), (binder,)))
                self._offer_early_data(session)
                return

    def _offer_early_data(self, session: SessionTicket) -> None:
        """If it is wanted, and the session is one for it (RFC 8446 Section 4.2.10)."""
        if (
            self._context.early_data
            and session.early_data
            and session.parameters
            and session.cipher_suite in self._context.cipher_suites
        ):
            self._hello = replace(self._hello, early_data=True)
            self.early_parameters = session.parameters
            self.early_session_data = session.application
            self.alpn = session.alpn

    def _refuse_early_data(self, reason: str) -> None:
        if self.early_parameters is not None and self.early_data_accepted is None:
            self.early_data_accepted = False
            self.early_data_reason = reason

    def _trusts(self, session: SessionTicket) -> bool:
        """Whether the server's certificate would be accepted now, and by this context."""
        if not any(same_hash(suite, session.cipher_suite) for suite in self._context.cipher_suites):
            return False
        verifier, key = self._context.verifier, session.peer_public_key
        try:
            if not key:
                verifier.check(session.peer_certificates, self.server_name or "")
            elif verifier.keys:
                verifier.keys.check(key, self.server_name or "")
            else:
                return False
        except Alert:
            return False
        return True

    def _bind(self, session: SessionTicket, message: bytes) -> bytes:
        """The ClientHello *message* with its binder (RFC 8446 Section 4.2.11.2)."""
        length = hash_length(session.cipher_suite)
        partial = message[: -3 - length]
        schedule = self._schedule if self._retried else KeySchedule(session.cipher_suite)
        return partial + vector(2, vector(1, schedule.binder(session.psk, partial)))

    def _send_hello(self) -> None:
        message = self._hello.pack()
        if self._session is not None:
            message = self._bind(self._session, message)
        # The hash to use is known only with the server's answer.
        self._early_transcript = message
        self._send(Level.INITIAL, message)

    def _on_server_hello(self, body: bytes, message: bytes) -> None:
        hello = ServerHello.parse(body)
        self._check_hello(hello)
        if isinstance(hello, HelloRetryRequest):
            self._on_hello_retry_request(hello, message)
            return
        session = self._check_psk(hello)
        if hello.key_share is None:
            raise Alert(AlertDescription.MISSING_EXTENSION, "ServerHello has no key_share")
        group, share = hello.key_share
        key = self._keys.get(group)
        if key is None:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"the server took group 0x{group:04x}, for which it got no key share",
            )
        if not self._retried:
            self.cipher_suite = hello.cipher_suite
            self._schedule = KeySchedule(hello.cipher_suite)
        if session is not None:
            self.is_resumed = True
            self.peer_certificates = list(session.peer_certificates)
            self.peer_public_key = session.peer_public_key or None
            self._authenticated = session.authenticated
            self._schedule.resume(session.psk)
        else:
            self._refuse_early_data("the server did not resume the session")
        self.group = group
        self._schedule.add(self._early_transcript)
        self._schedule.add(message)
        self._derive_handshake_secrets(groups.complete(key, share))
        self._keys.clear()
        self._install(Level.HANDSHAKE, is_write=False)
        self._install(Level.HANDSHAKE, is_write=True)
        self._read_from(Level.HANDSHAKE)
        self._expected = (HandshakeType.ENCRYPTED_EXTENSIONS,)

    def _check_psk(self, hello: ServerHello) -> SessionTicket | None:
        """The session that the server resumes."""
        if hello.selected_psk is None:
            return None
        if self._session is None:
            self._refuse_extension(ExtensionType.PRE_SHARED_KEY)
        elif hello.selected_psk != 0 or not same_hash(
            hello.cipher_suite, self._session.cipher_suite
        ):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER, "the server took a PSK that was not offered"
            )
        return self._session

    def _check_hello(self, hello: ServerHello | HelloRetryRequest) -> None:
        """What holds for ServerHello and for HelloRetryRequest."""
        if hello.supported_version is None:
            raise Alert(
                AlertDescription.PROTOCOL_VERSION,
                "the server does not speak TLS 1.3, which QUIC needs",
            )
        if hello.supported_version != TLS_1_3:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER, "the server took an unknown TLS version"
            )
        if hello.session_id or hello.compression_method:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "the server's session id or compression is wrong",
            )
        if hello.cipher_suite not in self._hello.cipher_suites or (
            self._retried and hello.cipher_suite != self.cipher_suite
        ):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"the server took cipher suite 0x{hello.cipher_suite:04x}, which was not offered",
            )
        for extension_type, _ in hello.other:
            self._refuse_extension(extension_type)

    def _refuse_extension(self, extension_type: int) -> None:
        """An extension in the wrong message, or an answer to something that was not offered."""
        if extension_type in self._hello.extension_types:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"extension {extension_type} is in a message where it does not belong",
            )
        raise Alert(
            AlertDescription.UNSUPPORTED_EXTENSION,
            f"the server sent extension {extension_type}, which was not offered",
        )

    def _on_hello_retry_request(self, retry: HelloRetryRequest, message: bytes) -> None:
        if self._retried:
            raise Alert(AlertDescription.UNEXPECTED_MESSAGE, "a second HelloRetryRequest came")
        group = retry.selected_group
        if group is None and retry.cookie is None:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "HelloRetryRequest changes nothing")
        if group is not None and (group not in self._context.groups or group in self._keys):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"HelloRetryRequest asks for group 0x{group:04x}, "
                "which was not offered or has a key share already",
            )
        self._retried = True
        self.cipher_suite = retry.cipher_suite
        self._schedule = KeySchedule(retry.cipher_suite)
        self._schedule.add(self._early_transcript)
        self._schedule.restart()
        self._schedule.add(message)
        if group is not None:
            self._generate((group,))
        if self._session is not None and not same_hash(
            retry.cipher_suite, self._session.cipher_suite
        ):
            self._session = None
            self._hello = replace(self._hello, psks=None)
        self._refuse_early_data("the server asked for another ClientHello")
        self._hello = replace(self._hello, cookie=retry.cookie, early_data=False)
        self._send_hello()

    def _on_encrypted_extensions(self, body: bytes, message: bytes) -> None:
        extensions = EncryptedExtensions.parse(body)
        self._schedule.add(message)
        for extension_type, _ in extensions.other:
            self._refuse_extension(extension_type)
        if extensions.server_name_used and self._hello.server_name is None:
            self._refuse_extension(ExtensionType.SERVER_NAME)
        if extensions.transport_parameters is None:
            raise Alert(
                AlertDescription.MISSING_EXTENSION, "the server sent no quic_transport_parameters"
            )
        if extensions.alpn is None:
            raise Alert(
                AlertDescription.NO_APPLICATION_PROTOCOL, "the server chose no application protocol"
            )
        if len(extensions.alpn) != 1 or extensions.alpn[0] not in self._context.alpn:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "the server chose an application protocol that was not offered",
            )
        self._read_early_data(extensions)
        if self.early_parameters is not None and extensions.alpn != (self.alpn,):
            # Early data is to be sent again when it was refused, but not in another protocol.
            raise Alert(
                AlertDescription.NO_APPLICATION_PROTOCOL,
                "the server changed the application protocol that early data was sent for; "
                "connect again",
            )
        self.alpn = extensions.alpn[0]
        self.peer_transport_parameters = extensions.transport_parameters
        self._peer_is_raw = self._is_raw(
            extensions.server_certificate_type, self._hello.server_certificate_types, "server"
        )
        self._sends_raw = self._is_raw(
            extensions.client_certificate_type, self._hello.client_certificate_types, "client"
        )
        if self.is_resumed:
            self._expected = (HandshakeType.FINISHED,)
            return
        self._expected = (HandshakeType.CERTIFICATE_REQUEST, *self._certificate_messages())

    def _certificate_messages(self) -> tuple[HandshakeType, ...]:
        """What the server's certificate may come in."""
        if self._compression:
            return HandshakeType.CERTIFICATE, HandshakeType.COMPRESSED_CERTIFICATE
        return (HandshakeType.CERTIFICATE,)

    def _is_raw(self, chosen: int | None, offered: bytes | None, whose: str) -> bool:
        """Whether the server chose raw public keys for one side (RFC 7250 Section 4.2)."""
        if chosen is None:
            return False
        if offered is None:
            self._refuse_extension(
                ExtensionType.SERVER_CERTIFICATE_TYPE
                if whose == "server"
                else ExtensionType.CLIENT_CERTIFICATE_TYPE
            )
        elif chosen not in offered:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"the server chose {whose} certificate type {chosen}, which was not offered",
            )
        return chosen == CertificateType.RAW_PUBLIC_KEY

    def _read_early_data(self, extensions: EncryptedExtensions) -> None:
        if not extensions.early_data:
            self._refuse_early_data("the server refused it")
            return
        session = self._session
        if session is None or not self._hello.early_data:
            self._refuse_extension(ExtensionType.EARLY_DATA)
        elif (
            not self.is_resumed
            or self.cipher_suite != session.cipher_suite
            or extensions.alpn != (session.alpn,)
        ):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "the server took early data of another session, cipher suite or protocol",
            )
        self.early_data_accepted = True
        self.early_data_reason = "accepted"

    def _on_certificate_request(self, body: bytes, message: bytes) -> None:
        request = CertificateRequest.parse(body)
        self._schedule.add(message)
        if request.context:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "CertificateRequest has a context")
        if request.signature_algorithms is None:
            raise Alert(
                AlertDescription.MISSING_EXTENSION, "CertificateRequest has no signature_algorithms"
            )
        self._request = request
        self._expected = self._certificate_messages()

    def _on_certificate(self, body: bytes, message: bytes) -> None:
        if not self._read_certificate(body, message):
            raise Alert(AlertDescription.DECODE_ERROR, "the server sent no certificate")
        if self.peer_public_key is not None:
            self._context.verifier.keys.check(self.peer_public_key, self.server_name or "")
        else:
            self._context.verifier.check(self.peer_certificates, self.server_name or "")
        self._expected = (HandshakeType.CERTIFICATE_VERIFY,)

    def _on_certificate_verify(self, body: bytes, message: bytes) -> None:
        self._read_certificate_verify(body, message, signatures.SERVER_CONTEXT)
        self._expected = (HandshakeType.FINISHED,)

    def _on_finished(self, body: bytes, message: bytes) -> None:
        self._read_finished(body, message, self._server_secret)
        handshake_secret = self._client_secret
        self._derive_application_secrets()
        self._read_from(Level.APPLICATION)
        if self._request is not None:
            self._answer(self._request)
        self._send_finished(handshake_secret)
        self._install(Level.APPLICATION, is_write=True)
        self._install(Level.APPLICATION, is_write=False)
        if self._context.session_cache is not None:
            self._resumption_secret = self._schedule.derive(b"res master")
        self.is_complete = True
        self._expected = (HandshakeType.NEW_SESSION_TICKET,)
        self._release()
        del self._hello
        self._early_transcript = b""
        self._request = self._session = None

    def _answer(self, request: CertificateRequest) -> None:
        """Send our certificate, or an empty list when there is none that suits (RFC 8446 Section 4.4.2)."""
        context = self._context
        identity = context.raw_identity if self._sends_raw else context.identity
        offered = request.signature_algorithms or ()
        if identity is None or set(identity.schemes).isdisjoint(offered):
            self._send_handshake(Certificate().pack())
            return
        scheme = signatures.choose(identity.schemes, offered)
        algorithm = compression.choose(
            context.certificate_compression, request.certificate_compression
        )
        self._send_certificate(identity, scheme, signatures.CLIENT_CONTEXT, algorithm)

    def _on_new_session_ticket(self, body: bytes, message: bytes) -> None:
        ticket = NewSessionTicket.parse(body)
        if ticket.max_early_data_size not in (None, 0xFFFFFFFF):
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                "max_early_data_size of a ticket is not 0xffffffff",
                transport_code=PROTOCOL_VIOLATION,  # RFC 9001 Section 4.6.1
            )
        self._tickets += 1
        if self._tickets > MAX_TICKETS:
            raise Alert(AlertDescription.UNEXPECTED_MESSAGE, "the server sends tickets without end")
        cache = self._context.session_cache
        is_authenticated = self.peer_certificates or self.peer_public_key
        if cache is None or not ticket.lifetime or not is_authenticated:
            return
        self._kept = [*self._kept[-3:], ticket.ticket]
        now = self._context.now().timestamp()
        session = SessionTicket(
            ticket=ticket.ticket,
            psk=ticket_psk(self.cipher_suite, self._resumption_secret, ticket.nonce),
            cipher_suite=self.cipher_suite,
            age_add=ticket.age_add,
            received=now,
            authenticated=self._authenticated or now,
            lifetime=min(ticket.lifetime, MAX_LIFETIME),
            alpn=self.alpn or b"",
            peer_certificates=tuple(self.peer_certificates),
            early_data=ticket.max_early_data_size is not None,
            parameters=self.remembered_parameters,
            application=self._session_data,
            version=self.negotiated_version,
            client_identity=self._context.client_identity,
            peer_public_key=self.peer_public_key or b"",
        )
        cache.put(self.server_name or "", session)

    _handlers: ClassVar[Mapping[int, Handler]] = {
        HandshakeType.SERVER_HELLO: _on_server_hello,
        HandshakeType.ENCRYPTED_EXTENSIONS: _on_encrypted_extensions,
        HandshakeType.FINISHED: _on_finished,
        HandshakeType.CERTIFICATE_REQUEST: _on_certificate_request,
        HandshakeType.CERTIFICATE: _on_certificate,
        HandshakeType.COMPRESSED_CERTIFICATE: _on_certificate,
        HandshakeType.CERTIFICATE_VERIFY: _on_certificate_verify,
        HandshakeType.NEW_SESSION_TICKET: _on_new_session_ticket,
    }
