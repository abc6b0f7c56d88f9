"""The records of the ledger as values: each kind of fact is parsed once, where a call's facts are folded.

``core.facts`` says what each kind means; ``docs/archive.md`` lists their stored fields. Fields that older versions did
not write have their defaults here. Money is in credits, as ``Decimal``; times are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self, TypeAlias

from adloom.core.planned import Variant
from adloom.core.pricing import Kind

Record: TypeAlias = Mapping[str, Any]
"""A record as stored: a JSON object."""

_SEEN = ("flags", "likeness", "provenance", "link")


class Decided(StrEnum):
    """Outcomes of the decisions."""

    BOUGHT = "bought"
    WITHDRAWN = "withdrawn"
    FREE = "free"
    CHARGED = "charged"
    RELEASED = "released"


class RefusalKind(StrEnum):
    """Why a send was free."""

    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    ACCOUNT = "account"
    REQUEST = "request"
    MODERATION = "moderation"
    MODEL = "model"
    """The model is unavailable: another one may do, or this one later."""
    REFERENCE = "reference"
    """A reference was not fetched in time: once more may do."""
    TASK = "task"
    """The task failed and its charge was given back."""
    REPLAYED = "replayed"
    """The API remembered the key, and answered with the task that it had made before."""
    PERSON = "person"
    """A person says so."""


class ImageFate(StrEnum):
    """What became of one paid image."""

    ARCHIVED = "archived"
    EXTRA = "extra"
    QUARANTINED = "quarantined"
    LOST = "lost"

    @property
    def weight(self) -> int:
        """If two records disagree about an image, the higher weight counts: one run may have what another gave up."""
        return {ImageFate.LOST: 0, ImageFate.QUARANTINED: 1}.get(self, 2)


@dataclass(frozen=True, slots=True)
class Image:
    """One paid image. ``index`` counts the call's distinct links from 0; ``number`` is its variant, 0 for an extra."""

    index: int
    number: int
    fate: ImageFate
    key: str = ""
    sha256: str = ""
    size_bytes: int = 0
    media_type: str = ""
    width_px: int = 0
    height_px: int = 0
    reason: str = ""
    flags: tuple[str, ...] = ()
    """Words for what a person should know of it."""
    likeness: str = ""
    """The hash for finding near duplicates, see ``core.likeness``; empty where unknown."""
    provenance: tuple[str, ...] = ()
    """What the file came with about its making, see ``core.carried``; empty too where nobody looked."""
    link: str = ""
    """Which link stood at its index when it was fetched, see ``core.links.mark``; empty where unknown."""


@dataclass(frozen=True, slots=True)
class Fact:
    """When a record was written, and by which run."""

    time: datetime
    writer: str

    @property
    def unix_s(self) -> float:
        """``time`` in seconds since 1970."""
        return self.time.timestamp()


@dataclass(frozen=True, slots=True)
class Intent(Fact):
    """A purchase about to be sent, with everything that a later run needs to settle or repeat it."""

    body: str
    """The request, to the byte."""
    idempotency_key: str
    account: str
    credits: Decimal
    """What all its images cost by the plan."""
    job: str
    row: str
    label: str
    kind: Kind
    variants: tuple[Variant, ...]
    parent: str
    round: int
    fruitless: int

    @property
    def model(self) -> str:
        return self.kind.model

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored intent."""
        return cls(
            **_stamp(record),
            body=record["body"],
            idempotency_key=record["idempotency_key"],
            account=record["account"],
            credits=Decimal(record["credits"]),
            job=record["job"],
            row=record["row"],
            label=record["label"],
            kind=Kind(
                record["model"], record.get("quality", ""), record.get("references", 0), record.get("searches", False)
            ),
            variants=tuple(map(Variant.of, record["variants"])),
            parent=record["parent"],
            round=record["round"],
            fruitless=record["fruitless"],
        )


@dataclass(frozen=True, slots=True)
class Refused(Fact):
    """A send that provably created no task."""

    kind: str
    """A ``RefusalKind``, or a kind that a newer version knows."""
    reason: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored refusal."""
        return cls(**_stamp(record), kind=record["kind"], reason=record.get("reason", ""))


@dataclass(frozen=True, slots=True)
class Unknown(Fact):
    """A send that may or may not have created a task."""

    reason: str
    conflict: bool
    """The API said that its key was used for other bytes: it must not be sent again."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored unknown send."""
        return cls(**_stamp(record), reason=record["reason"], conflict=bool(record.get("conflict")))


