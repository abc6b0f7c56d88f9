"""What each client of an EvoLink account has: the key, its absence from all texts, and an end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from adloom.core.errors import SettingInvalid
from adloom.edges.evolink import transport
from adloom.edges.evolink.text import Cleaner
from adloom.edges.settings import Settings


class AccountClient(ABC):
    """A client that sends the key of one account. Close it with ``aclose`` or use it as an async context.

    Raises SettingInvalid without a key.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.api_key is None:
            raise SettingInvalid(
                "EVOLINK_API_KEY is not set", remedy="Set it to a key from EvoLink's console; keys look like sk-…"
            )
        transport.quiet_http_logs()
        self._key = settings.api_key
        self._clean = Cleaner(self._key.reveal())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""
