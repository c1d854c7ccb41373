"""``python -m benchmarks.limit``: the limit pair alone."""

from __future__ import annotations

import argparse

from benchmarks import limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    for _ in range(options.repeat):
        for name, figures in zip(
            ("sender", "receiver"), limit.run(int(options.megabytes * 1e6)), strict=True
        ):
            print(
                f"{name:8} {figures.cpu_per_gb:.3f} CPU s/GB, "
                f"{figures.cpu / figures.packets * 1e9:.0f} ns a packet, "
                f"{figures.count * 8 / figures.cpu / 1e9:.2f} Gbit/s a core, "
                f"{figures.count * 8 / figures.seconds / 1e9:.2f} Gbit/s by the clock"
            )


if __name__ == "__main__":
    main()
