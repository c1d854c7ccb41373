from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import final

from cwt._types import Address

RETRY_LIFETIME: float
NEW_TOKEN_LIFETIME: float

class TokenKind(IntEnum):
    UNKNOWN = 0
    RETRY = 1
    NEW_TOKEN = 2
    INVALID = 3

@final
class AddressTokens:
    def __init__(
        self, secrets: Sequence[bytes] = (), *, random: Callable[[int], bytes]
    ) -> None: ...
    def retry_token(
        self,
        address: Address | None,
        original_dcid: bytes,
        retry_scid: bytes,
        version: int,
        now: float,
    ) -> bytes: ...
    def new_token(self, address: Address | None, version: int, now: float) -> bytes: ...
    def open(
        self, token: bytes, address: Address | None, dcid: bytes, version: int, now: float
    ) -> tuple[TokenKind, bytes]: ...
    def spend(self, token: bytes, now: float) -> int: ...

@final
class Filter: ...

@final
class GivenToken: ...
