"""Keeps the records of many calls in little memory.

A run of 100,000 calls meets half a million records: as Python objects some 12 kB a call, packed 0.5 kB. Calls of one
campaign are similar, so each is packed as its difference from the first one. Only the most recently used calls are kept
unpacked; which ones affects nothing but speed.
"""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from adloom.core.records import Record

UNPACKED_CALLS = 1000
"""More than are in flight in one process, so that an active call is rarely packed (12 MB)."""

_FASTEST = 1
_NOT_PACKED = b""


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
        """Every call; what is unpacked has no bytes here."""
        self._count = 0
        self._like = b""
        """The first call that was packed: see ``zlib`` on dictionaries."""

    def put(self, call: str, name: str, entry: Entry) -> None:
        """Store a record, replacing one of the same name."""
        self._packed.setdefault(call, _NOT_PACKED)
        entries = self._unpack(call)
        self._count += name not in entries
        entries[name] = entry

    def of(self, call: str) -> Mapping[str, Entry]:
        """The records of a call by name, as they are now: not for keeping."""
        return self._unpack(call) if call in self._packed else {}

    def calls(self) -> tuple[str, ...]:
        return tuple(self._packed)

    def count(self) -> int:
        """How many records there are."""
        return self._count

    def _unpack(self, call: str) -> dict[str, Entry]:
        if call in self._unpacked:
            self._unpacked.move_to_end(call)
            return self._unpacked[call]
        packed, self._packed[call] = self._packed[call], _NOT_PACKED
        entries = self._from_bytes(packed) if packed else {}
        self._unpacked[call] = entries
        if len(self._unpacked) > self._most:
            oldest, its_entries = self._unpacked.popitem(last=False)
            self._packed[oldest] = self._to_bytes(its_entries)
        return entries

    def _to_bytes(self, entries: Mapping[str, Entry]) -> bytes:
        text = json.dumps(entries, separators=(",", ":")).encode()
        self._like = self._like or text
        packer = zlib.compressobj(_FASTEST, zdict=self._like)
        return packer.compress(text) + packer.flush()

    def _from_bytes(self, packed: bytes) -> dict[str, Entry]:
        text = zlib.decompressobj(zdict=self._like).decompress(packed)
        return {name: Entry(*entry) for name, entry in json.loads(text).items()}
