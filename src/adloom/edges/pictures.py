"""Decodes all images in child processes, so that a hostile file can at most kill a child.

Each child decodes one image at a time, so a killed child names its image. That image gets one more try in a fresh child
(the first may have died because the machine was short of memory), unless it timed out. After that it cannot be judged:
PictureUnjudged, and at once for the same bytes again, since each try may cost 20 s of a core that all runs of the
process share. A child that cannot start at all says nothing about an image: that raises DecoderBroken.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

from adloom.core.carried import NAMES
from adloom.core.errors import DecoderBroken, PictureUnjudged
from adloom.core.task import Picture

CHILDREN = 2  # a 2K JPEG takes some 30 ms, and downloads bring fewer than 60 a second
START_S = 30.0  # Pillow's import takes 0.1 s; this is for a machine under load
END_S = 1.0  # the kernel has closed a dead child's end of the pipe, unless a child of its own holds it
IMAGE_S = 60.0  # the child's own limit is 20 s of CPU; this is for one that hangs without using any
TRIES = 2
REMEMBERED = 1000
"""Images that could not be judged, by their SHA-256; with very many the oldest are forgotten."""

REASON_LENGTH = 100
ATTACHED_BYTES = 500_000
"""The thumbnail of pure noise has 110 kB, a sheet at most 90."""

_PIECE_BYTES = 1024 * 1024
_CHILD = Path(__file__).with_name("picture_child.py")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # NumPy's, each of which would reserve memory
_KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")  # and no key, in a process that strangers feed
_KINDS = {
    "jpeg": ("image/jpeg", "jpg"),
    "png": ("image/png", "png"),
    "webp": ("image/webp", "webp"),
    "avif": ("image/avif", "avif"),
    "gif": ("image/gif", "gif"),
    "bmp": ("image/bmp", "bmp"),
}
_FLAGS = ("animated", "blank")
_LIKENESS = re.compile("(?:[0-9a-f]{64})?")
_Answer: TypeAlias = tuple[object, bytes]
"""A line of JSON, parsed, and the bytes that it announced."""


class _ChildDied(Exception):
    """The child ended, or hung, while it had an image. ``hopeless``: it timed out, so a retry is pointless."""

    def __init__(self, *, hopeless: bool = False) -> None:
        super().__init__()
        self.hopeless = hopeless


class Header(NamedTuple):
    """What the beginning of an image says: a kind, empty if none is known, and pixels, 0 if more bytes are needed."""

    kind: str
    width_px: int
    height_px: int


class PictureDecoder:
    """Decodes images, at most ``children`` at once; the children are started when first needed."""

    def __init__(self, children: int = CHILDREN, *, image_s: float = IMAGE_S) -> None:
        self._slots = asyncio.Semaphore(children)
        self._idle: list[_Child] = []
        self._closed = False
        self._image_s = image_s
        self._unjudged: OrderedDict[str, str] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def decode(self, content: bytes) -> Picture | None:
        async with self._slots:
            name = hashlib.sha256(content).hexdigest() if self._unjudged else ""
            if reason := self._unjudged.get(name):
                raise PictureUnjudged(reason)
            try:
                return _picture(*await self._ask(b"p", content))
            except PictureUnjudged as error:
                self._unjudged[name or hashlib.sha256(content).hexdigest()] = error.message
                if len(self._unjudged) > REMEMBERED:
                    self._unjudged.popitem(last=False)
                raise

    async def sheet(self, thumbs: Sequence[bytes]) -> bytes:
        async with self._slots:
            packed = b"".join(len(thumb).to_bytes(8, "big") + thumb for thumb in thumbs)
            return (await self._ask(b"s", packed))[1]

    async def header(self, content: bytes) -> Header:
        """What the beginning of an image says about it. Raises PictureUnjudged for one that a child cannot read."""
        async with self._slots:
            line, _ = await self._ask(b"h", content)
        match line:
            case ["header", str(kind), int(width_px), int(height_px), int(_)] if kind in ("", "tiff", *_KINDS):
                return Header(kind, max(width_px, 0), max(height_px, 0))
        raise PictureUnjudged("the image could not be checked: the decoder's answer makes no sense")

    async def _ask(self, wanted: bytes, content: bytes) -> _Answer:
        """A child's answer. Raises PictureUnjudged when none comes."""
        for _try in range(TRIES):
            try:
                async with self._child() as child:
                    return await child.ask(wanted, content, self._image_s)
            except _ChildDied as death:
                if death.hopeless:
                    break
        raise PictureUnjudged("the image could not be checked: decoding it ended or outlasted the decoder's process")

    async def aclose(self) -> None:
        """End the children: idle ones now, a busy one after its image."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[_Child]:
        """A child for one image; it goes back only if it answered."""
        child = self._idle.pop() if self._idle else await _Child.start()
        try:
            yield child
        except BaseException:
            await child.end()
            raise
        if self._closed:
            await child.end()
        else:
            self._idle.append(child)


class _Child:
    """One child process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Child:
        child = cls(await start_child(_CHILD))
        try:
            ready, _ = await child.ask(b"", b"", START_S)
        except BaseException as error:
            await child.end()
            if isinstance(error, _ChildDied):
                raise DecoderBroken(
                    "the image decoder does not start", remedy="Check the installation: python -c 'import PIL.Image'."
                ) from error
            raise
        if ready != "ready":
            await child.end()
            raise DecoderBroken("the image decoder does not answer", remedy="Reinstall adloom.")
        return child

    async def ask(self, wanted: bytes, content: bytes, limit_s: float) -> _Answer:
        """Hand over a request, if any is ``wanted``, and read the answer. Raises _ChildDied if none comes."""
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise _ChildDied
        try:
            async with asyncio.timeout(limit_s):
                if wanted:
                    writer.write(wanted + len(content).to_bytes(8, "big"))
                    for start in range(0, len(content), _PIECE_BYTES):  # a pipe keeps what it cannot pass on at once
                        writer.write(content[start : start + _PIECE_BYTES])
                        await writer.drain()
                line = json.loads(await reader.readline())
                return line, await reader.readexactly(_attached_bytes(line))
        except TimeoutError as error:
            raise _ChildDied(hopeless=True) from error
        except (OSError, ValueError, EOFError) as error:
            raise _ChildDied(hopeless=await self._ran_out_of_time()) from error

    async def _ran_out_of_time(self) -> bool:
        """Whether the child, whose pipes have ended, was killed by its limit of CPU time.

        It is waited for first: killing it at the moment of its death would take its own return code away.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._process.wait()
        await self.end()
        return self._process.returncode == -signal.SIGXCPU

    async def end(self) -> None:
        """Kill the child and wait for it; there is nothing to clean up."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                if self._process.stdout is not None:  # a pipe that still holds something would stay open
                    await self._process.stdout.read()
                await self._process.wait()


