"""The identity of a process, by which another process can tell whether it has ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process as its own machine tells it from all others."""

    host: str
    pid: int
    started: str
