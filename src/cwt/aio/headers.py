"""Header fields as users see them (RFC 9110 Section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cwt.errors import ConfigError

__all__ = ["Headers", "HeadersLike", "header_list"]

HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]
"""What is taken where header fields are: a mapping, or pairs where a name may come twice."""

_RESERVED = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host"}
)


class Headers(Mapping[str, str]):
    """Header fields: a read-only mapping, whatever the case of the name.

    The values of a name that came several times are joined with ``", "`` (RFC 9110 Section 5.2);
    :meth:`get_all` gives them one by one.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str | bytes, str | bytes]] = ()) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in fields:
            key = _text(name).lower()
            if not key.startswith(":"):
                self._fields.setdefault(key, []).append(_text(value))

    def __getitem__(self, name: str) -> str:
        values = self._fields[name.lower()]
        return values[0] if len(values) == 1 else ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self.pairs()!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of *name*, in order of arrival."""
        return list(self._fields.get(name.lower(), ()))

    def pairs(self) -> list[tuple[str, str]]:
        """All fields as (name, value), names in lower case."""
        return [(name, value) for name, values in self._fields.items() for value in values]


def header_list(headers: HeadersLike) -> list[tuple[str, str]]:
    """*headers* as pairs with lower-case names; raises :class:`ConfigError` for what HTTP/3 forbids
    (RFC 9114 Section 4.2)."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    result = []
    for name, value in items:
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(f"header fields are str: str, not {name!r}: {value!r}")
        key = name.lower()
        if not key or key.startswith(":") or key in _RESERVED or not key.isascii():
            raise ConfigError(f"the header field {name!r} cannot be set in HTTP/3; leave it out")
        if any(ord(char) <= 32 or ord(char) == 127 for char in key):
            raise ConfigError(f"the header field name {name!r} has a forbidden character")
        if any(char in "\r\n\0" for char in value):
            raise ConfigError(f"the value of header field {name!r} has a line break or NUL in it")
        result.append((key, value))
    return result


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
