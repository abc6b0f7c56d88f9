"""The page of a delivery: each image with its files, their size, weight and crop, and the channel's safe area."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from adloom.core.channel import Channel, SafeArea
from adloom.gallery.view import size_text

IMAGES_PER_PAGE = 100
"""Of some ten files each: what a browser lays out at once without a pause."""


def pages(
    head: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], channels: Mapping[str, Channel]
) -> Iterator[tuple[str, bytes]]:
    """Every page by its name, the first one last, so that it never links to a missing one."""
    images = [_image(list(same), channels) for _, same in groupby(lines, key=lambda line: line["master"]["key"])]
    parts = [images[start : start + IMAGES_PER_PAGE] for start in range(0, len(images), IMAGES_PER_PAGE)] or [[]]
    names = ["delivery.html", *(f"delivery-{number}.html" for number in range(2, len(parts) + 1))]
    for number in range(len(parts), 0, -1):
        shown = {**head, "images": parts[number - 1], "page": number, "pages": len(parts), "names": names}
        yield names[number - 1], _template().render(shown).encode()


def _image(lines: Sequence[Mapping[str, Any]], channels: Mapping[str, Channel]) -> dict[str, Any]:
    return {
        "creative": lines[0]["creative"],
        "alt": lines[0]["alt"],
        "files": [_file(line, channels.get(line["channel"])) for line in lines],
    }


def _file(line: Mapping[str, Any], channel: Channel | None) -> dict[str, Any]:
    safe = channel.safe if channel and channel.safe != SafeArea() else None
    margins = {name: round(getattr(safe, name) * 100, 2) for name in ("top", "bottom", "left", "right")} if safe else {}
    return {
        **line,
        "href": quote(line["key"]) if line["key"] else "",
        "weight": size_text(line["size_bytes"]) if line["size_bytes"] else "",
        "safe": margins,
    }


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("adloom.deliver").joinpath("page.html").read_text(encoding="utf-8"))
