"""The bad campaigns in `tests/corpus`, and what adloom says of each.

`name.yaml` (or `.csv`, `.xlsx`) stands beside `name.expected`. After a message was changed on purpose, write them all
anew, then read the difference as somebody would who has to mend that file at two in the morning:

    python tests/corpus.py && git diff tests/corpus
"""

from __future__ import annotations

from pathlib import Path

from adloom.campaign.files import open_campaign
from adloom.core.errors import AdloomError

CORPUS = Path(__file__).parents[1] / "corpus"


def cases() -> list[Path]:
    return sorted(path for path in CORPUS.glob("*/*") if path.is_file() and path.suffix != ".expected")


def said_of(path: Path) -> str:
    """What a person reads about a campaign, with the names of files as they are from its own folder."""
    try:
        rows = sum(1 for _ in open_campaign(path).rows())
    except AdloomError as error:
        return str(error).replace(f"{path.parent}/", "") + "\n"
    return f"no problem, {rows} rows\n"


def expected_of(path: Path) -> Path:
    return path.with_suffix(".expected")


if __name__ == "__main__":
    for case in cases():
        expected_of(case).write_text(said_of(case), encoding="utf-8")
