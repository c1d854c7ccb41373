"""What several commands share: the event loop, errors in words, units."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Callable, Coroutine
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import click

from cwt.errors import CwtError

__all__ = [
    "LOOPS",
    "explain",
    "loop_option",
    "package_version",
    "rate",
    "run",
    "seconds",
    "size",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

LOOPS = ("auto", "asyncio", "uvloop")


def loop_option(function: F) -> F:
    """The option ``--loop``."""
    return click.option(
        "--loop",
        type=click.Choice(LOOPS),
        default="auto",
        help="Event loop; auto takes uvloop when it is installed.",
    )(function)


def run(main: Coroutine[Any, Any, T], loop: str = "auto") -> T:
    """Run ``main`` to its end on the chosen event loop.

    SIGTERM ends it in order, as Ctrl-C does, but without a KeyboardInterrupt.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop != "asyncio":
        try:
            import uvloop

            factory = uvloop.new_event_loop
        except ModuleNotFoundError:
            if loop == "uvloop":
                main.close()
                raise click.ClickException(
                    'uvloop is not installed; run: pip install "cwt-quic[uvloop]"'
                )
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_until_terminated(main))


async def _until_terminated(main: Coroutine[Any, Any, T]) -> T:
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    with contextlib.suppress(ValueError, RuntimeError):  # not the main thread
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if not task.done():  # it is we who are cancelled, by Ctrl-C
            task.cancel()
            await asyncio.wait([task])
        if terminated:
            raise click.exceptions.Exit(0)
        raise
    finally:
        with contextlib.suppress(ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)


def package_version() -> str:
    """The version of cwt; "unknown" when it is not installed."""
    try:
        return version("cwt-quic")
    except PackageNotFoundError:
        return "unknown"


def explain(error: BaseException) -> str | None:
    """What to tell the user of ``error``; None when it is a mistake in cwt, not one of theirs."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, CwtError):
        return str(error)
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        text = error.strerror or str(error)
        return f"{error.filename}: {text}" if error.filename else text
    return None


def size(count: float) -> str:
    """Bytes in words: ``1.5 MB``."""
    return _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB"))


def rate(bytes_per_second: float) -> str:
    """A rate in words: ``1.5 Mbit/s``."""
    return _scaled(bytes_per_second * 8, 1000, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))


def seconds(value: float) -> str:
    """A duration in words: ``1.5 ms``."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{_digits(value * factor)} {unit}"
    return f"{_digits(value * 1e6)} µs"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(value) < base:
            return f"{_digits(value)} {unit}"
        value /= base
    return f"{_digits(value)} {units[-1]}"


def _digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
