"""The page of a delivery: each image with its files, their size, weight and crop, and the channel's safe area."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby, islice
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from adloom.core.channel import Channel, SafeArea
from adloom.gallery.view import size_text

IMAGES_PER_PAGE = 100
"""Of some ten files each: what a browser lays out at once without a pause."""


def pages(
    head: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], channels: Mapping[str, Channel]
) -> Iterator[tuple[str, bytes]]:
    """Every page by its name, the first one last, so that it never links to a missing one."""
    images = sum(1 for _ in _by_image(lines))
    count = max(1, -(-images // IMAGES_PER_PAGE))
    names = ["delivery.html", *(f"delivery-{number}.html" for number in range(2, count + 1))]
    first = b""
    every = _by_image(lines)
    for number, name in enumerate(names, 1):
        shown = [_image(list(same), channels) for _, same in islice(every, IMAGES_PER_PAGE)]
        page = _template().render({**head, "images": shown, "page": number, "pages": count, "names": names}).encode()
        if number == 1:
            first = page
        else:
            yield name, page
    yield names[0], first


def _by_image(lines: Iterable[Mapping[str, Any]]) -> groupby[str, Mapping[str, Any]]:
    return groupby(lines, key=lambda line: line["master"]["key"])


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
