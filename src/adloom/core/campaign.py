"""A campaign once it has been read: plain values, valid because they exist.

A campaign is a header (name, budget, limits) and a stream of rows. Rows are never all held: a source yields them in
file order as often as it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, TypeAlias

from adloom.core.chain import Chains
from adloom.core.delivery import NOTHING_WANTED, DeliverySettings, Wanted
from adloom.core.reference import Reference

Variables: TypeAlias = Mapping[str, "str | Variables"]
"""What a row's template saw: text, or a mapping of text for paired values."""


Options: TypeAlias = tuple[tuple[str, str], ...]
"""Names and words of further settings of a model, sorted; those at the API's defaults are left out."""


def flat(variables: Variables, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Variables as a template names them: a mapping's values as ``product.name``."""
    for name, value in variables.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class Grouping(StrEnum):
    """How a row's variants share calls: ``set`` packs as many as is legal, ``independent`` makes one call each."""

    SET = "set"
    INDEPENDENT = "independent"


class Duplicates(StrEnum):
    """What rows of a job with the same request mean: further images, the same images for all of them, or an error."""

    KEEP = "keep"
    MERGE = "merge"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt after templating, with everything a purchase of it needs.

    ``identity`` survives reordering: the explicit id, else the content with an occurrence number. ``name`` is unique
    within the job and safe in a file name; ``label`` is the readable part of it. ``quality`` is empty when ``size`` is
    in pixels: the API documents it for ratios only. ``options`` are those that differ from the API's
    defaults. The first ``shared`` variants are those of an earlier row with the same request and the same identity,
    which buys them.
    """

    job: str
    identity: str
    name: str
    label: str
    prompt: str
    variables: Variables
    model: str
    size: str
    quality: str
    priority: str
    references: tuple[Reference, ...]
    grouping: Grouping
    variants: int
    shared: int = 0
    delivery: Wanted = NOTHING_WANTED
    options: Options = ()

    @property
    def waits_for(self) -> str:
        """The job that has to have approved images before this row can be bought; empty where there is none."""
        return next((each.awaited_job for each in self.references if each.awaited_job), "")


@dataclass(frozen=True, slots=True)
class Budget:
    """A cap on reserved + charged; exactly one of the three is set."""

    usd: Decimal | None = None
    credits: Decimal | None = None
    images: int | None = None


def is_amount(number: Decimal) -> bool:
    """Whether a number can be a cap: as small and as large as a campaign file may say it, so that sums stay exact."""
    return number.is_finite() and _LEAST <= number < _TOO_MUCH


_LEAST, _TOO_MUCH = Decimal("0.00000001"), Decimal(1_000_000_000)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run may buy. ``submits_per_minute`` None means unlimited."""

    in_flight: int = 16
    submits_per_minute: int | None = None


Prices: TypeAlias = Mapping[str, Decimal | Mapping[str, Decimal]]
"""Credits an image by model: one number for all qualities, or one a quality."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """The head of a campaign.

    ``profile`` names the limits profile that its rows were checked against. ``prices`` are the file's own, over the
    built-in table. ``fallback`` are models for calls whose own is unavailable, in the order in which they are tried;
    every row fits them. With ``falls_back_on_cheapest`` it is the cheapest that takes every row, known once all rows
    were read. ``check_references`` has reference addresses looked at before anything is bought.
    """

    name: str
    source: str
    budget: Budget | None
    pace: Pace
    profile: str
    callback_url: str | None
    prices: Prices
    fallback: tuple[str, ...] = ()
    falls_back_on_cheapest: bool = False
    check_references: bool = False
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    sheet_after_run: bool = False
    """Whether each run ends with a workbook of its images next to the manifest."""


class CampaignSource(Protocol):
    """A campaign that can be read as often as needed, in bounded memory."""

    @property
    def campaign(self) -> Campaign: ...

    def rows(self) -> Iterator[Row]:
        """Yield every row in file order.

        Raises CampaignInvalid after the last row with all problems of all files, if there were any.
        """
        ...

    def knows(self, is_bought: Callable[[str], bool]) -> None:
        """Take note of what the archive holds, by variant key: ``size: fit`` prefers sizes that are bought already."""
        ...

    @property
    def chained(self) -> Mapping[str, tuple[str, ...]]:
        """The jobs that have approved images of others as references, each with the others."""
        ...

    def refer(self, chains: Chains) -> None:
        """Take note of the approved images that chained jobs have as references."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before spending; complete once ``rows`` was read to its end."""
        ...
