"""The channels that come with adloom, read from ``channels.yaml`` in this folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from adloom.core.channel import Channel, Evidence, Gate, SafeArea


@cache
def shipped_channels() -> Mapping[str, Channel]:
    """Every channel of the table by its id, in the table's order."""
    rows = yaml.safe_load(files("adloom.channels").joinpath("channels.yaml").read_text(encoding="utf-8"))
    return {channel.id: channel for channel in map(_channel, rows)}


def _channel(row: Mapping[str, Any]) -> Channel:
    width_px, height_px = map(int, row["pixels"].split("x"))
    checked = row["checked"]
    return Channel(
        id=row["id"],
        width_px=width_px,
        height_px=height_px,
        formats=tuple(row["formats"]),
        max_bytes=row["max_bytes"],
        gate=Gate(row["gate"]),
        safe=SafeArea(**row.get("safe", {})),
        evidence=Evidence(row["evidence"]),
        source=row["source"],
        checked=checked if isinstance(checked, date) else date.fromisoformat(checked),
        note=row.get("note", ""),
    )
