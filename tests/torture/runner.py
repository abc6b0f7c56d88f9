"""Runs of adloom in forked children, to be killed, paused and given errors.

A run is a fork of this process, which has imported everything, so that it costs no start of an interpreter. It does
what the command line does behind its options: ``assessment_of``, ``execute``, and the command line's own exit codes.
A child's log lies in memory that it shares with its parent: writing it takes no system call, and it outlives SIGKILL.

A traced child runs in one thread (``asyncio.to_thread`` calls at once, images are decoded in place by the function
that the decoder's child process runs), because strace counts ``when=k`` for each traced thread by itself. strace
attaches after the imports, follows no forks, and the child goes on only once strace has said that it is attached, so
that the first counted call is the run's own. A signal injected at the entry of a call kills before its effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import adloom.ledger.heartbeats
import adloom.run
import adloom.wiring
from adloom.cli.ending import exit_code_of
from adloom.core.errors import AdloomError
from adloom.core.task import Picture
from adloom.edges.picture_child import answer
from adloom.edges.pictures import _picture
from adloom.edges.settings import SecretText, Settings
from adloom.plan.assessment import Wish
from adloom.targets import RunRequest, open_store
from adloom.wiring import assessment_of, execute

POLL_INTERVAL_S = 0.02
LOG_BYTES = 1 << 18
HANGS_AFTER_S = 120
HUNG = "the run hung and was killed"
NEXT_ATTEMPT_INTERVALS = (1.0, 2.0)
"""Instead of 20 to 100: a wait before another attempt is of no interest here."""

STRACE = shutil.which("strace")
NO_STRACE = "skipped: there is no strace on this machine (apt-get install strace)"


@dataclass(frozen=True)
class Job:
    """One run: of which campaign, into which archive, against which sandbox, with which key."""

    campaign: Path
    archive: str
    base_url: str
    key: str
    dedicated: bool = False
    single_threaded: bool = True
    real_decoder: bool = False
    dead_after_s: float | None = None
    """How soon a silent run counts as dead, instead of 60 s, and then it beats six times as often."""
    begin: Callable[[], None] | None = None
    """What the child does first."""
    act: Callable[[Job], Awaitable[int]] | None = None
    """What it does instead of a run of the campaign; its exit code."""


class Child:
    """A run in a child process. ``wait`` gives its exit code, minus the signal's number when it was killed."""

    def __init__(self, job: Job, strace: Sequence[str] = ()) -> None:
        self._log = mmap.mmap(-1, LOG_BYTES)
        self._strace: subprocess.Popen[str] | None = None
        self.hung = False
        ready, go = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(go)
            _be_a_run(job, ready, self._log)
        os.close(ready)
        self._pidfd = os.pidfd_open(self.pid)
        if strace:
            self._strace = _attach(self.pid, strace)
        os.write(go, b"!")
        os.close(go)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def ends_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def wait(self, seconds: float = HANGS_AFTER_S) -> int:
        if not self.ends_within(seconds):
            self.hung = True
            self.send(signal.SIGKILL)
        if self._strace is not None:
            self._strace.communicate()
        _, status = os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        return os.waitstatus_to_exitcode(status)

    @property
    def log(self) -> str:
        return self._log[:].split(b"\0", 1)[0].decode("utf-8", "replace")

    @property
    def last_words(self) -> str:
        """The end of the log, for a report."""
        return last_words(self.log)


def run_to_end(job: Job, strace: Sequence[str] = (), *, hangs_after_s: float = HANGS_AFTER_S) -> tuple[int, str]:
    """Exit code and log of a run. A run that hangs is killed, and its log says so."""
    child = Child(job, strace)
    code = child.wait(hangs_after_s)
    return code, child.log + (f"\nTraceback: {HUNG}" if child.hung else "")


def last_words(log: str) -> str:
    """The last lines of a log that say something: no source lines, no carets."""
    lines = [line.strip(" |") for line in log.splitlines()]
    telling = [line for line in lines if line and not set(line) <= set("^~-+=")]
    return " / ".join(telling[-8:])[-900:]


