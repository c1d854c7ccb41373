"""Checks of what :func:`cwt.connect` and :func:`cwt.serve` are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from cwt.config import Config
from cwt.errors import ConfigError

__all__ = ["Url", "certificate_hash", "parse_url", "protocol_list", "refuse", "with_qlog"]

_INSTEAD = {
    "additional_headers": "pass headers=",
    "close_code": "pass the code to close()",
    "cert": "pass client_cert= to connect(), certfile= to serve()",
    "compression": "WebTransport has none",
    "extra_headers": "pass headers=",
    "keep_alive": "pass config=cwt.Config(keep_alive_interval=...)",
    "loop": "call it inside the running event loop",
    "max_queue": "pass config=cwt.Config(...)",
    "max_size": "streams have no messages; bound what you read with read(n)",
    "path": "put the path into the URL, or pass {path: handler} to serve()",
    "ping_interval": "pass config=cwt.Config(keep_alive_interval=...)",
    "ping_timeout": "pass config=cwt.Config(max_idle_timeout=...)",
    "process_request": "pass on_request=",
    "server_hostname": "put the name into the URL, and the address into address=",
    "ssl_certfile": "pass certfile=",
    "ssl_keyfile": "pass keyfile=",
    "subprotocols": "pass protocols=",
    "ticket_keys": "pass secrets=",
    "timeout": "pass open_timeout= and close_timeout=, or use asyncio.timeout()",
    "verify_ssl": "pass verify=",
}
_SSL = frozenset({"ssl", "ssl_context", "sslcontext", "context", "tls"})


def refuse(function: str, foreign: Iterable[str]) -> None:
    """Raise TypeError for the first argument of *foreign*, with what to pass in its place."""
    for name in foreign:
        if name in _SSL:
            advice = (
                "QUIC has TLS 1.3 inside and cannot use an ssl.SSLContext; pass certfile= and keyfile="
                if function == "serve"
                else "QUIC has TLS 1.3 inside and cannot use an ssl.SSLContext; pass verify= (True, a CA "
                "file, a callable), and client_cert= and client_key="
            )
        else:
            advice = _INSTEAD.get(name, f"see help(cwt.{function}) for those it takes")
        raise TypeError(f"{function}() takes no argument {name!r}: {advice}")


class Url(NamedTuple):
    """The parts of an https URL that a session needs (RFC 9110 Section 4.2.2)."""

    text: str
    host: str
    port: int
    authority: str
    path: str
    """With the query."""


def parse_url(url: str) -> Url:
    """The parts of *url*; raises :class:`ConfigError` unless a session can be asked for with it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme != "https":
        raise ConfigError(f"a WebTransport URL starts with https://, which {url!r} does not")
    if not host:
        raise ConfigError(f"the URL {url!r} has no host name")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "a WebTransport URL has no user name; pass headers={'authorization': ...}"
        )
    if parts.fragment:
        raise ConfigError(f"a WebTransport URL has no fragment (#...), which {url!r} has")
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ConfigError(f"the host name of {url!r} is not valid") from None
    authority = f"[{name}]" if ":" in name else name
    if port is not None and port != 443:
        authority += f":{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~-._")
    port = 443 if port is None else port
    return Url(f"https://{authority}{path}", name, port, authority, path)


def protocol_list(protocols: Iterable[str]) -> list[str]:
    """*protocols* as a list; a plain str is the mistake to catch."""
    if isinstance(protocols, str | bytes):
        raise TypeError(f"protocols is a list of names: pass [{protocols!r}]")
    names = list(protocols)
    if len(set(names)) != len(names):
        raise ConfigError(f"protocols names one twice: {names!r}")
    return names


def certificate_hash(value: bytes | str | Mapping[str, bytes]) -> bytes:
    """A SHA-256 hash given as 32 bytes, as hexadecimal (with or without colons), or as in W3C
    WebTransport, ``{"algorithm": "sha-256", "value": bytes}``."""
    if isinstance(value, Mapping):
        if value.get("algorithm", "sha-256") != "sha-256":
            raise ConfigError("server_certificate_hashes knows the algorithm sha-256 only")
        value = value.get("value", b"")
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value.replace(":", ""))
        except ValueError:
            raise ConfigError(f"{value!r} is not a SHA-256 hash in hexadecimal") from None
    if len(value) != 32:
        raise ConfigError(f"a SHA-256 hash has 32 bytes, not {len(value)}")
    return bytes(value)


def with_qlog(config: Config, directory: str | PathLike[str] | None) -> Config:
    """*config*, with qlog files going to *directory* if there is one."""
    return config if directory is None else dataclasses.replace(config, qlog_dir=directory)
