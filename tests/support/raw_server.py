"""A server for odd bytes: answers each connection with what a test wrote, down to resets in the middle."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Handler = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RawServer:
    handler: Handler
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader, writer) -> None:
        self.connections += 1
        while request := await read_request(reader):
            self.requests.append(request)
            await self.handler(request, writer)
            await writer.drain()
            if writer.is_closing():
                break


async def read_request(reader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _version = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


@asynccontextmanager
async def bare_server(serve, ssl=None) -> AsyncIterator[int]:
    """Serve connections with ``serve(reader, writer)`` on a port of this machine; nothing is left open behind it."""
    tasks: set[asyncio.Task] = set()

    async def guarded(reader, writer) -> None:
        tasks.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def raw_server(handler: Handler, ssl=None) -> AsyncIterator[RawServer]:
    served = RawServer(handler)
    async with bare_server(served.serve, ssl) as port:
        served.url = f"{'https' if ssl else 'http'}://127.0.0.1:{port}"
        yield served


def answer(status=200, body: bytes | str | object = b"", **headers) -> bytes:
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    given.setdefault("content-length", len(content))
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in given.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def always(content: bytes) -> Handler:
    async def handle(_request, writer) -> None:
        writer.write(content)

    return handle


def reset(writer) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
