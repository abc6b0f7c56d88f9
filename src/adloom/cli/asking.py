"""Questions to a person on a terminal, where a signal ends the command at once, and who that person is."""

from __future__ import annotations

import asyncio
import getpass
import select
import sys

import typer

LOOK_EVERY_S = 0.05


async def agrees(question: str, *, err: bool = False) -> bool:
    """Whether the person says yes; Enter alone is a no, and so is the end of the input (Ctrl-D)."""
    while True:
        typer.echo(f"{question} [y/N]: ", nl=False, err=err)
        try:
            line = await _line()
        except asyncio.CancelledError:
            typer.echo(err=err)
            raise
        if not line:
            typer.echo(err=err)
        answer = line.strip().lower()
        if answer in ("y", "yes", "n", "no", ""):
            return answer.startswith("y")
        typer.echo("Please answer y or n.", err=err)


async def _line() -> str:
    """What the person types. A read would keep the event loop from answering a signal, so it waits for a whole line."""
    while not select.select([sys.stdin], [], [], 0)[0]:  # noqa: ASYNC110 - a tick also answers a signal
        await asyncio.sleep(LOOK_EVERY_S)
    return sys.stdin.readline()


def person() -> str:
    """Who decides, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown user"
