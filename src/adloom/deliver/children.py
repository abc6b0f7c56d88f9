"""The parent's side of ``child``: processes that cut, encode and sign. A hostile image can at most kill one of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

from adloom.core.errors import DecoderBroken
from adloom.deliver.marks.credentials import MANIFESTS
from adloom.edges.pictures import start_child

START_S = 60.0
"""Pillow and the C2PA library load in 0.4 s; this is for a machine under load."""

REQUEST_S = 180.0
"""The child's own limit is 60 s of CPU; this is for one that hangs without using any."""

ANSWER_BYTES = 128 * 1024**2
"""Twice the largest archived master; a genuine child never announces more."""

END_S = 1.0
_PIECE_BYTES = 1024**2
_CHILD = Path(__file__).with_name("child.py")

Sign = Callable[[bytes], Awaitable[bytes]]


class ChildDied(Exception):
    """The process ended, or hung, while it had a request."""


class CannotBeDone(Exception):
    """A file cannot be made, and why. ``may_pass``: the same request may succeed later."""

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


class Child:
    """One process and its pipes, an asynchronous context."""

    def __init__(self, sign: Sign | None = None, *, manifests: bool = True) -> None:
        """Take ``sign`` as what signs where the process was given no key; without ``manifests`` it cuts only."""
        self._sign = sign
        self._options = [MANIFESTS] if manifests else []
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start the process. Raises DecoderBroken when it does not come up."""
        self._process = await start_child(_CHILD, *self._options)
        try:
            ready, _ = await self._receive(START_S)
        except BaseException as error:
            await self.aclose()
            if isinstance(error, ChildDied):
                raise DecoderBroken(
                    "the process that makes renditions does not start",
                    remedy="Check the installation: python -m adloom.deliver.child </dev/null",
                ) from error
            raise
        if ready.get("ready") is not True:
            await self.aclose()
            raise DecoderBroken("the process that makes renditions does not answer", remedy="Reinstall adloom.")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def ask(self, do: str, content: bytes = b"", **needed: object) -> tuple[Mapping[str, Any], bytes]:
        """A request and its answer. Raises ChildDied, and CannotBeDone with the reason."""
        await self._send({"do": do, **needed}, content)
        answer, made = await self._receive(REQUEST_S)
        while answer.get("ask") == "signature":
            if self._sign is None:
                raise ChildDied
            await self._send({}, await self._sign(made))
            answer, made = await self._receive(REQUEST_S)
        if (reason := answer.get("failed")) is not None:
            raise CannotBeDone(str(reason))
        return answer, made

    async def _send(self, told: Mapping[str, Any], content: bytes) -> None:
        if self._process is None or (writer := self._process.stdin) is None:
            raise ChildDied
        try:
            async with asyncio.timeout(REQUEST_S):
                writer.write(json.dumps({**told, "size": len(content)}).encode() + b"\n")
                for start in range(0, len(content), _PIECE_BYTES):
                    writer.write(content[start : start + _PIECE_BYTES])
                    await writer.drain()
                await writer.drain()
        except (OSError, TimeoutError) as error:
            raise ChildDied from error

    async def _receive(self, limit_s: float) -> tuple[Mapping[str, Any], bytes]:
        if self._process is None or (reader := self._process.stdout) is None:
            raise ChildDied
        try:
            async with asyncio.timeout(limit_s):
                answer = json.loads(await reader.readline())
                size = answer["size"] if isinstance(answer, dict) else -1
                if not isinstance(size, int) or not 0 <= size <= ANSWER_BYTES:
                    raise ChildDied
                return answer, await reader.readexactly(size)
        except (OSError, ValueError, KeyError, EOFError, TimeoutError) as error:
            raise ChildDied from error

    async def aclose(self) -> None:
        """Kill the process and wait for it; there is nothing to clean up."""
        if (process := self._process) is None:
            return
        self._process = None
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                if process.stdout is not None:
                    await process.stdout.read()
                await process.wait()
