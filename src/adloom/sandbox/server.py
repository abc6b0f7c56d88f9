"""The HTTP server around a sandbox: its routes, and its life inside a test or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator

from aiohttp import web

from adloom.sandbox import control, results
from adloom.sandbox.doors import Middleware
from adloom.sandbox.gateway import Gateway
from adloom.sandbox.sandbox import Sandbox
from adloom.sandbox.settings import SandboxSettings
from adloom.sandbox.uploads import Uploads

_LOOPBACK = "127.0.0.1"
_LARGEST_BODY_BYTES = 140_000_000  # the largest file in base64
_LOOK_AROUND_S = 0.05
_STOP_S = 0.5


@contextlib.asynccontextmanager
async def running_sandbox(settings: SandboxSettings | None = None, *, port: int = 0) -> AsyncIterator[Sandbox]:
    """A sandbox that serves on loopback while the block runs; port 0 takes a free one."""
    sandbox = Sandbox(settings or SandboxSettings())
    runner = web.AppRunner(_application(sandbox), access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _LOOPBACK, port)
        await site.start()
        sandbox.base_url = f"http://{_LOOPBACK}:{runner.addresses[0][1]}"
        async with _looking_around(sandbox):
            yield sandbox
    finally:
        sandbox.closing = True
        await sandbox.courier.aclose()
        await runner.cleanup()


async def serve(port: int, settings: SandboxSettings, *, exit_with_parent: bool = False, as_json: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; the first line of stdout is the base URL, with ``as_json`` in an object.

    With ``exit_with_parent`` the end of stdin stops it too, so that it never outlives the program that started it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_parent:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    async with running_sandbox(settings, port=port) as sandbox:
        sys.stdout.write(f"{json.dumps({'url': sandbox.base_url}) if as_json else sandbox.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


def serve_forever(port: int, settings: SandboxSettings, *, exit_with_parent: bool = False) -> None:
    """The same in an event loop of its own."""
    asyncio.run(serve(port, settings, exit_with_parent=exit_with_parent))


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop may be closed already
        loop.call_soon_threadsafe(stop.set)


@contextlib.asynccontextmanager
async def _looking_around(sandbox: Sandbox) -> AsyncIterator[None]:
    """Settle periodically, so that callbacks are sent even if nobody reads their tasks."""

    async def settle() -> None:
        while True:
            await asyncio.sleep(_LOOK_AROUND_S)
            sandbox.settle()

    looking = asyncio.create_task(settle())
    try:
        yield
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


def _application(sandbox: Sandbox) -> web.Application:
    application = web.Application(client_max_size=_LARGEST_BODY_BYTES)
    application.add_routes(
        [
            *_gateway_routes(sandbox),
            *results.routes(results.Results(sandbox)),
            *control.routes(control.Control(sandbox)),
        ]
    )
    return application


def _gateway_routes(sandbox: Sandbox) -> list[web.RouteDef]:
    doors, gateway, uploads = Middleware(sandbox), Gateway(sandbox), Uploads(sandbox)
    files = "/api/v1/files"
    return [
        web.post("/v1/images/generations", doors.door("submit", gateway.submit)),
        web.post("/v1/tasks/batch", doors.door("batch", gateway.batch)),
        web.get("/v1/tasks/{task_id}", doors.door("task", gateway.task)),
        web.get("/v1/tasks", doors.door("list", gateway.list)),
        web.get("/v1/credits", doors.door("credits", gateway.credits)),
        web.get("/v1/models", doors.door("credits", gateway.models)),
        web.post(f"{files}/upload/base64", doors.door("upload", uploads.from_base64)),
        web.post(f"{files}/upload/stream", doors.door("upload", uploads.from_stream)),
        web.post(f"{files}/upload/url", doors.door("upload", uploads.from_url)),
        web.get(f"{files}/quota", doors.door("upload", uploads.quota)),
        web.get(f"{files}/list", doors.door("upload", uploads.list)),
        web.get(f"{files}/upload-receipts/{{upload_id}}", doors.door("upload", uploads.receipt)),
        web.delete(f"{files}/{{file_id}}", doors.door("upload", uploads.delete)),
    ]
