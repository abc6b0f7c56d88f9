"""The plan of a delivery: for each master and channel one file, its name and its recipe. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from adloom.core.campaign import Variables
from adloom.core.channel import ORIGINAL, Channel
from adloom.core.crop import DEFAULT_FOCUS
from adloom.core.delivery import AUTO, Marking, Wanted
from adloom.core.errors import InputError
from adloom.core.file_name import Named
from adloom.core.identity import digest
from adloom.core.manifest import csv_lines, jsonl_line
from adloom.core.spelling import nearest
from adloom.core.template import BadTemplate

SCHEMA = "adloom.delivery/1"
RECIPE = 4
"""Increased when renditions are made differently, so that the next delivery makes them again."""

DELIVERED = "delivered"
REFUSED = "refused"
DISCLOSURE = "trainedAlgorithmicMedia"
COLUMNS = (
    "channel", "key", "creative", "sha256", "size_bytes", "media_type", "width_px", "height_px", "quality", "crop",
    "focus", "master", "unsigned_sha256", "marks", "ai_disclosure", "alt", "job", "row", "variant", "take", "vars",
    "status", "reason",
)  # fmt: skip
DESCRIPTIVE = ("creative", "ai_disclosure", "alt", "job", "row", "variant", "take", "vars")
"""Columns that say what a file shows: they may change without making it again."""


@dataclass(frozen=True, slots=True)
class Master:
    """One archived image with what its row says. ``variant_key`` names it for good; ``row`` is its row's own name."""

    variant_key: str
    job: str
    row: str
    label: str
    variant: int
    take: int
    asset: str
    sha256: str
    media_type: str
    width_px: int
    height_px: int
    prompt: str
    model: str
    variables: Variables
    wanted: Wanted
    provenance: tuple[str, ...] = ()
    """What it came with about its making, see ``core.carried``."""
    is_moved: bool = False
    """Whether a person moved the focus."""

    @property
    def creative(self) -> str:
        """The stable id by which the numbers of an ad platform are joined to this image."""
        return self.named.creative

    @property
    def named(self) -> Named:
        """The image as file names are made from it."""
        return Named(self.job, self.row, self.label, self.variant, self.take, self.variables)

    @property
    def shown(self) -> str:
        """The image as messages name it."""
        take = f", take {self.take}" if self.take > 1 else ""
        return f"{self.job}/{self.row}, variant {self.variant}{take}"


@dataclass(frozen=True, slots=True)
class Order:
    """One file to make, unless it exists already. ``channel`` None copies the master unchanged."""

    channel_id: str
    channel: Channel | None
    stem: str
    refusal: str = ""
    """Why it must not be made, whatever the pixels."""

    @property
    def kind(self) -> str:
        return self.channel.written_as if self.channel else ""


@dataclass(frozen=True, slots=True)
class MasterOrders:
    """A master with all files that are made of it."""

    master: Master
    orders: tuple[Order, ...]


def orders_of(
    masters: Iterable[Master],
    known: Mapping[str, Channel],
    asked: Sequence[str],
    template: str,
    today: str,
) -> Iterator[MasterOrders]:
    """What is made of each master: for the channels that are ``asked``, else for those that its row names.

    Files are named by ``template``, without one by the row's own.

    Raises InputError for an unknown channel, a template that cannot be filled in, or two files of one name, before the
    last master has been read.
    """
    for name in asked:
        if name != ORIGINAL and name not in known:
            near = nearest(name, (*known, ORIGINAL))
            raise InputError(
                f"the channel {name!r} is not known" + (f", did you mean {near[0]!r}?" if near else ""), remedy=_REMEDY
            )
    taken: dict[str, Master] = {}
    for master in masters:
        orders = []
        for name in asked or master.wanted.channels:
            if name != ORIGINAL and name not in known:
                raise InputError(f"{master.shown} is for the channel {name!r}, which is not known", remedy=_REMEDY)
            stem = f"{name}/{_stem(master, name, template)}"
            if (other := taken.setdefault(stem.lower(), master)) is not master:
                raise InputError(
                    f"two images would be delivered as {stem}: {other.shown} and {master.shown}",
                    remedy='Give names that differ, such as --name "{{ job }}-{{ row }}-v{{ variant }}".',
                )
            refusals = (rights.refusal(name, today) for rights in master.wanted.rights)
            orders.append(Order(name, known.get(name), stem, next(filter(None, refusals), "")))
        yield MasterOrders(master, tuple(orders))


_REMEDY = "`adloom channels` lists all; a campaign adds its own under channels:"


def _stem(master: Master, channel: str, template: str) -> str:
    what = "--name" if template else "name"
    try:
        stem = master.named.stem(channel, template or master.wanted.name)
    except BadTemplate as bad:
        allowed = f" Allowed: {bad.allowed}." if bad.allowed else ""
        raise InputError(f"{what}: {bad.message}", remedy=f"Fix the template.{allowed}") from bad
    if not stem:
        raise InputError(
            f"{what} makes an empty name for {master.shown}", remedy="Add {{ creative }}, which is never empty."
        )
    return stem


def recipe(master: Master, order: Order, marks: bytes, signer: str, maker: str) -> str:
    """The digest of all that a file's bytes follow from, but for the master's own.

    ``marks`` is the XMP packet, ``signer`` the certificate's fingerprint (empty where nothing signs), ``maker`` the
    version of what encodes.
    """
    channel = order.channel
    if channel is None:
        return digest(RECIPE, ORIGINAL, order.stem, order.refusal)
    focus = master.wanted.focus or DEFAULT_FOCUS
    made_as = [channel.width_px, channel.height_px, order.kind, channel.max_bytes, channel.gate.value]
    given = focus if isinstance(focus, str) else list(focus)
    return digest(RECIPE, order.stem, order.refusal, made_as, given, marks.decode(), signer, maker)


def focus_source(master: Master) -> str:
    """Where the focus of a master came from: ``decided`` on the page, ``given``, ``auto`` or ``default``."""
    focus = master.wanted.focus
    if master.is_moved:
        return "decided"
    return "default" if focus is None else "auto" if focus == AUTO else "given"


def line_of(master: Master, order: Order, marking: Marking) -> dict[str, Any]:
    """A line of ``delivery.jsonl`` as far as it is known before the file is made, that is, as if it were refused."""
    return {
        "channel": order.channel_id,
        "key": None,
        "creative": master.creative,
        "sha256": None,
        "size_bytes": None,
        "media_type": None,
        "width_px": None,
        "height_px": None,
        "quality": None,
        "crop": None,
        "focus": None,
        "focus_source": focus_source(master),
        "master": {"key": master.asset, "sha256": master.sha256},
        "unsigned_sha256": None,
        "marks": {"xmp": False, "c2pa": "none"},
        "ai_disclosure": DISCLOSURE if marking.on else "",
        "alt": master.wanted.alt,
        "job": master.job,
        "row": master.row,
        "variant": master.variant,
        "take": master.take,
        "vars": master.variables,
        "status": REFUSED,
        "reason": order.refusal or None,
    }


def jsonl(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """The lines as ``delivery.jsonl`` holds them."""
    file = BytesIO()
    file.writelines(jsonl_line(line).encode() for line in lines)
    return file.getvalue()


def table(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """The lines for a spreadsheet or a product feed."""
    file = BytesIO()
    file.write(csv_lines((), header=True, columns=COLUMNS).encode("utf-8-sig"))
    file.writelines(csv_lines((line,), header=False, columns=COLUMNS).encode() for line in lines)
    return file.getvalue()