async def start_child(program: Path, *options: str) -> asyncio.subprocess.Process:
    """Start a process that strangers' images are decoded in, with pipes, what Python needs, and no key."""
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(program),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=kept | _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,  # Ctrl-C is for the parent, which still has images to archive
    )


def _attached_bytes(line: object) -> int:
    """How many bytes an answer announces. Raises ValueError for more than a genuine child would send."""
    announced = line[-1] if isinstance(line, list) and line else 0
    if not isinstance(announced, int):
        return 0
    if not 0 <= announced <= ATTACHED_BYTES:
        raise ValueError("too long an answer")
    return announced


def _picture(line: object, attached: bytes) -> Picture | None:
    """A child's answer, which is not trusted either. Raises PictureUnjudged."""
    match line:
        case [str(kind), int(width_px), int(height_px), list(flags), list(marks), str(likeness), int(_)] if (
            kind in _KINDS and width_px > 0 and height_px > 0 and _LIKENESS.fullmatch(likeness)
        ):
            media_type, extension = _KINDS[kind]
            known = tuple(flag for flag in _FLAGS if flag in flags)
            carried = tuple(name for name in NAMES if name in marks)
            return Picture(media_type, extension, width_px, height_px, known, attached, likeness, carried)
        case ["unjudged", str(reason)] if reason.isascii() and reason.isprintable():
            raise PictureUnjudged(f"the image could not be checked: {reason[:REASON_LENGTH]}")
    return None
