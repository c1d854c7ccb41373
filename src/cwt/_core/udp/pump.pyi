from collections.abc import Callable
from typing import final

from cwt._core.endpoint import Endpoint
from cwt._core.udp.socket import UdpSocket

@final
class Pump:
    endpoint: Endpoint
    socket: UdpSocket
    blocked: UdpSocket | None
    def __init__(
        self, endpoint: Endpoint, socket: UdpSocket, clock: Callable[[], float] | None = None
    ) -> None: ...
    def add(self, socket: UdpSocket) -> None: ...
    def remove(self, socket: UdpSocket) -> None: ...
    def receive(self, now: float) -> bool: ...
    def transmit(self, now: float) -> bool: ...