def warm_up(job: Job) -> None:
    """Do a whole run in this process, so that a fork finds imported and compiled what a run needs on its way."""
    at_once, asyncio.to_thread = asyncio.to_thread, _at_once  # type: ignore[assignment]
    try:
        code = _run(job)
    finally:
        asyncio.to_thread = at_once
    assert code == 0, f"the first run ended with {code}"
    gc.collect()
    gc.freeze()


def _attach(pid: int, options: Sequence[str]) -> subprocess.Popen[str]:
    assert STRACE is not None
    tracer = subprocess.Popen([STRACE, "-p", str(pid), *options], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    heard = ""
    while "attached" not in heard:
        line = tracer.stderr.readline()
        if not line:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"strace does not attach: {heard}")
        heard += line
    return tracer


def _be_a_run(job: Job, ready: int, log: mmap.mmap) -> None:
    """Never returns: the child ends without the parent's clean-up."""
    code = 99
    try:
        _allow_tracing()
        _log_to(log)
        _shorten(job)
        select.select([ready], [], [])  # no ``read``: those that are counted are the run's own
        if job.begin is not None:
            job.begin()
        code = _run(job)
    except BaseException:
        logging.getLogger("torture").exception("the run raised")
    finally:
        os._exit(code)


def settings_of(job: Job) -> Settings:
    """What a run of a job reads from its surroundings."""
    return Settings.model_validate(
        {
            "api_key": SecretText(job.key),
            "base_url": job.base_url,
            "files_url": job.base_url,
            "archive": job.archive,
            "poll_interval_s": POLL_INTERVAL_S,
            "dedicated_key": job.dedicated,
        }
    )


async def buy(job: Job, wish: Wish | None = None) -> int:
    """A run of the campaign; its exit code."""
    settings = settings_of(job)
    store = open_store(settings.archive)
    request = RunRequest(str(job.campaign), job.archive, wish=wish or Wish())
    assessment = await assessment_of(request, settings, store, to_run=True)
    result = await execute(settings, store, assessment)
    for stop in result.stops:
        logging.getLogger("torture").warning("stop %s: %s", stop.reason, stop.message)
    return result.exit_code


def _run(job: Job) -> int:
    try:
        return asyncio.run((job.act or buy)(job))
    except AdloomError as error:
        logging.getLogger("torture").warning("%s: %s", type(error).__name__, error.message)
        return exit_code_of(error)


def _shorten(job: Job) -> None:
    patched: Any = adloom.run.run
    patched.NEXT_ATTEMPT_INTERVALS = NEXT_ATTEMPT_INTERVALS
    if job.dead_after_s is not None:
        adloom.ledger.heartbeats.DEAD_AFTER_S = job.dead_after_s
        patched.BEAT_EVERY_S = job.dead_after_s / 6
    if job.single_threaded:
        asyncio.to_thread = _at_once  # type: ignore[assignment]
    if not job.real_decoder:
        adloom.wiring.PictureDecoder = _DecoderInPlace  # type: ignore[assignment, misc]


async def _at_once(function: Callable[..., Any], /, *args: object, **options: object) -> Any:
    return function(*args, **options)


class _DecoderInPlace:
    """What the decoder's child process does, without the process."""

    async def decode(self, content: bytes) -> Picture | None:
        return _picture(*await asyncio.to_thread(answer, content))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Nothing was started."""


class _Shared(logging.Handler):
    def __init__(self, log: mmap.mmap) -> None:
        super().__init__()
        self._target = log
        self._end = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{time.monotonic():.3f} {os.getpid()} {record.name}: {record.getMessage()}\n"
        if record.exc_info:
            text += "".join(traceback.format_exception(*record.exc_info))
        content = text.encode("utf-8", "replace")[: LOG_BYTES - 1 - self._end]
        self._target[self._end : self._end + len(content)] = content
        self._end += len(content)


def _log_to(log: mmap.mmap) -> None:
    root = logging.getLogger()
    root.handlers = [_Shared(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _allow_tracing() -> None:
    """Let a process that is no parent attach, where the kernel restricts that (Yama's ptrace_scope 1)."""
    if Path("/proc/sys/kernel/yama/ptrace_scope").exists():
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1 & (2**64 - 1)), 0, 0, 0)  # PR_SET_PTRACER, any
