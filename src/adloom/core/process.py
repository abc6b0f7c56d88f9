"""The identity of a process, from which another one can tell whether it is gone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process as its own machine tells it from all others."""

    host: str
    pid: int
    started: str
