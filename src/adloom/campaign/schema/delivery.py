"""The shape of what a campaign file says about delivery; ``delivery`` makes values of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from adloom.campaign.schema.checks import fault, kind, one_of, point_text, slug_text, text, texts, whole_number
from adloom.core.channel import WRITTEN, Gate

_LARGEST_BYTES = 100_000_000


def fraction(value: object) -> object:
    """A share between 0 and 1."""
    try:
        is_share = isinstance(value, str) and 0 <= Decimal(value) < 1
    except ArithmeticError:  # "nan" too, which is a Decimal, but cannot be compared
        is_share = False
    if not is_share:
        raise fault(f"{kind(value)} is not a share", "0 to 1, such as 0.14")
    return value


def focus_text(value: object) -> object:
    """A point as a list of two fractions, or a word; whether it is one is checked with the rest of a row."""
    value = point_text(value)
    if not isinstance(value, str) or not value.strip():
        raise fault(f"{kind(value)} is not a focus", "[0.5, 0.3], fractions from left and top, or auto")
    return value


def day(value: object) -> object:
    """A day as YYYY-MM-DD."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else date.fromisoformat("")
    except ValueError:
        raise fault(f"{kind(value)} is not a day", "like 2027-03-31") from None


def marking_off(value: object) -> object:
    """A mapping, or the word that turns marking off."""
    if isinstance(value, str) and value.strip().lower() not in ("off", "false", "no"):
        raise fault(f"{kind(value)} is not a marking", "off, or like {creator: ACME, credit: ACME Studio}")
    return value


AFTER_RUN = ("deliver", "sheet")
"""What a run may end with, in order of execution."""


def steps(value: object) -> object:
    """What a run ends with: a list of words, each once."""
    words = value if isinstance(value, list) else [value]
    known = [word for word in AFTER_RUN if word in words]
    if not words or len(known) != len(words):
        raise fault(f"{kind(value)} cannot follow a run", "[deliver], [sheet] or both")
    return known


Text: TypeAlias = Annotated[str, BeforeValidator(text)]
Share: TypeAlias = Annotated[Decimal, BeforeValidator(fraction)]
FocusText: TypeAlias = Annotated[
    str,
    BeforeValidator(focus_text),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"const": "auto"}, {"type": "string"}]}),
]
ChannelNames: TypeAlias = Annotated[str | tuple[str, ...], BeforeValidator(texts)]
Switch: TypeAlias = Annotated[str, BeforeValidator(one_of("true", "false")), WithJsonSchema({"type": "boolean"})]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SafeFile(_File):
    """Margins that a platform covers, as fractions of height and width."""

    top: Share = Decimal(0)
    bottom: Share = Decimal(0)
    left: Share = Decimal(0)
    right: Share = Decimal(0)

    def values(self) -> dict[str, float]:
        """The margins by name."""
        return {name: float(getattr(self, name)) for name in ("top", "bottom", "left", "right")}


class ChannelFile(_File):
    """A channel of the campaign's own, or its changes to the shipped one of that name."""

    pixels: Text | None = Field(None, description="like 2000x800")
    format: Annotated[str, BeforeValidator(one_of(*WRITTEN))] | None = Field(
        None, json_schema_extra={"enum": [*WRITTEN]}
    )
    max_bytes: Annotated[int, BeforeValidator(whole_number(1, _LARGEST_BYTES))] | None = None
    gate: Annotated[str, BeforeValidator(one_of(*Gate))] | None = Field(None, json_schema_extra={"enum": [*Gate]})
    safe: SafeFile | None = None
    keep: Share | None = Field(None, description="the share of a master that size: fit keeps at least")


class MarkingFile(_File):
    """What is written into every file that is delivered."""

    system: Text | None = Field(None, description="the generator's name; the model's where left out")
    creator: Text | None = None
    credit: Text | None = None
    prompt: Switch | None = Field(None, description="write the prompt into the files; it is a trade secret otherwise")


class RightsFile(_File):
    """How a work may be used, and until when."""

    owner: Text | None = None
    licence: Text | None = None
    valid_until: Annotated[date, BeforeValidator(day)] | None = Field(None, description="the last day, YYYY-MM-DD")
    channels: Annotated[
        tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
    ] = Field((), description="the only channels that it may be used on")


ChannelsFile: TypeAlias = dict[Annotated[str, BeforeValidator(slug_text)], ChannelFile]
Marking: TypeAlias = Annotated[MarkingFile | str, BeforeValidator(marking_off)]
AfterRun: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(steps)]
