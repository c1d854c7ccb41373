"""Whether a log is as the drafts define it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cwt.qlog.definitions import (
    EVENTS,
    EXTENSIONS,
    FRAMES,
    HEADER,
    HTTP3_FRAMES,
    TRACE,
    Either,
    Kind,
)
from cwt.qlog.reading import Log

__all__ = ["NAMESPACES", "check"]

NAMESPACES = ("quic", "http3", "http")
"""Of the events that are checked; others are other schemas' business."""

_INTEGERS = {f"uint{bits}": 1 << bits for bits in (8, 16, 32, 64)}
_HEXSTRING = re.compile(r"(?:[0-9a-f]{2})*")
_CRYPTO_ERROR = re.compile(r"crypto_error_0x1[0-9a-f]{2}")
_RAW = {"length?": "uint64", "payload_length?": "uint64", "data?": "hexstring"}


def check(log: Log, *, strict: bool = False) -> list[str]:
    """What is wrong with *log*, a line for each fault; an empty list when it keeps to the schema.

    The drafts let implementations add fields: *strict* takes only those that this one adds.
    """
    faults = [f"the file: {fault}" for fault in _check(log.header, HEADER, "", strict=False)]
    faults += [f"the trace: {fault}" for fault in _check(log.trace, TRACE, "", strict=False)]
    schemas = log.trace.get("event_schemas")
    known = [str(schema) for schema in schemas] if isinstance(schemas, list) else []
    for namespace in sorted({event.name.partition(":")[0] for event in log.events}):
        if not any(namespace in re.split(r"[:\-/#]", schema) for schema in known):
            faults.append(f"the trace: its event_schemas have none for {namespace}:")
    for index, event in enumerate(log.events, 1):
        name = event.raw.get("name", event.name)
        if isinstance(event.raw, dict) and event.name != name:
            faults.append(f"event {index}: {name} is called {event.name} today")
        faults += [
            f"event {index}, {event.name}: {fault}"
            for fault in _event(event.name, event.data, strict)
        ]
    return faults


def _event(name: str, data: dict[str, Any], strict: bool) -> Iterator[str]:
    fields = EVENTS.get(name)
    if fields is None and name not in EXTENSIONS:
        if name.partition(":")[0] in NAMESPACES:
            yield "there is no such event"
        return
    yield from _check(data, {**(fields or {}), **EXTENSIONS.get(name, {})}, "", strict=strict)


def _check(value: object, kind: Kind, where: str, *, strict: bool) -> Iterator[str]:
    """The faults of *value*, which should be of *kind*; *where* it is in the event."""
    if isinstance(kind, Either):
        if all(list(_check(value, one, where, strict=strict)) for one in kind.kinds):
            yield f"{where} is {value!r}, which is none of what it may be"
    elif isinstance(kind, tuple):
        if value not in kind:
            yield f"{where} is {value!r}, which is none of {', '.join(kind)}"
    elif isinstance(kind, list):
        yield from _list(value, kind[0], where, strict=strict)
    elif isinstance(kind, dict):
        yield from _object(value, kind, where, strict=strict)
    elif kind in ("frame", "http3_frame"):
        yield from _frame(value, kind, where, strict=strict)
    elif not _is_plain(value, kind):
        yield f"{where} is {value!r}, not {kind}"


def _is_plain(value: object, kind: str) -> bool:
    if kind in _INTEGERS:
        return type(value) is int and 0 <= value < _INTEGERS[kind]
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "object":
        return isinstance(value, dict)
    if not isinstance(value, str):
        return False
    if kind == "hexstring":
        return _HEXSTRING.fullmatch(value) is not None
    if kind == "crypto_error":
        return _CRYPTO_ERROR.fullmatch(value) is not None
    return kind == "text"


def _list(value: object, kind: Kind, where: str, *, strict: bool) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where} is no list"
        return
    for index, element in enumerate(value):
        yield from _check(element, kind, f"{where}[{index}]", strict=strict)


def _object(value: object, fields: dict[str, Any], where: str, *, strict: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    prefix = f"{where}." if where else ""
    for name, kind in fields.items():
        plain = name.removesuffix("?")
        if plain in value:
            yield from _check(value[plain], kind, prefix + plain, strict=strict)
        elif plain == name:
            yield f"{prefix}{plain} is missing"
    if strict:
        for name in value:
            if name not in fields and f"{name}?" not in fields:
                yield f"{prefix}{name} is not defined"


def _frame(value: object, kind: str, where: str, *, strict: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no frame"
        return
    known = FRAMES if kind == "frame" else HTTP3_FRAMES
    name = value.get("frame_type")
    fields = known.get(str(name), EXTENSIONS.get(str(name)))
    if fields is None:
        yield f"{where}.frame_type is {name!r}, which is no frame"
        return
    yield from _object(value, {"frame_type": "text", "raw?": _RAW, **fields}, where, strict=strict)