@dataclass(frozen=True, slots=True)
class Accepted(Fact):
    """The API answered with this task."""

    task: str
    credits: Decimal
    """What the API reserved, or the quoted price where it did not say."""
    credits_told: bool | None
    """Whether ``credits`` came from the API; None in records that do not say."""
    via: str
    """What found the task, where the answer to the send did not: ``callback``, ``task list``, or who adopted it."""
    replayed: bool
    """The API answered a key that it remembered."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored answer."""
        return cls(
            **_stamp(record),
            task=record["task"],
            credits=Decimal(record["credits"]),
            credits_told=record.get("credits_told"),
            via=record.get("via", ""),
            replayed=bool(record.get("replayed")),
        )


@dataclass(frozen=True, slots=True)
class Completed(Fact):
    """What a completed task has shown: its links, in the one order that counts."""

    task: str
    links: tuple[str, ...]
    reported: int
    """How many links the readings showed, repeated ones included."""
    credits: Decimal
    told: bool
    """Whether ``credits`` came from the API rather than an estimate; true in records that do not say."""
    billed: int | None
    """How many images the charge pays for, None where that is not known."""
    final: bool
    """False while the task may have made more than it shows. Records that do not say are final."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored completion."""
        return cls(
            **_stamp(record),
            task=record["task"],
            links=tuple(record["links"]),
            reported=record["reported"],
            credits=Decimal(record["credits"]),
            told=bool(record.get("told", True)),
            billed=record.get("billed"),
            final=bool(record.get("final", True)),
        )

    def record(self) -> dict[str, Any]:
        """The fields as they are stored."""
        return {
            "task": self.task,
            "links": list(self.links),
            "reported": self.reported,
            "credits": str(self.credits),
            "told": self.told,
            "billed": self.billed,
            "final": self.final,
        }


@dataclass(frozen=True, slots=True)
class Failed(Fact):
    """A reading that showed a task failed."""

    code: str
    reason: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored failure."""
        return cls(**_stamp(record), code=record.get("code", ""), reason=record.get("reason", ""))


@dataclass(frozen=True, slots=True)
class Held(Fact):
    """A run gave up on an unknown or stuck call; later runs try again."""

    reason: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored record that a call is held."""
        return cls(**_stamp(record), reason=record["reason"])


@dataclass(frozen=True, slots=True)
class Settled(Fact):
    """How an attempt ended: free, charged, or released by a person."""

    outcome: Decided
    kind: str
    """A ``RefusalKind``, ``person`` for a release, empty for a charge with images."""
    credits: Decimal
    reason: str
    final: bool
    """Whether another attempt would be pointless."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored end."""
        return cls(
            **_stamp(record),
            outcome=Decided(record["outcome"]),
            kind=record.get("kind", ""),
            credits=Decimal(record.get("credits", 0)),
            reason=record.get("reason", ""),
            final=bool(record.get("final")),
        )


@dataclass(frozen=True, slots=True)
class Archived(Fact):
    """What became of some of a call's images."""

    images: tuple[Image, ...]

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse a stored record of images."""
        return cls(**_stamp(record), images=images_of(record))


@dataclass(frozen=True, slots=True)
class SecondTask(Fact):
    """What a second task of an attempt cost, and where its images are."""

    task: str
    credits: Decimal
    images: tuple[Image, ...]

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse what is stored of a second task."""
        return cls(**_stamp(record), task=record["task"], credits=Decimal(record["credits"]), images=images_of(record))


@dataclass(frozen=True, slots=True)
class Disowned(Fact):
    """A task that the API answered with but that belongs to another purchase."""

    task: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """Parse what is stored of such a task."""
        return cls(**_stamp(record), task=record["task"])


def images_of(record: Record) -> tuple[Image, ...]:
    """The images of a record that has some."""
    seen = record.get("seen", {})
    return tuple(_image_of(entry, seen.get(str(entry["index"]), {})) for entry in record["images"])


def _image_of(entry: Record, seen: Record) -> Image:
    words: dict[str, Any] = {name: tuple(seen.get(name, ())) for name in ("flags", "provenance")}
    words |= {name: seen.get(name, "") for name in ("likeness", "link")}
    return Image(**{**entry, **words, "fate": ImageFate(entry["fate"])})


def images_record(images: Iterable[Image]) -> dict[str, Any]:
    """Images as an ``archived`` record has them.

    Observations about them are kept separately, under ``seen`` by index, so that older versions can still read the
    record.
    """
    entries = [asdict(image) for image in images]
    seen = {str(entry["index"]): {name: value for name in _SEEN if (value := entry.pop(name))} for entry in entries}
    return {"images": entries} | (
        {"seen": told} if (told := {key: value for key, value in seen.items() if value}) else {}
    )


def _stamp(record: Record) -> dict[str, Any]:
    return {"time": datetime.fromisoformat(record["time"]), "writer": record["writer"]}
