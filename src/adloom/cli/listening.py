"""Why a server of the command line cannot listen where it was told to."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import TypeVar

from adloom.core.errors import SettingInvalid

LOOPBACK = "127.0.0.1"

_Server = TypeVar("_Server")

_TAKEN = "another program listens there", "Stop that program, or choose another --port; 0 picks a free one."
_NOT_OURS = "this machine does not have that address", "Give --host an address of this machine; 0.0.0.0 means all."
_FORBIDDEN = "this user may not use that port", "Choose a --port from 1024 on; 0 picks a free one."
_WHY = {errno.EADDRINUSE: _TAKEN, errno.EADDRNOTAVAIL: _NOT_OURS, errno.EACCES: _FORBIDDEN}


@asynccontextmanager
async def listening(server: AbstractAsyncContextManager[_Server], host: str, port: int) -> AsyncIterator[_Server]:
    """Enter a server. Raises SettingInvalid where it cannot listen."""
    async with AsyncExitStack() as stack:
        with explained(host, port):
            entered = await stack.enter_async_context(server)
        yield entered


@contextmanager
def explained(host: str, port: int) -> Iterator[None]:
    """Raise SettingInvalid where a server that starts inside cannot listen."""
    try:
        yield
    except OSError as error:
        why, remedy = _NOT_OURS if isinstance(error, socket.gaierror) else _WHY.get(error.errno or 0, ("", ""))
        if not why:
            raise
        raise SettingInvalid(f"{host}:{port} cannot be used: {why}", remedy=remedy) from error
