"""``adloom receive``: the process that receives the API's callbacks."""

from __future__ import annotations

import asyncio
import json
import signal

import typer

from adloom.cli.listening import listening
from adloom.core.errors import SettingInvalid
from adloom.core.exits import EXIT_OK


async def receive_callbacks(archive: str | None, host: str, port: int, *, as_json: bool) -> int:
    """Record what callbacks report until a signal arrives. Prints the receiver's base address first."""
    from adloom.edges.callback_receiver import Receiver  # noqa: PLC0415 - slow to import
    from adloom.targets import RunRequest, WallClock, open_store, settings_for  # noqa: PLC0415

    settings = settings_for(RunRequest("", archive))
    if not settings.callback_secrets:
        raise SettingInvalid(
            "ADLOOM_CALLBACK_SECRET is not set",
            remedy="Set it to the same random text, at least 32 characters, here and where campaigns are run.",
        )
    store = open_store(settings.archive)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    receiver = Receiver(store, WallClock(), settings.callback_secrets)
    async with listening(receiver.server(host, port), host, port) as server:
        typer.echo(json.dumps({"url": server.url}) if as_json else server.url)
        await ended.wait()
    await store.aclose()
    return EXIT_OK
