"""How a command ends: its exit code, and with ``--json`` one object that says why.

Each of those objects answers two questions about this command: ``request_left``, whether a request to buy left this
machine, and ``money_may_have_moved``, whether one of them was accepted or got no answer that proves otherwise.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from adloom.core.errors import (
    AdloomError,
    InputError,
    RecordUnreadable,
    RunInterrupted,
    StoreRefused,
    StoreUnavailable,
)
from adloom.core.exits import (
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_OUTAGE,
    EXIT_REASONS,
    EXIT_UNEXPECTED,
    Sent,
)


def end(work: Callable[[], Awaitable[int]], *, as_json: bool, sent: Sequence[Sent] = ()) -> None:
    """Run a command to its exit code. ``sent`` is filled by the work with what its runs send.

    SIGTERM interrupts it as Ctrl-C does, unless the work handles both itself.
    """

    def say(code: int, message: str, remedy: str) -> None:
        if as_json:
            say_failure(code, message, remedy, sent)

    try:
        with _terminable():
            code = asyncio.run(_awaited(work))
    except AdloomError as error:
        code = exit_code_of(error)
        typer.echo(str(error), err=True)
        say(code, error.message, error.remedy)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        typer.echo("Interrupted. Run the same command again to continue.", err=True)
        say(code, "interrupted", "Run the same command again to continue.")
    except Exception as error:
        say(
            EXIT_UNEXPECTED,
            f"{type(error).__name__}: {error}",
            "This is a bug. Running the same command again may continue.",
        )
        raise
    raise typer.Exit(code)


async def _awaited(work: Callable[[], Awaitable[int]]) -> int:
    return await work()


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM what Ctrl-C is: whoever handles that, an event loop or Python, handles both.

    A shell has its background jobs ignore Ctrl-C; SIGTERM ends those too. Python takes signals in its main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        on_interrupt = signal.getsignal(signal.SIGINT)
        if not callable(on_interrupt):
            raise KeyboardInterrupt
        on_interrupt(number, frame)

    former = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def exit_code_of(error: AdloomError) -> int:
    """The exit code of an error that ends a command."""
    if isinstance(error, RunInterrupted):
        return EXIT_INTERRUPTED
    if isinstance(error, InputError | StoreRefused | RecordUnreadable):
        return EXIT_INPUT
    return EXIT_OUTAGE if isinstance(error, StoreUnavailable) else EXIT_UNEXPECTED


def say_failure(code: int, message: str, remedy: str, sent: Sequence[Sent] = ()) -> None:
    """Print why a command failed as one JSON object."""
    failure = {
        "exit_code": code,
        "exit_reason": EXIT_REASONS[code],
        "error": message,
        "remedy": remedy,
        **sum(sent, start=Sent()).told(),
        "totals": None,
        "manifest": None,
    }
    typer.echo(json.dumps(failure, ensure_ascii=False))
