"""A new database for Prefect's server, laid out at once instead of by years of migrations.

Prefect builds its first SQLite database by running every migration: 7 of the 10 s that the first start of its server
takes (measured with Prefect 3.8.8, two idle cores). Their result is in a file beside this one, for the pinned version
of Prefect (``tools/prefect_tables.py`` writes it). With another version, or another database, nothing happens here and
Prefect migrates as usual.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.settings import Settings

SIDE_FILES = ("", "-wal", "-shm", "-journal")
"""SQLite's files of one database; what is left of a former one must not be read into a new one."""


def lay_out_first_database(settings: Settings) -> None:
    """Create the database of the server that has these settings, if it is SQLite's in Prefect's home and not there yet.

    Prefect finds it migrated already. It appears whole or not at all, whoever else starts a server there meanwhile.
    """
    file = settings.home / "prefect.db"
    tables = tables_of(version("prefect"))
    url = settings.server.database.connection_url
    is_default = url is not None and url.get_secret_value() == f"sqlite+aiosqlite:///{file}"
    if tables is None or not is_default:
        return
    with contextlib.suppress(OSError, sqlite3.Error):  # then Prefect makes it, or says what is wrong
        if any(Path(f"{file}{suffix}").exists() for suffix in SIDE_FILES):
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="new-database-") as folder:
            made = Path(folder) / file.name
            with contextlib.closing(sqlite3.connect(made)) as database:
                database.executescript(tables)
            os.link(made, file)  # fails if another server was quicker


def tables_of(prefect: str) -> str | None:
    """The statements that make the database of a version of Prefect; None for one that adloom does not know."""
    file = resources.files(__package__) / f"prefect-{prefect}.sql"
    return file.read_text(encoding="utf-8") if file.is_file() else None
