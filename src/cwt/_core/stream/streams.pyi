from typing import final

from cwt.config import TransportConfig

@final
class SendGroup:
    urgency: int
    def __len__(self) -> int: ...

@final
class Stream:
    id: int

@final
class Streams:
    data_blocked_sent: int
    resets_sent: int
    stops_sent: int
    stream_data_blocked_sent: int
    def __init__(self, is_client: bool, config: TransportConfig) -> None: ...
