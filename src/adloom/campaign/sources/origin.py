"""Where a campaign is read from, this machine or a bucket, and how the files that it names are fetched.

A campaign in a bucket is mirrored file by file into a temporary folder, each when the campaign names it, so that
nothing needs to be listed and nothing else is read. All messages name the address in the bucket.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adloom.campaign.sources.workbook.reader import file_of
from adloom.core.errors import InputError

S3 = "s3://"
LARGEST_BYTES = 1_000_000_000
"""The largest mirrored file; a CSV of 1,000,000 rows is a tenth of it."""


def _is_here(_name: str) -> None:
    """The files of a folder need no fetching."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A campaign file: where it is to be opened, what people call it, and how to fetch a file from next to it."""

    path: Path
    shown: str
    fetch: Callable[[str], None] = _is_here

    @property
    def folder(self) -> Path:
        return self.path.parent

    def beside(self, name: str) -> str:
        """What people call a file next to the campaign."""
        return beside(self.shown, name)


def beside(shown: str, name: str) -> str:
    """The name of a file next to another, for paths and addresses alike."""
    folder, slash, _ = shown.rpartition("/")
    return folder + slash + name


def origin_of(source: str) -> Origin:
    """Where a path or an ``s3://`` address leads. Raises InputError for an object that cannot be read."""
    if source.startswith(S3):
        return _in_a_bucket(source)
    if "://" in source:
        raise InputError(f"{source}: campaigns are files or objects in S3", remedy="Give a path or s3://bucket/key.")
    return Origin(Path(source), source)


def _in_a_bucket(address: str) -> Origin:
    mirror = Path(tempfile.mkdtemp(prefix="adloom-"))

    def fetch(name: str) -> None:
        path = mirror / name
        if _leads_elsewhere(name) or (file := file_of(path)).exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        _copy(beside(address, file.relative_to(mirror).as_posix()), file)

    weakref.finalize(fetch, shutil.rmtree, mirror, ignore_errors=True)  # it lives as long as who can fetch into it
    name = address.rpartition("/")[2]
    fetch(name)
    return Origin(mirror / name, address, fetch)


def _leads_elsewhere(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not parts or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable()


def _copy(address: str, path: Path) -> None:
    """Fetch an object; a missing one is reported by whoever reads it."""
    from adloom.edges.s3.objects import (  # noqa: PLC0415 - boto3 takes half a second
        ObjectMissing,
        ObjectUnreadable,
        copy_object,
    )

    try:
        copy_object(address, path, LARGEST_BYTES)
    except ObjectMissing:
        return
    except ObjectUnreadable as error:
        raise InputError(
            f"{address} cannot be read: {error}", remedy="Check the address, the AWS_* variables and s3:GetObject."
        ) from error
