"""The commands about delivery: list channels, make files for them, inspect what a file carries."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adloom.cli.ending import end
from adloom.cli.options import Archive, AsJson, EditionName, Target
from adloom.core.counting import counted
from adloom.core.errors import InputError
from adloom.core.exits import EXIT_INCOMPLETE, EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from adloom.core.channel import Channel
    from adloom.deliver.edition import Delivered

LONGEST_SOURCE = 60
LINES_SHOWN = 20
PROGRESS_EVERY_S = 10.0


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(epilog="Example: adloom channels spring.yaml")(channels)
    app.command(epilog="Example: adloom deliver spring.yaml --channel meta-story")(deliver)
    app.command(epilog="Example: adloom inspect mug.jpg --anchor my-keys/root.pem")(inspect)
    app.command(epilog="Example: adloom keys new my-keys")(keys)


def channels(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A campaign file, or <archive>/<campaign>/<edition>: lists the campaign's own channels too.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the channels that images can be delivered to: pixels, formats, size limit, and the source."""

    async def work() -> int:
        from adloom.channels.shipped import shipped_channels  # noqa: PLC0415

        own = await _own_channels(target) if target else {}
        known = {**shipped_channels(), **own}
        today = datetime.now(UTC).date()
        lines = _channel_lines(list(known.values()), today) + _difference_lines(own, shipped_channels())
        typer.echo("\n".join(lines), err=as_json)
        if as_json:
            rows = [{**_channel_data(channel, today), "campaign": name in own} for name, channel in known.items()]
            typer.echo(json.dumps({"channels": rows}, ensure_ascii=False))
        return 0

    end(work, as_json=as_json)


async def _own_channels(target: str) -> Mapping[str, Channel]:
    """The channels that a campaign adds or changes, by name. Those it changes keep the source of the rest."""
    from adloom.channels.shipped import shipped_channels  # noqa: PLC0415
    from adloom.targets import RunRequest, settings_for  # noqa: PLC0415
    from adloom.wiring import channels_of_target  # noqa: PLC0415

    shipped = shipped_channels()
    found = await channels_of_target(target, settings_for(RunRequest(target)))
    return {
        name: replace(channel, evidence=of.evidence, source=of.source, checked=of.checked, note=of.note)
        if (of := shipped.get(name))
        else replace(channel, source=target)
        for name, channel in found.items()
    }


