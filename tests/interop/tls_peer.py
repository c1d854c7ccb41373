"""The TLS of aioquic or of qh3 (its Rust-based fork), with the shape of ours."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

from cwt.tls import Handshake, Level
from cwt.tls.development import DevelopmentCertificate

LEVELS = {"INITIAL": Level.INITIAL, "HANDSHAKE": Level.HANDSHAKE, "ONE_RTT": Level.APPLICATION}


class Exchanging(Protocol):
    """What :func:`exchange` asks of the other side."""

    def receive(self, data: bytes) -> None: ...

    def output(self) -> list[tuple[Any, bytes]]: ...


class Peer:
    """One side of a handshake, made of the module *tls* and the *buffer* class beside it."""

    def __init__(
        self, tls: ModuleType, buffer: Any, is_client: bool, parameters: bytes, **options: Any
    ) -> None:
        self.tls = tls
        self._buffer = buffer
        self.context = tls.Context(is_client=is_client, alpn_protocols=["h3"], **options)
        self.context.handshake_extensions = [
            (tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS, parameters)
        ]
        self.context.update_traffic_key_cb = self._install
        self.secrets: set[tuple[int, bool, bytes]] = set()
        self._buffers = self._make_buffers()

    def _make_buffers(self) -> dict[Any, Any]:
        return {getattr(self.tls.Epoch, name): self._buffer(capacity=1 << 16) for name in LEVELS}

    def _install(self, direction: Any, epoch: Any, suite: Any, secret: bytes) -> None:
        is_write = direction == self.tls.Direction.ENCRYPT
        self.secrets.add((LEVELS[epoch.name], is_write, secret))

    def use(self, certificate: DevelopmentCertificate) -> None:
        chain = self.tls.load_pem_x509_certificates(certificate.cert_pem)
        self.context.certificate, self.context.certificate_chain = chain[0], chain[1:]
        self.context.certificate_private_key = self.tls.load_pem_private_key(certificate.key_pem)

    @property
    def is_complete(self) -> bool:
        return str(self.context.state.name).endswith("POST_HANDSHAKE")

    def receive(self, data: bytes) -> None:
        self.context.handle_message(data, self._buffers)

    def output(self) -> list[tuple[int, bytes]]:
        taken = [
            (LEVELS[epoch.name], bytes(buffer.data))
            for epoch, buffer in self._buffers.items()
            if buffer.data
        ]
        self._buffers = self._make_buffers()
        return taken


def exchange(ours: Handshake, peer: Exchanging) -> None:
    """Hand everything over in both directions."""
    while True:
        output = ours.output()
        for _, data in output:
            peer.receive(data)
        answer = peer.output()
        for level, data in answer:
            ours.receive(level, data)
        if not output and not answer:
            return


def same_secrets(ours: Handshake, peer: Peer) -> bool:
    mirrored = {(s.level, not s.is_write, s.secret) for s in ours.secrets()}
    return mirrored == peer.secrets and len(mirrored) == 4
