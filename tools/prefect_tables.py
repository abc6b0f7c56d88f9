"""Write down the database that the installed Prefect's migrations make: once for each version that adloom pins.

    python tools/prefect_tables.py

The file goes to ``src/adloom/orchestration``, where ``first_database.py`` reads it. Remove the former version's.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "src" / "adloom" / "orchestration"
MIGRATE = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""


def migrated() -> list[str]:
    """The statements that make the database which Prefect's own migrations come to, in a new home."""
    with tempfile.TemporaryDirectory() as home:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        subprocess.run(  # noqa: S603 - Prefect itself
            [sys.executable, "-c", MIGRATE], env={**own, "PREFECT_HOME": home}, check=True
        )
        with contextlib.closing(sqlite3.connect(Path(home) / "prefect.db")) as database:
            return list(database.iterdump())


if __name__ == "__main__":
    prefect = version("prefect")
    head = f"-- Tables of Prefect {prefect} (Apache-2.0), made by its migrations; by tools/prefect_tables.py"
    (FOLDER / f"prefect-{prefect}.sql").write_text("\n".join([head, *migrated(), ""]), encoding="utf-8")
