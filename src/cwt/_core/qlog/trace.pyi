from collections.abc import Callable, Mapping
from typing import Any, final

from cwt._types import BytesWriter

LEVELS: tuple[str, ...]
EVENT_SCHEMAS: tuple[str, ...]

@final
class Trace:
    level: int
    group: str
    def __init__(
        self,
        writer: BytesWriter | Callable[[bytes], object],
        level: str,
        is_client: bool,
        odcid: bytes,
        title: str | None = None,
        description: str | None = None,
        wall_clock: str | None = None,
    ) -> None: ...
    def event(self, name: str, data: Mapping[str, Any], level: str = "base") -> None: ...
