"""Identifies this process, and finds out whether another one on this machine has ended.

A process is identified by the machine's boot, its pid namespace, its pid and its start time, so that a reused pid, or a
container's own numbering, is not mistaken for it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from adloom.core.process import Process


def this_process() -> Process:
    """The current process."""
    return process_of(os.getpid())


def process_of(pid: int) -> Process:
    """A process of this machine, with what identifies it now."""
    return Process(host=_host(), pid=pid, started=_started(pid))


def is_gone(process: Process) -> bool:
    """True only when this machine can see that the process is gone; False also means "cannot tell from here"."""
    if process.host != _host():
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    started = _started(process.pid)
    return _is_zombie(process.pid) or bool(process.started and started and started != process.started)


def _host() -> str:
    boot = _text(Path("/proc/sys/kernel/random/boot_id"))
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _started(pid: int) -> str:
    """The start time in clock ticks since boot, field 22 of ``/proc/<pid>/stat``; empty where there is no /proc."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""  # noqa: PLR2004 - the 20th after the name


def _is_zombie(pid: int) -> bool:
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[:1] == ["Z"]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
