"""What was proven about the API for an account, in ``capabilities.json`` at the archive's root.

``doctor --probe`` writes it.
An entry counts for 30 days and for its own account; without one, or with one that cannot be understood, the pessimistic
answer holds. It is withdrawn as soon as a key that was sent again is answered otherwise than the probe's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adloom.core.errors import RecordUnreadable
from adloom.ledger.edition import from_json, to_json, utc
from adloom.ports import Store

log = logging.getLogger(__name__)

SCHEMA = "adloom.capabilities/1"
KEY = "capabilities.json"
VALID_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Proven capabilities by account fingerprint. Every entry has passed ``_is_understood``."""

    accounts: Mapping[str, Mapping[str, Any]]

    def replays_keys(self, account: str, now: float) -> bool:
        """Whether the API was seen to answer a repeated idempotency key with the first task, lately."""
        entry = self.accounts.get(account)
        if entry is None or not entry["replays_keys"]:
            return False
        return 0 <= now - datetime.fromisoformat(entry["probed"]).timestamp() <= VALID_S

    def says_replayed(self, account: str) -> bool:
        """Whether the probe's replay said of itself that it was one. Entries of former versions do not tell."""
        return self.accounts.get(account, {}).get("says_replayed") is True

    def without(self, account: str) -> Capabilities:
        """The same with nothing proven for an account."""
        return Capabilities({known: entry for known, entry in self.accounts.items() if known != account})


async def read_capabilities(store: Store) -> Capabilities:
    """What the archive knows. What this version does not understand proves nothing, and a warning says so."""
    known, damage = await _read(store)
    if damage:
        log.warning("%s proves nothing of %s; `adloom doctor --probe` writes it anew", KEY, ", ".join(damage))
    return known


async def record_capability(
    store: Store, account: str, *, replays_keys: bool, now: float, says_replayed: bool | None = None
) -> None:
    """Write down what a probe has shown for an account; ``says_replayed`` is None where it did not look."""
    told = {} if says_replayed is None else {"says_replayed": says_replayed}
    await _put(store, account, {"replays_keys": replays_keys, "probed": utc(now), **told})


async def withdraw_capability(store: Store, account: str, *, now: float) -> None:
    """Write down that the API does not remember keys after all, until a probe shows that it does."""
    entry = (await _read(store))[0].accounts.get(account, {"probed": utc(now)})
    await _put(store, account, {**entry, "replays_keys": False, "withdrawn": utc(now)})


async def _put(store: Store, account: str, entry: Mapping[str, Any]) -> None:
    known, _ = await _read(store)
    await store.replace(KEY, to_json({"schema": SCHEMA, "accounts": {**known.accounts, account: entry}}))


async def _read(store: Store) -> tuple[Capabilities, list[str]]:
    """The entries that are understood, and the names of what is not."""
    content = await store.read(KEY)
    if content is None:
        return Capabilities({}), []
    try:
        record = from_json(content, KEY)
    except RecordUnreadable:
        record = {}
    entries = record.get("accounts") if record.get("schema") == SCHEMA else None
    if not isinstance(entries, dict):
        return Capabilities({}), ["any account"]
    good = {account: entry for account, entry in entries.items() if _is_understood(entry)}
    return Capabilities(good), [f"account {account}" for account in entries if account not in good]


def _is_understood(entry: object) -> bool:
    """Whether an entry has all that an answer is taken from, each of its type."""
    if not isinstance(entry, dict) or not isinstance(entry.get("replays_keys"), bool):
        return False
    try:
        return datetime.fromisoformat(entry["probed"]).tzinfo is not None
    except (KeyError, TypeError, ValueError):
        return False
