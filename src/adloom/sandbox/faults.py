"""Faults of the connection and the gateway: scripted ones first, then those drawn at the rates."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.outcomes import Ending, Outcome
from adloom.sandbox.settings import PictureDamage, SandboxSettings

Route = Literal["submit", "task", "batch", "list", "credits", "upload", "image", "callback", "outcome"]
WireFault = Literal["status", "drop", "hang", "slow", "partial", "broken_json"]
CallbackFault = Literal["lost", "duplicate", "late", "forged", "disagrees"]

READS = frozenset({"task", "batch", "list", "credits"})
DAMAGES = frozenset(get_args(PictureDamage))
CALLBACK_FAULTS = frozenset({"lost", "duplicate", "late", "forged", "disagrees"})
WIRE_FAULTS = frozenset({"status", "drop", "hang", "slow", "partial", "broken_json"})
ENDINGS = frozenset(ending.value for ending in Ending)


class Fault(BaseModel):
    """One fault, and when it strikes.

    ``fault`` is a wire fault for requests, a kind of damage for images, a callback fault, or for ``outcome`` how a task
    ends. ``after`` lets a submission be accepted first: only the answer is lost. ``match`` restricts it to texts that
    contain it: the body (submit), the prompt (outcome, callback) or the path. ``times`` below zero means always.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: Route
    fault: WireFault | PictureDamage | CallbackFault | Ending
    times: int = 1
    match: str = ""
    after: bool = False
    status: int = Field(default=503, ge=400, le=599)
    html: bool = False
    code: str = ""
    retry_after: str = ""
    seconds: float | None = Field(default=None, ge=0)
    images: int | None = Field(default=None, ge=0, le=200)

    @model_validator(mode="after")
    def _fits_the_route(self) -> Fault:
        allowed = {
            "outcome": ENDINGS,
            "callback": CALLBACK_FAULTS,
            "image": WIRE_FAULTS | DAMAGES,
        }.get(self.route, WIRE_FAULTS)
        if self.fault not in allowed:
            raise ValueError(f"{self.route} knows the faults {', '.join(sorted(allowed))}")
        return self

    def outcome(self) -> Outcome:
        """The ending of a task, for the route ``outcome``."""
        return Outcome(Ending(self.fault), self.code, self.images)


class _Queued:
    """A scripted fault and how often it still strikes."""

    __slots__ = ("fault", "left")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times


class FaultBook:
    """Which fault a request gets: the first scripted one that matches, else what the rates say."""

    def __init__(self, dice: SeededRandom) -> None:
        self._dice = dice
        self._script: defaultdict[str, deque[_Queued]] = defaultdict(deque)

    def queue(self, faults: Iterable[Fault]) -> None:
        """Append to the script."""
        for fault in faults:
            if fault.times:
                self._script[fault.route].append(_Queued(fault))

    def waiting(self) -> int:
        """How many scripted faults have not struck yet; permanent ones count as one."""
        return sum(max(1, queued.left) for queue in self._script.values() for queued in queue)

    def clear(self) -> None:
        """Forget the script."""
        self._script.clear()

    def scripted(self, route: Route, text: str) -> Fault | None:
        """Take the next scripted fault of a route whose ``match`` is in the text."""
        queue = self._script.get(route)
        for queued in queue or ():
            if queued.fault.match in text:
                self._use(queue, queued)
                return queued.fault
        return None

    def strikes(self, route: Route, ordinal: int, text: str, settings: SandboxSettings) -> Fault | None:
        """The fault of this request; None if it is handled normally."""
        scripted = self.scripted(route, text)
        if scripted is not None:
            return scripted
        if route == "submit":
            return self._of_submit(ordinal, settings)
        if route == "image":
            return self._of_image(ordinal, settings)
        return self._of_read(route, ordinal, settings) if route in READS else None

    @staticmethod
    def _use(queue: deque[_Queued] | None, queued: _Queued) -> None:
        queued.left -= 1
        if queued.left == 0 and queue is not None:
            queue.remove(queued)

    def _of_submit(self, ordinal: int, settings: SandboxSettings) -> Fault | None:
        hits = self._dice.hits
        if hits(settings.lose_reply_rate, "submit lost", ordinal):
            kind = self._dice.pick(settings.lose_reply_kinds, "submit lost kind", ordinal)
            return Fault(
                route="submit", fault=kind, after=True, status=502, html=self._html("submit", ordinal, settings)
            )
        if hits(settings.submit_429_rate, "submit 429", ordinal):
            return Fault(route="submit", fault="status", status=429, retry_after=settings.submit_429_retry_after)
        if hits(settings.submit_error_rate, "submit error", ordinal):
            return self._error("submit", ordinal, settings)
        if hits(settings.submit_drop_rate, "submit drop", ordinal):
            return Fault(route="submit", fault="drop")
        return Fault(route="submit", fault="slow") if hits(settings.submit_slow_rate, "submit slow", ordinal) else None

    def _of_read(self, route: Route, ordinal: int, settings: SandboxSettings) -> Fault | None:
        if self._dice.hits(settings.read_429_rate, f"{route} 429", ordinal):
            return Fault(route=route, fault="status", status=429)
        if self._dice.hits(settings.read_error_rate, f"{route} error", ordinal):
            return self._error(route, ordinal, settings)
        rates: tuple[tuple[WireFault, float], ...] = (
            ("drop", settings.read_drop_rate),
            ("partial", settings.read_partial_rate),
            ("broken_json", settings.read_broken_json_rate),
            ("slow", settings.read_slow_rate),
        )
        return self._first(route, ordinal, rates)

    def _of_image(self, ordinal: int, settings: SandboxSettings) -> Fault | None:
        if self._dice.hits(settings.download_error_rate, "image error", ordinal):
            return self._error("image", ordinal, settings)
        if self._dice.hits(settings.download_damage_rate, "image damage", ordinal):
            damage = self._dice.pick(settings.download_damage_kinds, "image damage kind", ordinal)
            return Fault(route="image", fault=damage)
        rates: tuple[tuple[WireFault, float], ...] = (
            ("drop", settings.download_drop_rate),
            ("partial", settings.download_partial_rate),
            ("slow", settings.download_slow_rate),
        )
        return self._first("image", ordinal, rates)

    def _first(self, route: Route, ordinal: int, rates: tuple[tuple[WireFault, float], ...]) -> Fault | None:
        for kind, rate in rates:
            if self._dice.hits(rate, f"{route} {kind}", ordinal):
                return Fault(route=route, fault=kind)
        return None

    def _error(self, route: Route, ordinal: int, settings: SandboxSettings) -> Fault:
        status = self._dice.pick(settings.error_statuses, f"{route} status", ordinal)
        return Fault(route=route, fault="status", status=status, html=self._html(route, ordinal, settings))

    def _html(self, route: Route, ordinal: int, settings: SandboxSettings) -> bool:
        return self._dice.hits(settings.html_error_rate, f"{route} html", ordinal)
