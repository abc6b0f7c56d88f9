"""How one prompt was put together: which values, settings and places in which files made a row."""

from __future__ import annotations

from dataclasses import dataclass

from adloom.core.campaign import Row


@dataclass(frozen=True, slots=True)
class Part:
    """One value that went into a row. ``origin`` says where it is defined or, if nowhere, why it has this value."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a row comes from: its own ``place``, its ``template``, and the values that filled it in.

    ``is_combination`` says that the row is one of a matrix, so that its variables are axes. ``variables`` are what the
    template sees, in the order of the file. ``settings`` are all settings of a row, whether set by the row itself, its
    job, the defaults, an option, or not at all.
    """

    row: Row
    place: str
    is_combination: bool
    template: Part
    variables: tuple[Part, ...]
    settings: tuple[Part, ...]
