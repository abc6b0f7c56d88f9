"""The lines of a delivery's record, kept small until they are written."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adloom.core.rendition import REFUSED, jsonl


class Lines:
    """The lines of all masters: added in any order, read in plan order.

    They are packed, because the lines of a large delivery would be most of its memory: 5 kB each as objects.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._count = 0
        self._packed: dict[int, bytes] = {}

    def add(self, number: int, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add the lines of one master; ``number`` is its place in the plan."""
        found = list(lines)
        self.refused += sum(line["status"] == REFUSED for line in found)
        self._count += len(found)
        self._packed[number] = zlib.compress(jsonl(found), 1)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for number in sorted(self._packed):
            yield from map(json.loads, zlib.decompress(self._packed[number]).splitlines())
