"""``review.html`` as bytes: the data of an edition between the files of this folder."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adloom.core.campaign import flat
from adloom.core.channel import ORIGINAL, Channel
from adloom.core.crop import Focus, focus_text
from adloom.core.decision import Decision
from adloom.core.identity import thumb_key
from adloom.core.limits import CREDITS_PER_USD
from adloom.gallery.choosing import Candidate, Choosing

SCRIPTS = ("model.js", "grid.js", "filters.js", "focus.js", "viewer.js", "page.js")
ID_DIGITS = 20
"""Characters of a variant's key by which the page identifies an image: 80 bits, unique within an edition."""

_MICRO = Decimal(1_000_000)
_LINE_ENDS_OF_OLD_SCRIPTS = {0x2028: "\\u2028", 0x2029: "\\u2029", ord("<"): "\\u003c", ord(">"): "\\u003e"}


@dataclass(frozen=True, slots=True)
class Live:
    """What a page contains besides the images.

    ``running`` is when a run in progress wrote it, ``archived`` of ``wanted`` how far that was; an ``excerpt`` shows
    only its latest images, and ``is_shared`` says that other runs bring images too. A served page asks its server every
    ``served_every_ms``.
    """

    running: str = ""
    archived: int = 0
    wanted: int = 0
    excerpt: bool = False
    is_shared: bool = False
    served_every_ms: int = 0


def render(choosing: Choosing, thumbs: Collection[str], live: Live) -> bytes:
    """The page with these candidates. ``thumbs`` are the keys of the thumbnails that exist."""
    page = Page(choosing, thumbs, live)
    for each in choosing.candidates:
        page.add(each)
    return page.finish(choosing.proposed)


class Page:
    """The page, put together image by image: as text, its data take a tenth of the memory of its candidates.

    ``frame`` is what the candidates belong to; its own are not looked at.
    """

    def __init__(self, frame: Choosing, thumbs: Collection[str], live: Live) -> None:
        self._frame = frame
        self._thumbs = thumbs
        self._live = live
        self._standing = frame.standing
        self._rows = bytearray()
        self._images = bytearray()
        self._places: dict[tuple[str, str], int] = {}
        self._channels: dict[str, None] = {}
        self._decided: dict[str, Decision] = {}

    def add(self, each: Candidate) -> None:
        """Add the next image. Images are rows of values, because there may be 100,000 of them."""
        place = (each.line["job"], each.line["row"])
        if place not in self._places:
            self._places[place] = len(self._places)
            _append(self._rows, _row(each))
            self._channels.update(dict.fromkeys(name for name in each.wanted.channels if name in self._frame.channels))
        _append(self._images, _image(each, self._places[place], self._thumbs))
        if each.variant.key in self._standing:
            self._decided[each.variant.key] = self._standing[each.variant.key]

    def finish(self, proposed: Mapping[str, Focus]) -> bytes:
        """The page with all that was added, and the focus that was proposed for images, by their keys."""
        frame, live = self._frame, self._live
        data = {
            "schema": "adloom.review-page/1",
            "id": f"{frame.edition.campaign}/{frame.edition.edition}/{frame.edition_token[:16]}",
            "sandbox": frame.origin.is_stand_in,
            "running": live.running,
            "run": {name: getattr(live, name) for name in ("archived", "wanted", "excerpt", "is_shared")},
            "served": {"every_ms": live.served_every_ms} if live.served_every_ms else None,
            "channels": {name: _channel(frame.channels[name]) for name in self._channels},
            "proposed": {key: focus_text(focus) for key, focus in proposed.items()},
            "decisions": decisions_by_id(self._decided),
        }
        text: str = _template().render(
            title=f"{frame.edition.campaign}, {frame.edition.edition}",
            campaign=frame.edition.campaign,
            edition=frame.edition.edition,
            sandbox=frame.origin.is_stand_in,
            data=Markup(_HERE),  # noqa: S704 - our own mark
            policy=policy(connects=bool(live.served_every_ms)),
        )
        before, after = text.encode().split(_HERE.encode())
        rest = _json(data)[1:]
        return b"".join((before, b'{"rows":[', self._rows, b'],"images":[', self._images, b"],", rest, after))


_HERE = "\0data\0"
"""Where the template has the data, which are never one text in memory."""


def _append(values: bytearray, value: object) -> None:
    if values:
        values += b","
    values += _json(value)


def decisions_by_id(standing: Mapping[str, Decision]) -> dict[str, dict[str, Any]]:
    """Decisions in the format of the page."""
    names = ("decision", "stars", "note", "change", "by", "time")
    return {
        key[:ID_DIGITS]: {name: value for name, value in decision.record().items() if name in names}
        | {"focus": focus_text(decision.focus)}
        for key, decision in standing.items()
    }


def policy(*, connects: bool) -> str:
    """The Content-Security-Policy: our script and style by hash, images of the edition, and nothing else."""
    style, script = _files()
    connect = "connect-src 'self'; " if connects else ""
    return (
        f"default-src 'none'; img-src 'self' file: data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        f"{connect}base-uri 'none'; form-action 'none'"
    )


def _row(each: Candidate) -> dict[str, Any]:
    line = each.line
    return {
        "job": line["job"],
        "row": line["row"],
        "label": each.label,
        "prompt": each.prompt,
        "vars": [list(pair) for pair in flat(line["vars"])],
        "model": line["model"],
        "size": line["size"],
        "channels": [name for name in each.wanted.channels if name != ORIGINAL],
        "focus": each.wanted.focus if isinstance(each.wanted.focus, str) else focus_text(each.wanted.focus),
    }


def _channel(channel: Channel) -> list[Any]:
    """Width and height, then the margins from top, right, bottom and left."""
    safe = channel.safe
    return [channel.width_px, channel.height_px, safe.top, safe.right, safe.bottom, safe.left]


def _image(each: Candidate, row: int, thumbs: Collection[str]) -> list[Any]:
    line = each.line
    key = line["key"]
    flags = ", ".join(line.get("flags", ()))
    return [
        row,
        each.variant.number,
        each.variant.take,
        each.variant.key[:ID_DIGITS],
        line["status"],
        key,
        int(bool(key) and thumb_key(key) in thumbs),
        line["width_px"],
        line["height_px"],
        int((each.price / CREDITS_PER_USD * _MICRO).to_integral_value()),
        int(each.is_latest),
        flags or line["reason"],
        line.get("change", ""),
    ]


def _json(data: object) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_LINE_ENDS_OF_OLD_SCRIPTS).encode()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _sources(names: tuple[str, ...]) -> Iterator[str]:
    environment = _environment()
    for name in names:
        yield environment.loader.get_source(environment, name)[0] if environment.loader else ""


@lru_cache(maxsize=1)
def _files() -> tuple[str, str]:
    """Style sheet and script as they appear in the page."""
    (style,) = _sources(("page.css",))
    return style, "".join(_sources(SCRIPTS))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("adloom.gallery.chooser", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template() -> Any:  # noqa: ANN401 - jinja2's templates are untyped where they render
    style, script = _files()
    environment = _environment()
    environment.globals.update(style=Markup(style), script=Markup(script))  # noqa: S704 - our own files
    return environment.get_template("page.html")
