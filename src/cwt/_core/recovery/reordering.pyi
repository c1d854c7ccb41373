from typing import Any, final

@final
class Reordering:
    packets: int
    eighths: int
    def delay(self, rtt: Any) -> int: ...
    def on_lost(self, first: int, count: int, newest: int, now: int) -> None: ...
    def on_spurious_loss(
        self, number: int, distance: int, took: int, rtt: Any
    ) -> bool: ...
