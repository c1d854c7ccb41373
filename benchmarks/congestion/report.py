"""The tables of docs/congestion.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.congestion.cells import CONTROLLERS, Outcome

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "congestion.md"
BEGIN, END = "<!-- make congestion writes this -->", "<!-- until here -->"


def _markdown(rows: list[list[str]]) -> str:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _alone(outcomes: list[Outcome]) -> str:
    links = list(dict.fromkeys(outcome.cell.link for outcome in outcomes))
    found = {(outcome.cell.link, outcome.cell.controllers[0]): outcome for outcome in outcomes}
    rows = [["link", *CONTROLLERS]]
    for link in links:
        cells = [found[link, name] for name in CONTROLLERS]
        rows.append(
            [str(link), *(f"{cell.utilisation:.1%}, queue {cell.queue:.0%}" for cell in cells)]
        )
    return _markdown(rows)


def _lossy(outcomes: list[Outcome]) -> str:
    rows = [["link", "utilisation", "goodput"]]
    for outcome in outcomes:
        link = outcome.cell.link
        rows.append(
            [str(link), f"{outcome.utilisation:.1%}", f"{outcome.goodput[0] / link.rate:.1%}"]
        )
    return _markdown(rows)


def _shared(outcomes: list[Outcome]) -> str:
    rows = [["link", "flows", "Mbit/s of each", "Jain's index", "utilisation"]]
    for outcome in outcomes:
        rows.append(
            [
                str(outcome.cell.link),
                " and ".join(outcome.cell.controllers),
                " and ".join(f"{goodput / 1e6:.1f}" for goodput in outcome.goodput),
                f"{outcome.fairness:.3f}",
                f"{outcome.utilisation:.1%}",
            ]
        )
    return _markdown(rows)


def text(alone: list[Outcome], lossy: list[Outcome], shared: list[Outcome]) -> str:
    """All three tables."""
    return f"""\
One flow, a queue of one bandwidth-delay product: how much of the link it uses, and how full it keeps the
queue on average.

{_alone(alone)}

One BBR flow, and chance takes 2 % of the datagrams; goodput is stream data.

{_lossy(lossy)}

Two flows, the second one 2 s later, from the 10th second to the 70th.

{_shared(shared)}
"""


def write(tables: str) -> None:
    """Put *tables* into the document."""
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{tables}\n{END}{tail}")
