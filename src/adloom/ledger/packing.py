"""Keeps the records of many calls in little memory.

A run of 100,000 calls meets half a million records: as Python objects some 12 kB a call, packed 0.5 kB. Calls of one
campaign are similar, so each is packed as its difference from the first one. Only the most recently used calls are kept
unpacked; which ones affects nothing but speed. Seals are in a temporary file, and the calls of one are taken from it
when they are asked for: resuming asks for few.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from adloom.core.records import Record
from adloom.ledger.edition import parse_json
from adloom.ports import Spool

UNPACKED_CALLS = 1000
"""More than are in flight in one process, so that an active call is rarely packed (12 MB)."""

OPEN_SEALS = 4
"""Whoever asks for all calls does so in the order of the plan, as they are sealed; one that is taken apart is 3 MB."""

_FASTEST = 1
_SIZE_BYTES = 8
_NOT_PACKED = b""
_ODD = b" "
"""Begins a text that orjson would read as something else."""


class Entry(NamedTuple):
    """A record, and the SHA-256 of its bytes as stored."""

    record: Record
    sha256: str


class Records:
    """Records by call and name, in the order in which the calls came."""

    def __init__(self, unpacked_calls: int = UNPACKED_CALLS) -> None:
        self._most = unpacked_calls
        self._unpacked: OrderedDict[str, dict[str, Entry]] = OrderedDict()
        self._changed: set[str] = set()
        """Calls with records that their bytes do not have yet."""
        self._packed: dict[str, bytes | int] = {}
        """Every call: its bytes, or where its seal begins in the file."""
        self._seals = Spool()
        """Each seal after its size."""
        self._open_seals: OrderedDict[int, dict[str, dict[str, dict[str, Any]]]] = OrderedDict()
        self._count = 0
        self._like = b""
        """The first call that was packed: see ``zlib`` on dictionaries."""

    def put(self, call: str, name: str, entry: Entry) -> None:
        """Store a record, replacing one of the same name."""
        self._packed.setdefault(call, _NOT_PACKED)
        entries = self._unpack(call)
        self._count += name not in entries
        entries[name] = entry
        self._changed.add(call)

    def put_sealed(self, seal: bytes, counts: Mapping[str, int]) -> None:
        """Store the calls of a packed seal that are to be had from it, each with how many records it has there."""
        begins = self._seals.seek(0, os.SEEK_END)
        self._seals.write(len(seal).to_bytes(_SIZE_BYTES) + seal)
        self._packed |= dict.fromkeys(counts, begins)
        self._count += sum(counts.values())

    def drop(self, call: str) -> None:
        """Forget the records of a call."""
        self._count -= len(self.of(call))
        self._packed.pop(call, None)
        self._unpacked.pop(call, None)
        self._changed.discard(call)

    def of(self, call: str) -> Mapping[str, Entry]:
        """The records of a call by name, as they are now: not for keeping."""
        return self._unpack(call) if call in self._packed else {}

    def __contains__(self, call: object) -> bool:
        return call in self._packed

    def calls(self) -> tuple[str, ...]:
        return tuple(self._packed)

    def count(self) -> int:
        """How many records there are."""
        return self._count

    def _unpack(self, call: str) -> dict[str, Entry]:
        if call in self._unpacked:
            self._unpacked.move_to_end(call)
            return self._unpacked[call]
        packed = self._packed[call]
        if isinstance(packed, int):
            entries = entries_of(self._seal(packed)[call])
        else:
            entries = self._from_bytes(packed) if packed else {}
        self._unpacked[call] = entries
        if len(self._unpacked) > self._most:
            oldest, its_entries = self._unpacked.popitem(last=False)
            if oldest in self._changed:
                self._changed.discard(oldest)
                self._packed[oldest] = self._to_bytes(its_entries)
        return entries

    def _seal(self, begins: int) -> dict[str, dict[str, dict[str, Any]]]:
        """The calls of the seal at a place in the file."""
        if begins in self._open_seals:
            self._open_seals.move_to_end(begins)
            return self._open_seals[begins]
        self._seals.seek(begins)
        size_bytes = int.from_bytes(self._seals.read(_SIZE_BYTES))
        calls: dict[str, dict[str, dict[str, Any]]] = read_seal(zlib.decompress(self._seals.read(size_bytes)))["calls"]
        self._open_seals[begins] = calls
        if len(self._open_seals) > OPEN_SEALS:
            self._open_seals.popitem(last=False)
        return calls

    def _to_bytes(self, entries: Mapping[str, Entry]) -> bytes:
        text = _to_text({name: tuple(entry) for name, entry in entries.items()})
        self._like = self._like or text
        packer = zlib.compressobj(_FASTEST, zdict=self._like)
        return packer.compress(text) + packer.flush()

    def _from_bytes(self, packed: bytes) -> dict[str, Entry]:
        text = zlib.decompressobj(zdict=self._like).decompress(packed)
        return {name: Entry(*entry) for name, entry in _from_text(text).items()}


def pack_seal(content: bytes) -> bytes:
    """A seal's bytes in few."""
    return zlib.compress(content, _FASTEST)


def read_seal(content: bytes) -> Any:  # noqa: ANN401 - JSON
    """A seal as written: most of what resuming reads. Raises ValueError when it is not JSON."""
    return _from_text(content)


def entries_of(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Entry]:
    """The entries of one call of a seal."""
    return {name: Entry(entry["record"], entry["sha256"]) for name, entry in records.items()}


def _to_text(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half a character, or a number of more than 64 bits
        return _ODD + json.dumps(value, separators=(",", ":")).encode()


def _from_text(text: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return parse_json(text) if text.startswith(_ODD) else orjson.loads(text)
    except ValueError:
        return parse_json(text)
