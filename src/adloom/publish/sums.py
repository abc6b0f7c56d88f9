"""The hashes of an edition's objects while its checksums are made: 100,000 calls have 900,000 objects.

They are in a database in a temporary file, so that they take no memory to speak of.
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections.abc import Iterable, Iterator

from adloom.publish.document import Document

_AT_ONCE = 1000
_CACHE_KB = 4000
_HASH_END = 64
_NAME_BEGINS = 66


class Sums:
    """Hashes by the name of the object: what is learned counts once the object is seen, what is kept in any case."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)  # no name: a temporary file
        self._table.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        self._table.execute("BEGIN")
        self._table.execute("CREATE TABLE sums (name TEXT PRIMARY KEY, known TEXT, sum TEXT) WITHOUT ROWID")

    def learn(self, sums: Iterable[tuple[str, str]]) -> None:
        """What was known of objects that may be gone, by name."""
        self._table.executemany(
            "INSERT INTO sums (name, known) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET known = excluded.known", sums
        )

    def keep(self, sums: Iterable[tuple[str, str]]) -> None:
        """What stays in the checksums whatever there is."""
        self._table.executemany(
            "INSERT INTO sums (name, known, sum) VALUES (?1, ?2, ?2) "
            "ON CONFLICT (name) DO UPDATE SET known = excluded.known, sum = excluded.sum",
            sums,
        )

    def see(self, name: str) -> bool:
        """Note that an object is there; whether its hash is known."""
        seen = self._table.execute("UPDATE sums SET sum = known WHERE name = ?", (name,))
        return seen.rowcount == 1

    def written(self) -> Document:
        """The checksums as they are stored."""
        document = Document()
        rows = self._table.execute("SELECT sum, name FROM sums WHERE sum IS NOT NULL ORDER BY name")
        while lines := rows.fetchmany(_AT_ONCE):
            document.write("".join(f"{sha256}  {name}\n" for sha256, name in lines).encode())
        document.write(f"# {document.sha256}\n".encode())
        return document

    def close(self) -> None:
        """Give the file back."""
        self._table.close()


def former_sums(content: bytes) -> Iterator[tuple[str, str]]:
    """The hashes of checksums that are as they were written, by name; none of any others."""
    return _pairs(content) if _is_intact(content) else iter(())


def _is_intact(content: bytes) -> bool:
    cut = content.rfind(b"\n", 0, -1) + 1
    if content[cut:] != f"# {hashlib.sha256(memoryview(content)[:cut]).hexdigest()}\n".encode():
        return False
    before = ""
    for line in _lines(content):
        name = _name(line)
        if name <= before or line[_HASH_END:] != f"  {name}\n".encode():
            return False
        before = name
    return True


def _pairs(content: bytes) -> Iterator[tuple[str, str]]:
    return ((_name(line), line[:_HASH_END].decode()) for line in _lines(content))


def _lines(content: bytes) -> Iterator[bytes]:
    return (line for line in io.BytesIO(content) if not line.startswith(b"#"))


def _name(line: bytes) -> str:
    return line[_NAME_BEGINS:-1].decode(errors="replace")
