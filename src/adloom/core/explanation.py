"""How one prompt was put together: which values, settings and places in which files made a row."""

from __future__ import annotations

from dataclasses import dataclass

from adloom.core.campaign import Row


@dataclass(frozen=True, slots=True)
class Part:
    """One value that went into a row. ``origin`` says where it is or, without a place, why it is so."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a row comes from: its own ``place``, its ``template``, and the parts that filled it in.

    ``is_combination`` says that the row is one of a matrix, so that its variables are axes. ``variables`` are what the
    template sees, in the order of the file. ``settings`` are all that a row has, whether the row sets them itself, its
    job, the defaults, an option, or nobody.
    """

    row: Row
    place: str
    is_combination: bool
    template: Part
    variables: tuple[Part, ...]
    settings: tuple[Part, ...]
