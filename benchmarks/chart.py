"""The bar charts of ``benchmarks.compare``, for README and docs; needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from benchmarks.environment import Environment
from benchmarks.harness import Result
from benchmarks.stacks import STACKS
from benchmarks.workloads import WORKLOADS

IMAGE = Path(__file__).resolve().parent.parent / "docs" / "images" / "comparison.png"

TEXT = "#768390"  # legible on white and on GitHub's dark background alike
GRID = "#76839040"
OURS, PYTHON, NATIVE, TLS = "#e8590c", "#4c8dd6", "#8b95a1", "#2f9e72"
LEGEND = (
    (OURS, "cwt"),
    (PYTHON, "other QUIC stacks with a Python API"),
    (NATIVE, "native peers in Rust and Go"),
    (TLS, "TCP and TLS in Python"),
)
PANELS = (
    ("upload", "upload: CPU seconds per GB", 1e9),
    ("requests", "small requests: CPU µs each", 1e6),
    ("datagrams", "datagrams: CPU µs each", 1e6),
    ("handshakes", "handshakes: CPU ms each", 1e3),
)


def _colour(stack: str) -> str:
    entry = STACKS[stack]
    if stack.partition("-")[0] == "cwt":
        return OURS
    if "TLS" in entry.protocol:
        return TLS
    return NATIVE if entry.build else PYTHON


def _values(workload: str, unit: float, results: list[Result]) -> dict[str, float]:
    """CPU of both ends for each unit of work, by stack."""
    return {
        result.stack: result.cpu / result.done * unit
        for result in results
        if result.workload == workload and not result.reason and result.done
    }


def _label(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _panel(axes: Axes, title: str, values: dict[str, float]) -> None:
    names = sorted(values, key=lambda name: -values[name])
    heights = [values[name] for name in names]
    axes.barh(names, heights, color=[_colour(name) for name in names], height=0.72)
    axes.set_xscale("log")
    axes.set_xlim(min(heights) / 3, max(heights) * 3.5)
    for row, value in enumerate(heights):
        ours = _colour(names[row]) == OURS
        axes.text(
            value * 1.08,
            row,
            _label(value),
            va="center",
            color=OURS if ours else TEXT,
            fontweight="bold" if ours else "normal",
        )
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if _colour(name) == OURS:
            tick.set_color(OURS)
            tick.set_fontweight("bold")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(title, color=TEXT, loc="left", fontweight="bold", fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", which="both", length=0, labelcolor=TEXT, labelsize=8)
    axes.grid(axis="x", which="major", color=GRID)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def write(environment: Environment, results: list[Result]) -> None:
    """Draw what was measured into :data:`IMAGE`."""
    panels = [
        (title, values)
        for workload, title, unit in PANELS
        if workload in WORKLOADS and (values := _values(workload, unit, results))
    ]
    if not panels:
        return
    style = {"font.size": 9.5, "font.family": "DejaVu Sans", "text.color": TEXT}
    with pyplot.rc_context({**style, "ytick.color": TEXT}):
        rows = (len(panels) + 1) // 2
        figure, axes = pyplot.subplots(rows, 2, figsize=(11, 0.6 + 4.1 * rows), squeeze=False)
        for place, panel in zip(axes.flat, panels, strict=False):
            _panel(place, *panel)
        for place in list(axes.flat)[len(panels) :]:
            place.set_visible(False)
        figure.legend(
            handles=[Patch(color=colour, label=label) for colour, label in LEGEND],
            loc="lower center",
            ncols=4,
            frameon=False,
            labelcolor=TEXT,
        )
        figure.suptitle(
            "CPU time of client and server together, logarithmic: shorter is better",
            color=TEXT,
            fontsize=12,
        )
        figure.tight_layout(rect=(0, 0.04, 1, 0.99), w_pad=3, h_pad=2)
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(IMAGE, dpi=150, transparent=True)
        pyplot.close(figure)
