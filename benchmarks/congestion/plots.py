"""Pictures of flows over time; needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.congestion.simulation import Flow, Link, Sample, Simulation

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

TEXT = "#768390"  # legible on white and on GitHub's dark background alike
GRID = "#76839030"
WINDOW, IN_FLIGHT, RTT, QUEUE, LOSS = "#e8590c", "#4c8dd6", "#2f9e72", "#9c6ade", "#e03131"
FLOWS = ("#4c8dd6", "#e8590c", "#2f9e72", "#9c6ade")
BINS = 125  # of the goodput, over the whole picture
LABELS = {"newreno": "NewReno", "cubic": "CUBIC", "bbr": "BBR"}


@dataclass(frozen=True)
class Column:
    """One simulation of a picture."""

    title: str
    link: Link
    controllers: tuple[str, ...]
    gap: float = 0.0


@dataclass(frozen=True)
class Picture:
    """Columns side by side, *seconds* long; *document*: it belongs into docs/images."""

    name: str
    title: str
    seconds: float
    columns: tuple[Column, ...]
    document: bool = False
    start: float = 0.0
    panels: tuple[str, ...] = field(default=("window", "rtt", "queue", "goodput"))


def _three(link: Link) -> tuple[Column, ...]:
    names = (("newreno", "NewReno"), ("cubic", "CUBIC"), ("bbr", "BBR"))
    return tuple(Column(title, link, (name,)) for name, title in names)


def _single(name: str, link: Link, seconds: float, **options: Any) -> Picture:
    return Picture(name, f"One flow: {link}", seconds, _three(link), **options)


SHARED = Link(rate=20e6, rtt=0.04)
PICTURES = (
    _single("controllers", Link(rate=20e6, rtt=0.04), 20.0, document=True),
    _single("controllers-start", Link(rate=100e6, rtt=0.05), 3.0),
    _single("controllers-slow", Link(rate=10e6, rtt=0.005), 4.0),
    _single("controllers-long", Link(rate=100e6, rtt=0.2), 40.0),
    _single("controllers-fast", Link(rate=1e9, rtt=0.05), 12.0),
    _single("controllers-lossy", Link(rate=20e6, rtt=0.04, loss=0.02), 20.0, document=True),
    Picture(
        "sharing",
        f"Two flows, the second one 5 s later: {SHARED}",
        60.0,
        (
            Column("CUBIC and CUBIC", SHARED, ("cubic", "cubic"), 5.0),
            Column("BBR and BBR", SHARED, ("bbr", "bbr"), 5.0),
            Column("CUBIC and BBR", SHARED, ("cubic", "bbr"), 5.0),
        ),
        document=True,
        panels=("goodput", "in flight", "queue"),
    ),
)


def _thin(samples: Sequence[Sample], start: float) -> list[Sample]:
    return [sample for sample in samples if sample.time >= start]


def _goodput(samples: Sequence[Sample]) -> Iterator[tuple[float, float]]:
    """Time and bits a second, over bins of equal length."""
    step = max(1, len(samples) // BINS)
    for before, after in pairwise(samples[::step]):
        seconds = after.time - before.time
        yield (before.time + after.time) / 2, (after.received - before.received) * 8 / seconds


def _panel_window(axes: Axes, link: Link, flows: list[Flow], start: float) -> None:
    samples = _thin(flows[0].samples, start)
    times = [sample.time for sample in samples]
    in_flight = [sample.in_flight / link.product for sample in samples]
    axes.fill_between(times, in_flight, color=IN_FLIGHT, alpha=0.5, lw=0)
    window = [sample.window / link.product for sample in samples]
    axes.plot(times, window, color=WINDOW, lw=1.2)
    axes.axhline(1, color=TEXT, lw=0.8, ls=":")
    axes.axhline(1 + link.room / link.product, color=TEXT, lw=0.8, ls=":")
    axes.set_ylim(0, min(max(window), 5) * 1.08)
    axes.set_ylabel("BDP")


def _panel_in_flight(axes: Axes, link: Link, flows: list[Flow], start: float) -> None:
    for flow, colour in zip(flows, FLOWS, strict=False):
        samples = _thin(flow.samples, start)
        times = [sample.time for sample in samples]
        values = [sample.in_flight / link.product for sample in samples]
        axes.plot(times, values, color=colour, lw=0.9)
    axes.set_ylim(0)
    axes.set_ylabel("in flight, BDP")


def _panel_rtt(axes: Axes, link: Link, flows: list[Flow], start: float) -> None:
    samples = [sample for sample in _thin(flows[0].samples, start) if sample.rtt]
    times = [sample.time for sample in samples]
    axes.plot(times, [sample.rtt * 1e3 for sample in samples], color=RTT, lw=0.9)
    axes.axhline(link.rtt * 1e3, color=TEXT, lw=0.8, ls=":")
    axes.set_ylim(0)
    axes.set_ylabel("RTT, ms")


def _panel_queue(axes: Axes, link: Link, flows: list[Flow], start: float) -> None:
    samples = _thin(flows[0].samples, start)
    times = [sample.time for sample in samples]
    values = [sample.queue / 1e3 for sample in samples]
    axes.fill_between(times, values, color=QUEUE, alpha=0.6, lw=0)
    dropped = [after.time for before, after in pairwise(samples) if after.dropped > before.dropped]
    room = link.room / 1e3
    axes.plot(dropped, [room * 1.07] * len(dropped), "|", color=LOSS, ms=5, mew=0.9)
    axes.axhline(room, color=TEXT, lw=0.8, ls=":")
    axes.set_ylim(0, room * 1.15)
    axes.set_ylabel("queue, kB")


def _panel_goodput(axes: Axes, link: Link, flows: list[Flow], start: float) -> None:
    for flow, colour in zip(flows, FLOWS, strict=False):
        points = list(_goodput(_thin(flow.samples, start)))
        times = [time for time, _ in points]
        values = [value / 1e6 for _, value in points]
        axes.plot(times, values, color=colour, lw=1.0)
    axes.axhline(link.rate / 1e6, color=TEXT, lw=0.8, ls=":")
    axes.set_ylim(0, link.rate / 1e6 * 1.12)
    axes.set_ylabel("goodput, Mbit/s")


PANELS = {
    "window": _panel_window,
    "in flight": _panel_in_flight,
    "rtt": _panel_rtt,
    "queue": _panel_queue,
    "goodput": _panel_goodput,
}


def _style(axes: Axes) -> None:
    axes.grid(color=GRID)
    axes.tick_params(colors=TEXT, length=0)
    axes.yaxis.label.set_color(TEXT)
    axes.xaxis.label.set_color(TEXT)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _legend(picture: Picture) -> list[Any]:
    """What the colours mean, as far as the axes do not say it."""
    entries: list[Any] = []
    if "window" in picture.panels:
        entries += [
            Line2D([], [], color=WINDOW, label="congestion window"),
            Patch(color=IN_FLIGHT, alpha=0.5, label="bytes in flight"),
        ]
    if any(len(column.controllers) > 1 for column in picture.columns):
        entries += [
            Line2D([], [], color=colour, label=f"{order} flow")
            for order, colour in zip(("first", "second"), FLOWS, strict=False)
        ]
    drops = Line2D([], [], color=LOSS, ls="", marker="|", label="datagrams dropped by the queue")
    limit = Line2D(
        [], [], color=TEXT, ls=":", label="of the link: rate, round trip, queue, product"
    )
    return [*entries, drops, limit]


def figure(picture: Picture) -> Figure:
    """Run the simulations of *picture* and draw them."""
    rows, columns = len(picture.panels), len(picture.columns)
    made, grid = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 1.75 * rows + 0.9), sharex=True, sharey="row",
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for index, column in enumerate(picture.columns):
        every = max(picture.seconds / 2500, 0.001)
        simulation = Simulation(column.link, column.controllers, gap=column.gap, sample_every=every)
        simulation.run(picture.seconds)
        for row, name in enumerate(picture.panels):
            axes = grid[row][index]
            PANELS[name](axes, column.link, simulation.flows, picture.start)
            _style(axes)
            if index:
                axes.set_ylabel("")
        grid[0][index].set_title(column.title, color=TEXT, fontweight="bold")
        grid[-1][index].set_xlabel("seconds")
        grid[-1][index].set_xlim(picture.start, picture.seconds)
    made.suptitle(picture.title, color=TEXT)
    made.legend(
        handles=_legend(picture), loc="outside lower center", ncols=5, frameon=False, labelcolor=TEXT,
        fontsize=9,
    )  # fmt: skip
    return made


def draw(directory: Path, document: bool, pictures: Sequence[Picture] = PICTURES) -> list[Path]:
    """All *pictures* into *directory*, and those of the document into docs/images; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in pictures:
        made = figure(picture)
        places = [directory]
        if document and picture.document:
            places.append(IMAGES)
        for place in places:
            path = place / f"{picture.name}.png"
            with pyplot.rc_context({"path.simplify": False}):
                made.savefig(path, dpi=110, transparent=place == IMAGES)
            paths.append(path)
        pyplot.close(made)
    return paths
