"""The commands about delivery: what channels take, masters made into files for them, what a file carries."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from adloom.cli.ending import end
from adloom.cli.options import AsJson

if TYPE_CHECKING:
    from datetime import date

    from adloom.core.channel import Channel

LONGEST_SOURCE = 60


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(epilog="Example: adloom channels")(channels)


def channels(
    as_json: AsJson = False,
) -> None:
    """List where images can be delivered to: pixels, formats, ceiling, and where that was read."""

    async def work() -> int:
        from adloom.deliver.channels import shipped_channels  # noqa: PLC0415

        known = list(shipped_channels().values())
        today = datetime.now(UTC).date()
        typer.echo("\n".join(_channel_lines(known, today)), err=as_json)
        if as_json:
            rows = [_channel_data(channel, today) for channel in known]
            typer.echo(json.dumps({"channels": rows}, ensure_ascii=False))
        return 0

    end(work, as_json=as_json)


def _channel_lines(known: list[Channel], today: date) -> list[str]:
    from adloom.core.channel import EVIDENCE_WORDS, STALE_AFTER_DAYS, Evidence  # noqa: PLC0415

    wide = max(len(channel.id) for channel in known)
    lines = [f"{'channel':<{wide}}  {'pixels':<10} {'ceiling':<9} {'gate':<7} {'formats':<16} {'evidence':<10} source"]
    for channel in known:
        formats = ", ".join(channel.formats)
        shown = channel.source if len(channel.source) <= LONGEST_SOURCE else channel.source[: LONGEST_SOURCE - 1] + "…"
        ceiling = _kilobytes(channel.max_bytes)
        lines.append(
            f"{channel.id:<{wide}}  {channel.pixels:<10} {ceiling:<9} {channel.gate:<7} {formats:<16} "
            f"{channel.evidence:<10} {shown}"
        )
    copied = (Evidence.MIRROR, Evidence.SECONDARY)
    counts = {each: sum(channel.evidence is each for channel in known) for each in copied}
    lines += [
        f"{evidence}: {count} rows come from {EVIDENCE_WORDS[evidence]}, not the platform itself"
        for evidence, count in counts.items()
        if count
    ]
    lines += [f"note      {channel.id}: {channel.note}" for channel in known if channel.note]
    return lines + [
        f"warning   {channel.id} was last checked on {channel.checked}, more than {STALE_AFTER_DAYS} days ago: "
        "look at its source before you rely on it"
        for channel in known
        if channel.is_stale(today)
    ]


def _channel_data(channel: Channel, today: date) -> dict[str, Any]:
    safe = channel.safe
    return {
        "id": channel.id,
        "width_px": channel.width_px,
        "height_px": channel.height_px,
        "formats": list(channel.formats),
        "written_as": channel.written_as,
        "max_bytes": channel.max_bytes,
        "gate": channel.gate,
        "safe": {"top": safe.top, "bottom": safe.bottom, "left": safe.left, "right": safe.right},
        "evidence": channel.evidence,
        "source": channel.source,
        "checked": channel.checked.isoformat() if channel.checked else None,
        "stale": channel.is_stale(today),
        "note": channel.note,
    }


def _kilobytes(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "none"
    return f"{size_bytes / 1_000_000:g} MB" if size_bytes >= 1_000_000 else f"{size_bytes / 1000:g} kB"  # noqa: PLR2004
