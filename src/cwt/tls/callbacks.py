"""Callbacks of the application that decide about a peer during the handshake."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from cwt.errors import ConfigError
from cwt.tls.alerts import Alert, AlertDescription

__all__ = ["check_sync", "consult"]

_Callback = TypeVar("_Callback", bound=Callable[..., object])


def check_sync(callback: _Callback, setting: str) -> _Callback:
    """*callback*, unless it is a coroutine function: what that returns would accept everybody."""
    if inspect.iscoroutinefunction(callback):
        raise ConfigError(f"{setting} must be a plain function, not async: the handshake waits")
    return callback


def consult(callback: Callable[..., object], *arguments: object, setting: str) -> None:
    """Ask *callback*, which refuses by raising or by returning False; then raise :class:`Alert`.

    An Alert that it raises is taken as it is.  The peer is told that it was refused, not why: the text of
    other exceptions stays here, as the alert's cause.
    """
    try:
        answer = callback(*arguments)
    except Alert as alert:
        alert.certificate = alert.by_callback = True
        raise
    except Exception as error:
        raise _refusal(setting) from error
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise Alert(AlertDescription.INTERNAL_ERROR, f"{setting} is async, which it must not be")
    if answer is False:
        raise _refusal(setting)


def _refusal(setting: str) -> Alert:
    return Alert(
        AlertDescription.BAD_CERTIFICATE,
        f"{setting}() refused the certificate",
        certificate=True,
        by_callback=True,
    )
