"""The child process that decodes strangers' images; ``pictures`` starts it and speaks to it over its pipes.

It runs as a script and holds no secret: its environment is emptied before it starts. A request on stdin is one byte of
what is wanted, 8 bytes of length, big-endian, and so many bytes: ``p`` judges an image, ``s`` makes a sheet of
thumbnails, each behind 8 bytes of its own length. An answer on stdout is one line of JSON and the bytes that it
announces: ``null`` for no whole image, ``["unjudged", reason]``, ``["jpeg", width, height, flags, bytes]`` with a
thumbnail, or ``["sheet", bytes]``. The first line is ``"ready"``. It ends when stdin does, so it cannot outlive its
parent.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress

from adloom.edges.picture_look import Unjudged, look
from adloom.edges.picture_small import sheet

MEMORY_BYTES = 1024**3
"""49 million pixels of 4 bytes, three times over, beside the interpreter and the file. The API's largest has 16.8."""

CPU_S = 20
"""For one image: a PNG of 4096 pixels square takes less than one."""


def main() -> None:
    """Serve requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b'"ready"\n')
    answers.flush()
    while len(head := source.read(9)) == 9:  # noqa: PLR2004 - what is wanted, and the length
        size_bytes = int.from_bytes(head[1:], "big")
        content = source.read(size_bytes)
        if len(content) < size_bytes:
            return
        _limit_cpu()
        line, attached = answer(content) if head[:1] == b"p" else answer_with_sheet(content)
        answers.write(json.dumps(line).encode() + b"\n" + attached)
        answers.flush()


def answer(content: bytes) -> tuple[object, bytes]:
    """What is said of an image, and its thumbnail."""
    try:
        found = look(content)
    except Unjudged as error:
        return ["unjudged", str(error)], b""
    if found is None:
        return None, b""
    line = [found.kind, found.width_px, found.height_px, list(found.flags), len(found.thumbnail)]
    return line, found.thumbnail


def answer_with_sheet(content: bytes) -> tuple[object, bytes]:
    """The sheet of some thumbnails."""
    made = sheet(list(_unpacked(content)))
    return ["sheet", len(made)], made


def _unpacked(content: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        start = place + 8
        place = start + int.from_bytes(content[place:start], "big")
        yield content[start:place]


def _limit_cpu() -> None:
    """Allow this request CPU_S more seconds; the limit counts the life of the process, and killing is its only way."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_S + 1, resource.RLIM_INFINITY)


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    with suppress(ValueError, OSError):  # a system without this limit, or with a tighter one already
        resource.setrlimit(what, (soft, soft if hard is None else hard))


if __name__ == "__main__":
    main()
