"""Names of servers (RFC 6066 Section 3, RFC 9525)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from cwt.errors import ConfigError

__all__ = ["is_ip_address", "normalize", "parse_ip_address"]


def parse_ip_address(name: str) -> IPv4Address | IPv6Address | None:
    """The address that *name* is, without a zone; None when it is a host name."""
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        return None


def is_ip_address(name: str) -> bool:
    return parse_ip_address(name) is not None


def normalize(name: str) -> str:
    """*name* as certificates and SNI have it: lower case, A-labels, no brackets or final dot."""
    name = name.removeprefix("[").removesuffix("]").removesuffix(".").lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ConfigError(f"{name!r} is not a host name ({error}); check the URL") from error
