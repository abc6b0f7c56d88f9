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
from adloom.core.crop import focus_text
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
    """What a page contains besides the images: when a run in progress wrote it, and how often it polls a server."""

    running: str = ""
    served_every_ms: int = 0


def page_data(choosing: Choosing, thumbs: Collection[str], live: Live) -> dict[str, Any]:
    """What the scripts read. Images are rows of values, because there may be 100,000 of them."""
    rows: dict[tuple[str, str], int] = {}
    told_rows: list[dict[str, Any]] = []
    images = []
    for each in choosing.candidates:
        line = each.line
        place = (line["job"], line["row"])
        if place not in rows:
            rows[place] = len(told_rows)
            told_rows.append(_row(each))
        images.append(_image(each, rows[place], thumbs))
    standing = choosing.standing
    return {
        "schema": "adloom.review-page/1",
        "id": f"{choosing.edition.campaign}/{choosing.edition.edition}/{choosing.edition_token[:16]}",
        "sandbox": choosing.origin.is_stand_in,
        "running": live.running,
        "served": {"every_ms": live.served_every_ms} if live.served_every_ms else None,
        "rows": told_rows,
        "images": images,
        "channels": {name: _channel(choosing.channels[name]) for name in _used(choosing)},
        "proposed": {key: focus_text(focus) for key, focus in choosing.proposed.items()},
        "decisions": decisions_by_id(
            {
                each.variant.key: standing[each.variant.key]
                for each in choosing.candidates
                if each.variant.key in standing
            }
        ),
    }


def decisions_by_id(standing: Mapping[str, Decision]) -> dict[str, dict[str, Any]]:
    """Decisions in the format of the page."""
    names = ("decision", "stars", "note", "change", "by", "time")
    return {
        key[:ID_DIGITS]: {name: value for name, value in decision.record().items() if name in names}
        | {"focus": focus_text(decision.focus)}
        for key, decision in standing.items()
    }


def render(choosing: Choosing, data: Mapping[str, Any]) -> bytes:
    """The page with this data."""
    edition = choosing.edition
    text: str = _template().render(
        title=f"{edition.campaign}, {edition.edition}",
        campaign=edition.campaign,
        edition=edition.edition,
        sandbox=choosing.origin.is_stand_in,
        data=Markup(_json(data)),  # noqa: S704 - no < can end the block it stands in
        policy=policy(connects=bool(data["served"])),
    )
    return text.encode()


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


def _used(choosing: Choosing) -> dict[str, None]:
    """The channels that any row's images are cut for."""
    names = (name for each in choosing.candidates for name in each.wanted.channels)
    return {name: None for name in names if name in choosing.channels}


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


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS_OF_OLD_SCRIPTS)


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