def deliver(
    target: Target,
    archive: Archive = None,
    edition: EditionName = "main",
    to: Annotated[
        str | None, typer.Option(help="A folder or s3://bucket/prefix; by default delivery/ in the edition.")
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(help="Only this channel. `original` copies the masters."),
    ] = None,
    approved: Annotated[
        bool | None, typer.Option("--approved/--all", help="By default approved images, or all if nobody has decided.")
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            help='A template for file names, such as "{{ sku }}-{{ locale }}"; without it the campaign\'s own `name`.'
        ),
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many masters to process at once; by default one per processor.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Cut, encode and mark archived images for their channels. Exit 3: some files were refused."""

    async def work() -> int:
        from adloom.deliver.edition import DeliverRequest  # noqa: PLC0415
        from adloom.targets import RunRequest, settings_for  # noqa: PLC0415
        from adloom.wiring import deliver_target  # noqa: PLC0415

        settings = settings_for(RunRequest(target, archive))
        request = DeliverRequest(tuple(channel or ()), approved, name, workers)
        done = await deliver_target(target, settings, edition, request, to, _Progress().say)
        code = EXIT_INCOMPLETE if done.result.refused else EXIT_OK
        typer.echo("\n".join(delivered_lines(done)), err=as_json)
        if as_json:
            typer.echo(json.dumps({**delivered_data(done), "exit_code": code}, ensure_ascii=False))
        return code

    end(work, as_json=as_json)


def inspect(
    file: Annotated[Path, typer.Argument(help="An image file.")],
    anchor: Annotated[Path | None, typer.Option(help="A root certificate that you trust, as PEM.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file carries about its making, whether that is valid, and whether it is trusted. Exit 3: invalid."""

    async def work() -> int:
        from adloom.deliver.inspection import inspect as inspect_file  # noqa: PLC0415

        found = await inspect_file(file, anchor)
        typer.echo("\n".join(found.lines()), err=as_json)
        if as_json:
            typer.echo(json.dumps({"file": str(file), **found.as_data()}, ensure_ascii=False))
        return EXIT_INCOMPLETE if found.is_valid is False else EXIT_OK

    end(work, as_json=as_json)


class KeysAction(StrEnum):
    """What can be done with keys."""

    NEW = "new"


def keys(
    action: Annotated[KeysAction, typer.Argument(help="`new` creates a root and a signing certificate.")],
    folder: Annotated[Path, typer.Argument(help="The folder to create. Nothing in it is overwritten.")],
    organisation: Annotated[str, typer.Option(help="The name that is shown as the signer.")] = "Example organisation",
    as_json: AsJson = False,
) -> None:
    """Create your own root and signing certificates, for tests and for partners who trust you."""
    del action  # the only one

    async def work() -> int:
        if find_spec("cryptography") is None:
            raise InputError("the library that creates keys is not installed", remedy="pip install 'adloom[c2pa]'")
        from adloom.deliver.marks.keys import CERTIFICATE, KEY, ROOT, write_keys  # noqa: PLC0415

        write_keys(folder, organisation)
        lines = [
            f"made {folder}: {CERTIFICATE}, {KEY}, {ROOT}, root-key.pem. Keep the two keys to yourself.",
            "to sign deliveries with it:",
            f"  export ADLOOM_C2PA_CERTIFICATE={folder / CERTIFICATE} ADLOOM_C2PA_KEY={folder / KEY}",
            f"to strangers your signature is valid, not trusted; who is given {ROOT} can trust it:",
            f"  adloom inspect FILE --anchor {folder / ROOT}",
        ]
        typer.echo("\n".join(lines), err=as_json)
        if as_json:
            made = {"certificate": str(folder / CERTIFICATE), "key": str(folder / KEY), "anchor": str(folder / ROOT)}
            typer.echo(json.dumps(made, ensure_ascii=False))
        return EXIT_OK

    end(work, as_json=as_json)


class _Progress:
    """Says on stderr how far a long delivery is, now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._said >= PROGRESS_EVERY_S and done < count:
            self._said = now
            typer.echo(f"delivered {done:,} of {count:,} images", err=True)


def delivered_lines(done: Delivered) -> list[str]:
    """A finished delivery in words."""
    result = done.result
    count = f"{counted(result.made, 'file')} made, {result.kept:,} already there, {result.refused:,} refused"
    lines = [f"note      {note}" for note in done.notes]
    lines += [f"warning   {warning}" for warning in result.warnings[:LINES_SHOWN]]
    refused: dict[tuple[str, str], list[str]] = {}
    for line in result.lines:
        if line["status"] == "refused":
            refused.setdefault((line["channel"], line["reason"]), []).append(line["creative"])
    for (channel, reason), names in list(refused.items())[:LINES_SHOWN]:
        which = names[0] if len(names) == 1 else f"{len(names)} images ({names[0]}, …)"
        lines.append(f"refused   {channel}: {which}: {reason}")
    if more := max(0, len(refused) - LINES_SHOWN) + max(0, len(result.warnings) - LINES_SHOWN):
        lines.append(f"… and {more} more reasons, in delivery.csv")
    return [*lines, f"delivered {count}", f"to        {done.address}"]


def delivered_data(done: Delivered) -> dict[str, Any]:
    """A finished delivery as data."""
    result = done.result
    return {
        "address": done.address,
        "files": len(result.lines) - result.refused,
        "made": result.made,
        "kept": result.kept,
        "refused": result.refused,
        "warnings": result.warnings,
        "former": len(result.former),
        "notes": list(done.notes),
    }


def _channel_lines(known: list[Channel], today: date) -> list[str]:
    from adloom.core.channel import EVIDENCE_WORDS, STALE_AFTER_DAYS, Evidence  # noqa: PLC0415

    wide = max(len(channel.id) for channel in known)
    layout = f"{{:<{wide}}}  {{:<10}} {{:<8}} {{:<9}} {{:<7}} {{:<16}} {{:<10}} {{}}"
    lines = [layout.format("channel", "pixels", "ratio", "ceiling", "gate", "formats", "evidence", "source")]
    for channel in known:
        formats, ceiling = ", ".join(channel.formats), _kilobytes(channel.max_bytes)
        shown = channel.source if len(channel.source) <= LONGEST_SOURCE else channel.source[: LONGEST_SOURCE - 1] + "…"
        cells = (channel.id, channel.pixels, channel.ratio, ceiling, channel.gate, formats, channel.evidence, shown)
        lines.append(layout.format(*cells))
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


def _difference_lines(own: Mapping[str, Channel], shipped: Mapping[str, Channel]) -> list[str]:
    """What a campaign says differently about shipped channels."""
    lines = []
    for name in own.keys() & shipped.keys():
        now, before = (_channel_words(each[name]) for each in (own, shipped))
        differing = [f"{what} {now[what]} instead of {before[what]}" for what in now if now[what] != before[what]]
        lines.append(f"campaign  {name}: {', '.join(differing) or 'as shipped'}")
    return sorted(lines)


def _channel_words(channel: Channel) -> dict[str, str]:
    """What a campaign may say about a channel, in words."""
    margins = {name: getattr(channel.safe, name) for name in ("top", "bottom", "left", "right")}
    return {
        "pixels": channel.pixels,
        "format": channel.written_as,
        "ceiling": _kilobytes(channel.max_bytes),
        "gate": channel.gate,
        "safe": " ".join(f"{name} {share:g}" for name, share in margins.items() if share) or "none",
        "keep": f"{channel.keep:g}",
    }


def _channel_data(channel: Channel, today: date) -> dict[str, Any]:
    safe = channel.safe
    return {
        "id": channel.id,
        "width_px": channel.width_px,
        "height_px": channel.height_px,
        "ratio": channel.ratio,
        "formats": list(channel.formats),
        "written_as": channel.written_as,
        "max_bytes": channel.max_bytes,
        "gate": channel.gate,
        "safe": {"top": safe.top, "bottom": safe.bottom, "left": safe.left, "right": safe.right},
        "keep": channel.keep,
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
