"""What was proven about the API for an account, in ``capabilities.json`` at the archive's root.

``doctor --probe`` writes it.
An entry counts for 30 days and for its own account; without one the pessimistic answer holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adloom.ledger.edition import from_json, to_json, utc
from adloom.ports import Store

SCHEMA = "adloom.capabilities/1"
KEY = "capabilities.json"
VALID_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Proven capabilities by account fingerprint."""

    accounts: Mapping[str, Mapping[str, Any]]

    def replays_keys(self, account: str, now: float) -> bool:
        """Whether the API was seen to answer a repeated idempotency key with the first task, lately."""
        entry = self.accounts.get(account)
        if entry is None or not entry["replays_keys"]:
            return False
        return 0 <= now - datetime.fromisoformat(entry["probed"]).timestamp() <= VALID_S


async def read_capabilities(store: Store) -> Capabilities:
    """What the archive knows; nothing when it holds no record that this version understands."""
    content = await store.read(KEY)
    record = from_json(content, KEY) if content is not None else {}
    return Capabilities(record["accounts"] if record.get("schema") == SCHEMA else {})


async def record_capability(store: Store, account: str, *, replays_keys: bool, now: float) -> None:
    """Write down what a probe has shown for an account."""
    known = await read_capabilities(store)
    accounts = {**known.accounts, account: {"replays_keys": replays_keys, "probed": utc(now)}}
    await store.replace(KEY, to_json({"schema": SCHEMA, "accounts": accounts}))
