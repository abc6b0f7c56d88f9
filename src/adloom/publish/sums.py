"""The hashes of an edition's objects while its checksums are made: 100,000 calls have 900,000 objects.

They are in a database in a temporary file, so that they take no memory to speak of.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator

from adloom.ports import Spool
from adloom.publish.document import Document

_AT_ONCE = 1000
_CACHE_KB = 4000
_HASH_END = 64
_END = b"#"
"""Begins the last line."""
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


class FormerSums:
    """The hashes of checksums that are as they were written, by name; none of any others."""

    def __init__(self, file: Spool | None) -> None:
        self._file = file if file is not None and _is_intact(file) else None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        if self._file is not None:
            self._file.seek(0)
            for line in self._file:
                if not line.startswith(_END):
                    yield _name(line), line[:_HASH_END].decode()


def _is_intact(file: Spool) -> bool:
    digest, before, is_over = hashlib.sha256(), "", False
    for line in file:
        if is_over:
            return False
        if line.startswith(_END):
            is_over = line == f"# {digest.hexdigest()}\n".encode()
            continue
        name = _name(line)
        if name <= before or line[_HASH_END:] != f"  {name}\n".encode():
            return False
        digest.update(line)
        before = name
    return is_over


def _name(line: bytes) -> str:
    return line[_NAME_BEGINS:-1].decode(errors="replace")
