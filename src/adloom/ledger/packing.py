"""Keeps the records of many calls in little memory.

A run of 100,000 calls meets half a million records: as Python objects some 12 kB a call, packed a tenth of that. Only
the calls used last are kept unpacked; which ones these are makes no difference to anybody but the clock.
"""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from adloom.core.records import Record

UNPACKED_CALLS = 1000
"""More than are in flight in one process, so that a call that is worked on is rarely packed (12 MB)."""

_FASTEST = 1


class Entry(NamedTuple):
    """A record, and the SHA-256 of its bytes as stored."""

    record: Record
    sha256: str


class Records:
    """Records by call and name, in the order in which the calls came."""

    def __init__(self, unpacked_calls: int = UNPACKED_CALLS) -> None:
        self._most = unpacked_calls
        self._unpacked: OrderedDict[str, dict[str, Entry]] = OrderedDict()
        self._packed: dict[str, bytes] = {}
        self._counts: dict[str, int] = {}

    def put(self, call: str, name: str, entry: Entry) -> None:
        """Keep a record, in the place of one of the same name."""
        entries = self._unpack(call)
        entries[name] = entry
        self._counts[call] = len(entries)

    def of(self, call: str) -> Mapping[str, Entry]:
        """The records of a call by name, as they are now: not for keeping."""
        return self._unpack(call) if call in self._counts else {}

    def calls(self) -> tuple[str, ...]:
        return tuple(self._counts)

    def count(self) -> int:
        """How many records there are."""
        return sum(self._counts.values())

    def _unpack(self, call: str) -> dict[str, Entry]:
        if call in self._unpacked:
            self._unpacked.move_to_end(call)
            return self._unpacked[call]
        entries = _from_bytes(self._packed.pop(call)) if call in self._packed else {}
        self._unpacked[call] = entries
        if len(self._unpacked) > self._most:
            oldest, its_entries = self._unpacked.popitem(last=False)
            self._packed[oldest] = _to_bytes(its_entries)
        return entries


def _to_bytes(entries: Mapping[str, Entry]) -> bytes:
    return zlib.compress(json.dumps(entries, separators=(",", ":")).encode(), _FASTEST)


def _from_bytes(packed: bytes) -> dict[str, Entry]:
    return {name: Entry(*entry) for name, entry in json.loads(zlib.decompress(packed)).items()}
