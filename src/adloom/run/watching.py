"""An edition watched from outside, from any machine that reads its archive: what its ledger shows, sample by sample."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adloom.core.errors import InputError
from adloom.core.rate import images_per_s, seconds_left
from adloom.ledger.heartbeats import read_heartbeat, run_of
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import read_newest
from adloom.ports import Clock
from adloom.publish.manifest import derive

QUIET_S = 60.0
"""A run whose last sign of life is older has ended or died: there is one every 10 s."""
SHARE_OF_TIME = 20
"""A sample that takes long is taken rarely: at most a twentieth of the time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An edition at one moment. ``manifest`` is as it would be written now; money in it is in credits."""

    time: float
    manifest: Mapping[str, Any]
    images_per_s: float | None
    left_s: float | None
    """For the images that are still open, at that rate; None if unknown."""
    runs: int
    """Runs that have shown a sign of life within the last minute, by this machine's clock."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self.open

    @property
    def open(self) -> int:
        """Images that may still come, which are not those that wait for approvals."""
        return _open(self.manifest)


async def watch_edition(ledger: Ledger, clock: Clock, every_s: float) -> AsyncIterator[Sample]:
    """A sample at once and then every so often, until no image is open any more; ``ledger`` is loaded already.

    Raises InputError when the edition has no plan yet.
    """
    while True:
        began = clock.monotonic()
        sample = await take_sample(ledger, clock)
        yield sample
        if sample.is_over:
            return
        await clock.sleep(max(every_s, (clock.monotonic() - began) * SHARE_OF_TIME))
        await ledger.catch_up()


async def take_sample(ledger: Ledger, clock: Clock) -> Sample:
    """What follows from the ledger as last read."""
    revision = await read_newest(ledger.store, ledger.edition)
    if revision is None:
        address = f"{ledger.store.address}/{ledger.edition.prefix}"
        raise InputError(f"{address} contains no plan yet", remedy="Run the campaign first.")
    manifest = (await derive(ledger.store, ledger.edition, ledger, revision)).manifest
    now = clock.now()
    rate = images_per_s(ledger.arrivals(), now)
    left = seconds_left(_open(manifest), rate) if _open(manifest) else None
    return Sample(now, manifest, rate, left, await _live_runs(ledger, now))


def _open(manifest: Mapping[str, Any]) -> int:
    waiting = sum(int(each["images"]) for each in manifest.get("waits", ()))
    return int(manifest["totals"]["open"]) - waiting


async def _live_runs(ledger: Ledger, now: float) -> int:
    edition, count = ledger.edition, 0
    keys = [listed.key async for listed in ledger.store.list(edition.key("runs/"))]
    for key in keys:
        token = run_of(key.removeprefix(edition.prefix))
        beat = read_heartbeat(await ledger.store.read(key) or b"", token) if token else None
        if beat is not None and not beat["ended"]:
            count += now - datetime.fromisoformat(beat["time"]).timestamp() < QUIET_S
    return count
