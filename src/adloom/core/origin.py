"""The API that an edition's images were bought from."""

from __future__ import annotations

from dataclasses import dataclass

SANDBOX = "sandbox"
"""The address of a stand-in that adloom starts itself: its port is different each time."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An API. ``address`` is scheme, host and port; empty where it was not recorded, as in the first versions."""

    address: str = ""
    is_stand_in: bool = False

    def __str__(self) -> str:
        if self.address in ("", SANDBOX):
            return "the sandbox" if self.is_stand_in else "the real API"
        return f"the stand-in at {self.address}" if self.is_stand_in else self.address

    @property
    def word(self) -> str:
        """The prefix of every amount that was not real money."""
        return "sandbox " if self.is_stand_in else ""


UNKNOWN = Origin()


@dataclass(frozen=True, slots=True)
class Buying:
    """Where a run buys.

    ``sandbox`` says whether it was requested by name; ``same_api`` why a new address is the same API.
    """

    origin: Origin = UNKNOWN
    sandbox: bool = False
    same_api: str = ""

    def refusal(self, bought_from: Origin, *, has_bought: bool) -> str:
        """Why an edition that was planned for another API must not continue here; empty if it may.

        An edition that has bought nothing yet may have had a wrong address, but never changes from a stand-in to real
        money.
        """
        if not self._is_another(bought_from) or (self.same_api and self._has_moved(bought_from)):
            return ""
        if not has_bought and bought_from.address and bought_from.is_stand_in == self.origin.is_stand_in:
            return ""
        return f"this edition was bought from {bought_from}, and this run is for {self.origin}"

    def _is_another(self, bought_from: Origin) -> bool:
        if bought_from.address:
            return bool(self.origin.address) and bought_from.address != self.origin.address
        # nobody wrote it down, but whether it was bought with --sandbox
        return self.origin.address != SANDBOX if bought_from.is_stand_in else self.sandbox

    def _has_moved(self, bought_from: Origin) -> bool:
        """Whether both are addresses of real APIs: a stand-in never becomes one."""
        return bool(bought_from.address) and not (bought_from.is_stand_in or self.origin.is_stand_in)
