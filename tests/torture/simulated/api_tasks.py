"""What the simulated API makes, and how often what goes wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

EPOCH = 1_790_000_000.0
PRICE = Decimal("1.53")
MODEL = "doubao-seedream-4.0"
LINKS_LIVE_S = 24 * 3600
FAILS_AT_MOST_S = 8
"""A completed task that reads failed for no longer than this is never bought again: a second reading comes later."""
BELIEVED_AFTER_S = 8
"""A completed task that shows half of its images, and no bill, for no longer than this loses none of them."""
DOUBTFUL_AFTER_S = 250
"""The same where the ledger does not know what was reserved, and the charge is not at the plan's price."""
TOKEN = re.compile(r"<<(tok-\d+-\d+)>>")
LINK = re.compile(r"https://results\.example/([^/?]+)(?:/(\d+))?\?(?:sig|expires)=(\d+)-(\d+)(?:(?:-|&image=)(\d+))?")
PHRASE = re.compile(r"(?:Generate (\d+) different images: )?<<")
HAMMERS = 8
WRITTEN_ONCE = (
    "/ledger/",
    "/plan-r",
    "/plan/",
    "/assets/",
    "/extras/",
    "/quarantine/",
    "/tasks/",
    "/orphans/",
    "/index/",
)


@dataclass
class Faults:
    """How often what goes wrong: probabilities for each occasion, and windows of virtual time."""

    submit: dict[str, float] = field(default_factory=dict)
    outcome: dict[str, float] = field(default_factory=dict)
    store_lost_reply: float = 0.0
    store_down_after: float = 0.0
    read_fails: float = 0.0
    download: dict[str, float] = field(default_factory=dict)
    slow: float = 0.0
    store_windows: list[tuple[float, float]] = field(default_factory=list)
    account_windows: list[tuple[float, float]] = field(default_factory=list)
    full_windows: list[tuple[float, float]] = field(default_factory=list)
    young: dict[str, float] = field(default_factory=dict)
    """Of images: their young links are refused, or bring a page."""
    refused_windows: list[tuple[float, float]] = field(default_factory=list)
    page_windows: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Made:
    """A task as the API knows it, with what it really costs: a line of the oracle's charge log."""

    id: str
    key: str
    body: bytes
    token: str
    n: int
    price: Decimal
    created: float
    ends: float
    outcome: str
    images: list[bytes]
    charge_mode: str = "released"
    overcharge: int = 1
    """What is charged, as a multiple of what should be."""
    visible_from: float = 0.0
    listed_from: float = 0.0
    form: str = "path"
    """What tells its links apart: the path, the query, or the signature alone."""
    young: dict[int, tuple[str, float]] = field(default_factory=dict)
    """What the links of images show instead, until so long after the end."""
    waver: str = ""
    """How it reads between its end and ``steady_from``."""
    steady_from: float = 0.0
    is_answered: bool = False
    """Whether the ledger knows what it reserves: without that its charge is no bill."""

    @property
    def failed_for_long(self) -> bool:
        """Whether it read failed for so long that nobody can blame a run for a new attempt."""
        return self.waver == "failed" and self.steady_from > self.ends + FAILS_AT_MOST_S

    def is_over(self, now: float) -> bool:
        return now >= self.ends

    @property
    def completed(self) -> bool:
        return not self.outcome.startswith(("fail", "cancel", "stuck"))

    def charge(self, now: float) -> Decimal:
        """What this task holds of the budget at a time: reserved until it ends, then charged or given back."""
        if not self.is_over(now):
            return self.price * self.n
        if self.completed:
            return self.price * min(self.paid_images, self.n) * self.overcharge
        if self.charge_mode == "kept":
            return self.price * self.n
        if self.charge_mode == "reserved" and now < self.ends + 40:
            return self.price * self.n
        if self.charge_mode == "reserved-long" and now < self.ends + 900:
            return self.price * self.n
        return Decimal(0)

    @property
    def paid_images(self) -> int:
        return self.n if self.outcome == "short-charged-full" else len(self.links(0))

    def slots(self) -> int:
        """Wanted images that this task has used up for good: those that it made, or all that it charged without any."""
        if self.completed:
            return min(self.n, len(self.links(0)))
        return self.n if self.charge_mode == "kept" else 0

    def links(self, generation: int, signature: int = 0) -> list[str]:
        """Links in the API's order without repetitions."""
        distinct = len(self.images) - (self.outcome == "dup-link")
        start, signed = f"https://results.example/{self.id}", f"{generation}-{signature}"
        if self.form == "query":
            return [f"{start}?expires={signed}&image={index}" for index in range(distinct)]
        if self.form == "signature":
            return [f"{start}?sig={signed}-{index}" for index in range(distinct)]
        return [f"{start}/{index}?sig={signed}" for index in range(distinct)]
