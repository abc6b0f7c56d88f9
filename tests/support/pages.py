"""Pages of an edition, taken apart."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from support.shop import SandboxRig, campaign_text


class Page(HTMLParser):
    """A page taken apart: tags, links, images and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        return [found["href"] for found in self.all("a")] + [found["src"] for found in self.all("img")]

    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def pages(shop: SandboxRig) -> list[Page]:
    paths = sorted(
        shop.edition().glob("gallery*.html"), key=lambda path: int((re.findall(r"\d+", path.name) or [1])[0])
    )
    return [Page(path) for path in paths]


def review_data(content: bytes) -> dict[str, Any]:
    """What the scripts of a page to choose on read."""
    found = re.search(rb'<script type="application/json" id="data">(.*?)</script>', content, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def many_rows(rows: int, variants: int = 1) -> str:
    values = json.dumps([f"colour {number}" for number in range(rows)])
    return campaign_text(
        f"  - {{id: many, prompt: 'mug in {{{{ n }}}}', variants: {variants}, matrix: {{n: {values}}}}}\n"
    )
