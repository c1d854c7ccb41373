"""What is measured: links, flows, how long, and the least that is expected."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from benchmarks.congestion.simulation import Link, Simulation

CONTROLLERS = ("newreno", "cubic", "bbr")
RATES = (10e6, 100e6, 1000e6)
RTTS = (0.005, 0.05, 0.2)

UTILISATION = 0.9
UTILISATION_LOSSY = 0.8
FAIRNESS = 0.9


@dataclass(frozen=True)
class Cell:
    """Flows on a link, measured from *start* to *end* seconds; a flow begins each *gap* seconds."""

    link: Link
    controllers: tuple[str, ...]
    start: float
    end: float
    gap: float = 0.0
    utilisation: float = 0.0  # the least expected
    fairness: float = 0.0

    def __str__(self) -> str:
        return f"{' and '.join(self.controllers)} at {self.link}"


@dataclass(frozen=True)
class Outcome:
    """What *cell* gave between its start and its end."""

    cell: Cell
    utilisation: float  # of the link, by datagrams that passed it
    goodput: tuple[float, ...]  # bits a second of stream data, by flow
    loss: float  # of datagrams sent, at the queue or by chance
    queue: float  # its mean, as a part of its room

    @property
    def fairness(self) -> float:
        """Jain's index of the goodputs: 1 when all are equal, 1/n when one flow has everything."""
        return sum(self.goodput) ** 2 / (len(self.goodput) * sum(x * x for x in self.goodput))

    @property
    def misses(self) -> list[str]:
        """What it should have reached."""
        cell, found = self.cell, []
        if self.utilisation < cell.utilisation:
            found.append(f"{cell}: {self.utilisation:.1%} of the link, not {cell.utilisation:.0%}")
        if self.fairness < cell.fairness:
            found.append(f"{cell}: a fairness of {self.fairness:.3f}, not {cell.fairness}")
        return found


def measure(cell: Cell, seed: int = 1) -> Outcome:
    """Run the flows of *cell*."""
    step = max(cell.link.rtt / 4, (cell.end - cell.start) / 1000)
    simulation = Simulation(cell.link, cell.controllers, seed=seed, gap=cell.gap, sample_every=step)
    simulation.run(cell.start)
    before = simulation.through, simulation.dropped + simulation.lost
    packets = [flow.sender.stats().packets_sent for flow in simulation.flows]
    received = [flow.received for flow in simulation.flows]
    simulation.run(cell.end)
    seconds = cell.end - cell.start
    queue = [sample.queue for sample in simulation.flows[0].samples if sample.time > cell.start]
    sent = sum(flow.sender.stats().packets_sent for flow in simulation.flows) - sum(packets)
    return Outcome(
        cell,
        (simulation.through - before[0]) / seconds / simulation.rate,
        tuple(
            (flow.received - start) * 8 / seconds
            for flow, start in zip(simulation.flows, received, strict=True)
        ),
        (simulation.dropped + simulation.lost - before[1]) / max(sent, 1),
        sum(queue) / len(queue) / simulation.room,
    )


def _single(controller: str, rate: float, rtt: float, loss: float = 0.0) -> Cell:
    # After start-up, which takes some round trips, and long enough for two cycles of ProbeRTT.
    start = max(2.0, 40 * rtt)
    least = UTILISATION_LOSSY if loss else UTILISATION
    return Cell(
        Link(rate=rate, rtt=rtt, loss=loss), (controller,), start, start + 12.0, utilisation=least
    )


def alone() -> list[Cell]:
    """One flow, on every link of the grid."""
    return [_single(name, rate, rtt) for rate in RATES for rtt in RTTS for name in CONTROLLERS]


def lossy() -> list[Cell]:
    """One BBR flow where chance takes 2 % of the datagrams."""
    return [_single("bbr", rate, rtt, 0.02) for rate in RATES for rtt in RTTS]


def shared() -> list[Cell]:
    """Two flows, the second one later; of two kinds, it is only said what they make of it."""
    cells = []
    pairs = [(name, name) for name in CONTROLLERS] + [("cubic", "bbr"), ("bbr", "cubic")]
    for rate, rtt in ((10e6, 0.02), (10e6, 0.05), (50e6, 0.05), (100e6, 0.02)):
        for pair in pairs:
            least = FAIRNESS if pair[0] == pair[1] else 0.0
            link = Link(rate=rate, rtt=rtt)
            cells.append(
                Cell(link, pair, 10.0, 70.0, gap=2.0, utilisation=UTILISATION, fairness=least)
            )
    return cells


def run(cells: list[Cell], jobs: int, seed: int = 1) -> list[Outcome]:
    """All of *cells*, in *jobs* processes."""
    if jobs == 1:
        return [measure(cell, seed) for cell in cells]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(partial(measure, seed=seed), cells))
