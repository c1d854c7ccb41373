"""Bulk data on sans-IO endpoints, next to the limit pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from benchmarks import limit
from benchmarks.drive import Load, bulk, contexts
from benchmarks.processes import Figures
from benchmarks.targets.row import Effort, Result, spread

__all__ = ["Pairs", "against", "alternate", "cpu", "one_stream", "streams"]

MEGABYTES = 250
Pairs = list[tuple[Figures, Figures]]
"""Figures of the sender and of the receiver, one pair a round."""


def alternate(
    runs: Mapping[str, Callable[[], tuple[Figures, Figures]]], rounds: int
) -> dict[str, Pairs]:
    """Each of *runs* in turn, *rounds* times, so that what else the machine does falls on all of them."""
    found: dict[str, Pairs] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return found


def cpu(pairs: Pairs) -> dict[str, dict[str, float]]:
    """CPU seconds per GB of each side, and of both."""
    return {
        "sender": spread(sender.cpu_per_gb for sender, _ in pairs),
        "receiver": spread(receiver.cpu_per_gb for _, receiver in pairs),
        "both": spread(sender.cpu_per_gb + receiver.cpu_per_gb for sender, receiver in pairs),
    }


def wall(pairs: Pairs) -> float:
    """Gbit/s by the clock, in the best round."""
    return max(receiver.count * 8 / receiver.seconds / 1e9 for _, receiver in pairs)


def lost(pairs: Pairs) -> float:
    """The share of the sender's packets that were lost."""
    sent = sum(sender.packets for sender, _ in pairs)
    return sum(int(sender.details.get("lost", 0)) for sender, _ in pairs) / sent


def one_stream(effort: Effort) -> Iterator[Result]:
    """Both directions, each side held against the same side of the limit pair."""
    total, tls = effort.amount(MEGABYTES * 1_000_000), contexts()
    found = alternate(
        {
            "limit": lambda: limit.run(total),
            "up": lambda: bulk(Load(total=total), tls),
            "down": lambda: bulk(Load(total=total, download=True), tls),
        },
        effort.rounds,
    )
    bound = cpu(found["limit"])
    yield Result(
        name="limit pair",
        target="",
        measured=sides(bound, found["limit"]),
        ok=None,
        figures={"cpu_per_gb": bound, "gbit_per_second": wall(found["limit"])},
    )
    for name, title in (("up", "client to server"), ("down", "server to client")):
        spent = cpu(found[name])
        share = {
            side: {kind: bound[side][kind] / spent[side][kind] for kind in ("min", "median")}
            for side in ("sender", "receiver")
        }
        yield Result(
            name=f"one stream, {title}",
            target="50 % of the limit pair",
            measured=(
                f"{share['sender']['min']:.0%} sender, {share['receiver']['min']:.0%} receiver "
                f"({share['sender']['median']:.0%}, {share['receiver']['median']:.0%} by medians); "
                + sides(spent, found[name])
            ),
            ok=min(side["min"] for side in share.values()) >= 0.5,
            figures={
                "cpu_per_gb": spent,
                "share_of_limit": share,
                "gbit_per_second": wall(found[name]),
                "lost": lost(found[name]),
            },
        )


def sides(spent: dict[str, dict[str, float]], pairs: Pairs) -> str:
    return (
        f"{spent['sender']['min']:.2f} + {spent['receiver']['min']:.2f} CPU s/GB, "
        f"{wall(pairs):.1f} Gbit/s, {lost(pairs):.1%} lost"
    )


def against(base: str, below: Pairs, name: str, above: Pairs, percent: int) -> Result:
    """The CPU time of *above*, which should be within *percent* of that of *below*, called *base*."""
    least, spent = cpu(below), cpu(above)
    ratio = {kind: spent["both"][kind] / least["both"][kind] for kind in ("min", "median")}
    return Result(
        name=name,
        target=f"within {percent} % of {base}",
        measured=(
            f"{ratio['min']:.2f} ({ratio['median']:.2f} by medians) of {base}'s CPU; "
            + sides(spent, above)
        ),
        ok=ratio["min"] <= 1 + percent / 100,
        figures={"ratio": ratio, "cpu_per_gb": spent, "base_cpu_per_gb": least},
    )


def streams(effort: Effort) -> Iterator[Result]:
    """A hundred streams at once against one."""
    total, tls = effort.amount(MEGABYTES * 1_000_000), contexts()
    counts = {"one": 1, "hundred": 100}
    for download in (False, True):
        found = alternate(
            {
                name: lambda count=count, download=download: bulk(  # type: ignore[misc]
                    Load(total=total, streams=count, download=download), tls
                )
                for name, count in counts.items()
            },
            effort.rounds,
        )
        direction = "server to client" if download else "client to server"
        yield against("one stream", found["one"], f"100 streams, {direction}", found["hundred"], 10)
