"""The child process that decodes untrusted images; ``pictures`` starts it and talks to it over pipes.

It runs as a script and holds no secret: its environment is emptied before it starts. A request on stdin is one byte for
its kind, 8 bytes of length, big-endian, and that many bytes: ``p`` judges an image, ``s`` makes a sheet of thumbnails,
each behind 8 bytes of its own length, and ``h`` reads the header of an image that may go on. An answer on stdout is one
line of JSON and the bytes that it announces: ``null`` if it is not a whole image, ``["unjudged", reason]``, ``["jpeg",
width, height, flags, marks, likeness, bytes]`` with a thumbnail, ``["sheet", bytes]``, or ``["header", kind, width,
height, 0]`` without a kind where none is known and without pixels where the header goes on. The first line is
``"ready"``. It ends with stdin, so it cannot outlive its parent.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress

from adloom.core.carried import carried
from adloom.edges.picture_look import Unjudged, header, look
from adloom.edges.picture_small import sheet

MEMORY_BYTES = 1024**3
"""49 million pixels of 4 bytes, three times over, plus the interpreter and the file. The API's largest has 16.8."""

CPU_S = 20
"""For one image: a PNG of 4096 pixels square takes less than one."""

OPEN_FILES = 16
"""The three pipes, and a few to spare: what decoders need is loaded before."""

LIMITS = {
    resource.RLIMIT_AS: MEMORY_BYTES,
    resource.RLIMIT_NOFILE: OPEN_FILES,
    resource.RLIMIT_FSIZE: 0,  # it writes to pipes alone
    resource.RLIMIT_NPROC: 0,  # and has no child or thread of its own; a superuser's limit is not enforced
    resource.RLIMIT_CORE: 0,
}
_NEW_NETWORK = 0x40000000 | 0x10000000  # CLONE_NEWNET, for which any user needs CLONE_NEWUSER


def main() -> None:
    """Serve requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    leave_the_network()
    for what, most in LIMITS.items():
        limit(what, most)
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b'"ready"\n')
    answers.flush()
    while len(head := source.read(9)) == 9:  # noqa: PLR2004 - what is wanted, and the length
        size_bytes = int.from_bytes(head[1:], "big")
        content = source.read(size_bytes)
        if len(content) < size_bytes:
            return
        limit_cpu()
        line, attached = ANSWERS[head[:1]](content)
        answers.write(json.dumps(line).encode() + b"\n" + attached)
        answers.flush()


def answer(content: bytes) -> tuple[object, bytes]:
    """The answer about an image, and its thumbnail."""
    try:
        found = look(content)
    except Unjudged as error:
        return ["unjudged", str(error)], b""
    if found is None:
        return None, b""
    about = [
        found.kind,
        found.width_px,
        found.height_px,
        list(found.flags),
        list(carried(content).names),
        found.likeness,
    ]
    return [*about, len(found.thumbnail)], found.thumbnail


def answer_with_sheet(content: bytes) -> tuple[object, bytes]:
    """The sheet of some thumbnails."""
    made = sheet(list(_unpacked(content)))
    return ["sheet", len(made)], made


def answer_with_header(content: bytes) -> tuple[object, bytes]:
    """What the beginning of an image says about the whole."""
    return ["header", *header(content), 0], b""


ANSWERS = {b"p": answer, b"s": answer_with_sheet, b"h": answer_with_header}


def _unpacked(content: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        start = place + 8
        place = start + int.from_bytes(content[place:start], "big")
        yield content[start:place]


def leave_the_network() -> None:
    """Move to a network namespace without any interface, on a Linux that lets users do so."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).unshare(_NEW_NETWORK)


def limit_cpu(seconds: int = CPU_S) -> None:
    """Allow a request this many more seconds; the limit counts over the life of the process, and can only kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds + 1, resource.RLIM_INFINITY)


def limit(what: int, soft: int, hard: int | None = None) -> None:
    """Set a limit of this process, where the system has it and does not have a tighter one already."""
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (soft, soft if hard is None else hard))


if __name__ == "__main__":
    main()
