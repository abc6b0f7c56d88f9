"""Everything outside that a run works with, as one value that the steps are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from adloom.core.callbacks import Secret
from adloom.owners import Process
from adloom.ports import Clock, Decoder, ImageApi, Store
from adloom.references import ReferenceFiles

DEFAULT_INTERVAL_S = 3.0
"""The poll interval that all other waits are given for; another interval scales them."""


@dataclass(frozen=True, slots=True)
class World:
    """Ports, chance and the process itself."""

    store: Store
    api: ImageApi
    decoder: Decoder
    clock: Clock
    random: Random
    process: Process
    is_surely_dead: Callable[[Process], bool]
    poll_interval_s: float = DEFAULT_INTERVAL_S
    dedicated_key: bool = False
    callback_secret: Secret | None = None
    """What makes callback addresses ours; None where nobody receives callbacks."""
    files: ReferenceFiles | None = None
    """None where no reference is a file."""

    @property
    def scale(self) -> float:
        """What waits before another try are multiplied with."""
        return self.poll_interval_s / DEFAULT_INTERVAL_S
