"""Where campaigns may be read from if someone other than the worker's own user names them.

A root is a folder, or an ``s3://bucket/prefix``; what lies below it may be named. Paths are compared after symbolic
links were followed, addresses by whole segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adloom.campaign.sources.origin import S3
from adloom.campaign.sources.workbook.reader import file_of


def is_below(source: str, roots: Sequence[str]) -> bool:
    """Whether a path or an ``s3://`` address lies below one of the roots.

    A root itself does not. Whether the file exists is not checked, so the answer reveals nothing about other places.
    """
    if source.startswith(S3):
        return any(_is_below_prefix(source, root) for root in roots if root.startswith(S3))
    try:
        path = file_of(Path(source)).resolve()
        folders = [Path(root).resolve() for root in roots if not root.startswith(S3)]
    except (OSError, RuntimeError, ValueError):
        return False  # a loop of links, a name that no disk takes
    return any(path != folder and path.is_relative_to(folder) for folder in folders)


def _is_below_prefix(address: str, prefix: str) -> bool:
    segments = address.removeprefix(S3).split("/")
    above = prefix.removeprefix(S3).strip("/").split("/")
    odd = {"", ".", ".."} & {*segments}  # a store might take these for steps
    return not odd and len(segments) > len(above) and segments[: len(above)] == above
