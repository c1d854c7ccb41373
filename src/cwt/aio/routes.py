"""Which handler takes which path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from cwt.errors import ConfigError

__all__ = ["Handler", "Origins", "Routes"]

Handler: TypeAlias = Callable[..., Awaitable[Any]]
"""``async def handler(session)``, with the ``{names}`` of its route as keyword arguments."""

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")


class Routes:
    """Handlers by path: exact ones first, then patterns in their order.

    ``{name}`` in a pattern stands for what is between two slashes, ``{name:path}`` for any rest.
    """

    def __init__(self, routes: Handler | Mapping[str, Handler]) -> None:
        self._default: Handler | None = None
        self._exact: dict[str, Handler] = {}
        self._patterns: list[tuple[re.Pattern[str], Handler]] = []
        if not isinstance(routes, Mapping):
            self._default = _check(routes)
            return
        for path, handler in routes.items():
            if not path.startswith("/"):
                raise ConfigError(f"the route {path!r} must start with a slash")
            if _NAME.search(path):
                self._patterns.append((_pattern(path), _check(handler)))
            elif "{" in path or "}" in path:
                raise ConfigError(f"the route {path!r} has a brace that is not a {{name}}")
            else:
                self._exact[path] = _check(handler)

    def find(self, path: str) -> tuple[Handler, dict[str, str]] | None:
        """The handler for *path*, and what its names stand for; None when there is none."""
        if self._default is not None:
            return self._default, {}
        handler = self._exact.get(path)
        if handler is not None:
            return handler, {}
        for pattern, handler in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return handler, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


class Origins:
    """Which pages may open sessions: strings, or compiled patterns that match the whole Origin.

    Requests without an Origin are not from a browser, and a program can send any: they are let in.
    """

    def __init__(self, origins: Iterable[str | re.Pattern[str]] | None) -> None:
        if isinstance(origins, str):
            raise TypeError(f"origins is a list: pass [{origins!r}]")
        self._any = origins is None
        self._exact: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        for origin in origins or ():
            if isinstance(origin, re.Pattern):
                self._patterns.append(origin)
            else:
                self._exact.add(origin.rstrip("/").lower())

    def allow(self, origin: str | None) -> bool:
        """Whether a request with *origin* may go on."""
        if self._any or origin is None or origin.lower() in self._exact:
            return True
        return any(pattern.fullmatch(origin) for pattern in self._patterns)


def _check(handler: Handler) -> Handler:
    if not callable(handler):
        raise TypeError(f"a handler is an async function that takes a session, not {handler!r}")
    return handler


def _pattern(path: str) -> re.Pattern[str]:
    parts = []
    end = 0
    for match in _NAME.finditer(path):
        parts.append(re.escape(path[end : match.start()]))
        parts.append(f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})")
        end = match.end()
    try:
        return re.compile("".join(parts) + re.escape(path[end:]))
    except re.error as error:
        raise ConfigError(f"the route {path!r} is not possible: {error}") from None
