"""A document that is written piece by piece and need not fit into memory: the tables of 100,000 rows are 100 MB."""

from __future__ import annotations

import hashlib

from adloom.ports import Spool


class Document:
    """A document and its hash."""

    def __init__(self, content: bytes = b"") -> None:
        self._file = Spool()
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.write(content)

    def write(self, content: bytes) -> None:
        """Add to its end."""
        self._file.write(content)
        self._digest.update(content)
        self.size_bytes += len(content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def is_equal(self, content: bytes | None) -> bool:
        """Whether it has these bytes."""
        return content is not None and hashlib.sha256(content).hexdigest() == self.sha256

    def file(self) -> Spool:
        """The whole, to be read; nothing may be added meanwhile."""
        self._file.seek(0)
        return self._file
