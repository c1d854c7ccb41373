"""A connection over time, drawn with matplotlib."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cwt.cli.common import size
from cwt.qlog.reading import Log
from cwt.qlog.summary import Series, Summary, series

__all__ = ["plot"]

_BLUE, _ORANGE, _GREEN, _RED, _GREY, _VIOLET = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#777777",
    "#cc79a7",
)
_PHASES = {
    "slow_start": "#0072b2",
    "startup": "#0072b2",
    "recovery": "#d55e00",
    "application_limited": "#777777",
}
_MARKS = 40


def plot(log: Log, summary: Summary, output: Path) -> None:
    """Draw *log* into the image *output*; ValueError for a kind of image that is not known."""
    matplotlib.use("agg")
    figure = Figure(figsize=(12, 9), dpi=100, layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 3])
    unit, name = (1.0, "ms") if summary.duration < 2000 else (1000.0, "s")
    _window(axes[0], log, summary, unit)
    _round_trip(axes[1], log, unit)
    _data(axes[2], summary, unit)
    for one in axes:
        one.grid(alpha=0.25, linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
        one.margins(x=0.01)
    axes[2].set_xlabel(f"time [{name}]")
    _marks(axes, summary, unit)
    figure.suptitle(_title(log, summary), fontsize=11)
    figure.savefig(output)


def _title(log: Log, summary: Summary) -> str:
    who = " ".join(part for part in (log.implementation, log.vantage_point) if part)
    text = f"{who}, connection {log.group}"
    sent = sum(packet.size for packet in summary.sent)
    received = sum(packet.size for packet in summary.received)
    text += f"\n{size(sent)} sent, {size(received)} received, {len(summary.lost)} packets lost"
    if summary.closed is not None:
        text += f"; {summary.closed[1]}"
    return text.replace("$", r"\$")


def _scaled(times: list[float], unit: float) -> list[float]:
    return [time / unit for time in times]


def _step(axes: Axes, line: Series, unit: float, **style: Any) -> None:
    axes.step(_scaled(line.times, unit), line.values, where="post", **style)


def _bytes(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    axes.set_ylim(bottom=0)


def _window(axes: Axes, log: Log, summary: Summary, unit: float) -> None:
    window = series(log, "congestion_window", "cwnd")
    flight = series(log, "bytes_in_flight")
    if flight.times:
        axes.fill_between(
            _scaled(flight.times, unit),
            flight.values,
            step="post",
            color=_ORANGE,
            alpha=0.35,
            linewidth=0,
            label="bytes in flight",
        )
    if window.times:
        window.times.append(summary.duration)
        window.values.append(window.values[-1])
        _step(axes, window, unit, color=_BLUE, linewidth=1.6, label="congestion window")
    threshold = series(log, "ssthresh")
    if threshold.times:
        threshold.times.append(summary.duration)
        threshold.values.append(threshold.values[-1])
        _step(
            axes,
            threshold,
            unit,
            color=_GREEN,
            linewidth=1,
            linestyle="--",
            label="slow start threshold",
        )
    _phases(axes, summary, unit)
    _bytes(axes, "bytes")
    top = max([*window.values, *flight.values, 1.0])
    axes.set_ylim(0, 1.12 * top)
    _legend(axes)


def _phases(axes: Axes, summary: Summary, unit: float) -> None:
    """What the controller did, as colours behind the window."""
    states = [(0.0, "slow_start"), *summary.congestion_states]
    if not summary.congestion_states:
        return
    ends = [*(time for time, _ in states[1:]), summary.duration]
    labelled = set()
    for (start, state), end in zip(states, ends, strict=True):
        colour = _PHASES.get(state)
        if colour is None or end <= start:
            continue
        label = None if state in labelled else state.replace("_", " ")
        labelled.add(state)
        axes.axvspan(start / unit, end / unit, color=colour, alpha=0.09, linewidth=0, label=label)


def _round_trip(axes: Axes, log: Log, unit: float) -> None:
    latest = series(log, "latest_rtt")
    smoothed = series(log, "smoothed_rtt")
    least = series(log, "min_rtt")
    axes.plot(
        _scaled(latest.times, unit),
        latest.values,
        ".",
        color=_GREY,
        markersize=3,
        alpha=0.6,
        label="round-trip time",
    )
    _step(axes, smoothed, unit, color=_BLUE, linewidth=1.4, label="smoothed")
    if least.times:
        end = max(latest.times[-1:] + least.times[-1:])
        least.times.append(end)
        least.values.append(least.values[-1])
        _step(axes, least, unit, color=_GREEN, linewidth=1, linestyle="--", label="minimum")
    axes.set_ylabel("round trip [ms]")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _data(axes: Axes, summary: Summary, unit: float) -> None:
    sent = [packet for packet in summary.sent if packet.size]
    received = [packet for packet in summary.received if packet.size]
    ups = list(accumulate(packet.size for packet in sent))
    downs = list(accumulate(packet.size for packet in received))
    acked_times, acked = _acknowledged(summary)
    for times, values, colour, label in (
        ([packet.time for packet in sent], ups, _BLUE, "sent"),
        (acked_times, acked, _GREEN, "acknowledged"),
        ([packet.time for packet in received], downs, _VIOLET, "received"),
    ):
        if values:
            _step(
                axes,
                Series(times, [float(value) for value in values]),
                unit,
                color=colour,
                linewidth=1.5,
                label=label,
            )
    if summary.lost and ups:
        times = [packet.time for packet in sent]
        at = [time for time, _ in summary.lost]
        heights = [ups[max(0, bisect_right(times, time) - 1)] for time in at]
        axes.plot(
            _scaled(at, unit),
            heights,
            "x",
            color=_RED,
            markersize=5,
            markeredgewidth=1.3,
            label="packet declared lost",
        )
    _bytes(axes, "bytes since the start")
    _legend(axes)


def _acknowledged(summary: Summary) -> tuple[list[float], list[int]]:
    """Bytes of sent packets as they were acknowledged, from the ACK frames received."""
    waiting: dict[str, dict[int, tuple[float, int]]] = {}
    for packet in summary.sent:
        if packet.number is not None:
            waiting.setdefault(packet.key[0], {})[packet.number] = packet.time, packet.size
    times: list[float] = []
    totals: list[int] = []
    total = 0
    for packet in summary.received:
        space = waiting.get(packet.key[0], {})
        for frame in packet.frames:
            if frame.get("frame_type") != "ack":
                continue
            before = total
            for low, high in _ranges(frame):
                if high - low > 4 * len(space):
                    numbers = [number for number in space if low <= number <= high]
                else:
                    numbers = [number for number in range(low, high + 1) if number in space]
                total += sum(space.pop(number)[1] for number in numbers)
            if total > before:
                times.append(packet.time)
                totals.append(total)
    return times, totals


def _ranges(frame: dict[str, Any]) -> list[tuple[int, int]]:
    ranges = frame.get("acked_ranges")
    found = []
    for one in ranges if isinstance(ranges, list) else []:
        if isinstance(one, list) and one and all(str(number).isdecimal() for number in one):
            found.append((int(one[0]), int(one[-1])))
    return found


def _marks(axes: Any, summary: Summary, unit: float) -> None:
    """Vertical lines where something happened, named above the first plot."""
    moments = [(summary.states[state], text) for state, text in _STATES if state in summary.states]
    moments += [(time, f"key update ({who})") for time, who in summary.key_updates]
    moments += [
        (time, what.replace("_", " ")) for time, what in summary.migrations if "started" not in what
    ]
    moments += [(time, f"MTU {mtu}") for time, mtu in summary.mtu]
    if summary.closed is not None:
        moments.append((summary.closed[0], "close"))
    room = 0.0
    width = max(summary.duration, 1.0) / 70
    for time, text in sorted(moments, key=lambda moment: moment[0])[:_MARKS]:
        for one in axes:
            one.axvline(time / unit, color=_GREY, linewidth=0.7, linestyle=":", zorder=0)
        at = max(time, room)
        room = at + width
        axes[0].annotate(
            text,
            (at / unit, 1.0),
            xycoords=("data", "axes fraction"),
            rotation=60,
            fontsize=7,
            color="#444444",
            va="bottom",
            ha="left",
            annotation_clip=False,
        )


_STATES = (("handshake_complete", "handshake complete"), ("handshake_confirmed", "confirmed"))


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=8, frameon=False)
