"""The result of one check of the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. ``remedy`` says what to do if it does not work."""

    name: str
    works: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.works else 'FAIL'} {self.name}: {self.found}" + (
            f". {self.remedy[0].upper()}{self.remedy[1:]}" if self.remedy else ""
        )
