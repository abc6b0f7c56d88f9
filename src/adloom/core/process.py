"""The identity of a process, by which another process can tell whether it has ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process, identified uniquely on its machine."""

    host: str
    pid: int
    started: str
