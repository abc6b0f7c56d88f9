"""Opens what people point at: a campaign file, an archive, an edition."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from adloom.campaign.files import Defaults, FileCampaign, open_campaign
from adloom.campaign.sources.origin import S3
from adloom.campaign.sources.workbook.reader import file_of
from adloom.core.campaign import CampaignSource
from adloom.core.errors import InputError, SettingInvalid
from adloom.edges.folder import FolderStore
from adloom.edges.settings import Settings, read_settings
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Wish
from adloom.ports import Store

CAMPAIGN_FILES = (".yaml", ".yml", ".csv", ".xlsx")
EDITION_LENGTH = 64

EDITION_PARTS = 3
"""``<campaign>/<edition>/plan-r1.json``."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One campaign to run, as a person or a schedule asked for it."""

    source: str
    archive: str | None = None
    edition: str = "main"
    wish: Wish = field(default_factory=Wish)
    defaults: Defaults = field(default_factory=Defaults)
    reference_roots: tuple[str, ...] | None = None
    """The ``s3://`` prefixes below which objects may be references; None for anywhere."""


class WallClock:
    """The real time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""``s3:/bucket`` is a typing error, not a folder; a single letter is a drive."""


def settings_for(request: RunRequest) -> Settings:
    """The environment's settings with what the request says instead. Raises SettingInvalid."""
    settings = read_settings(os.environ)
    return settings.model_copy(update={"archive": request.archive}) if request.archive else settings


def open_store(archive: str) -> Store:
    """The store at an address. Raises SettingInvalid for an unsupported kind of address."""
    if archive.startswith(S3):
        from adloom.edges.s3.protection import read_protection  # noqa: PLC0415
        from adloom.edges.s3.store import S3Store  # noqa: PLC0415 - boto3 takes half a second, which a folder need not wait

        return S3Store(archive, read_protection(os.environ))
    if "://" in archive or _SCHEME.match(archive):
        raise SettingInvalid(
            f"{archive}: this kind of place is not supported",
            remedy="Give the path of a folder or s3://bucket/prefix.",
        )
    return FolderStore(Path(archive))


def open_place(to: str) -> Store:
    """The store that a delivery goes to, which messages do not call the archive. Raises as ``open_store`` does."""
    store = open_store(to)
    return (
        FolderStore(Path(to), called="the delivery's folder", option="--to")
        if isinstance(store, FolderStore)
        else store
    )


def open_source(request: RunRequest, settings: Settings) -> FileCampaign:
    """The campaign that a request names. Raises InputError if the file does not exist."""
    return open_campaign(
        request.source,
        defaults=request.defaults,
        loopback_urls=settings.loopback,
        reference_roots=request.reference_roots,
    )


def edition_of(source: CampaignSource, name: str) -> Edition:
    """The edition of a campaign by its name. Raises SettingInvalid for a name that is not safe in an address."""
    safe = name.isascii() and name[:1].isalnum() and all(letter.isalnum() or letter in "._-" for letter in name)
    if not safe or len(name) > EDITION_LENGTH:
        raise SettingInvalid(
            f"{name[:80]!r} is not a valid edition name",
            remedy=f"Use up to {EDITION_LENGTH} letters, digits, dots and dashes, such as 2026-03-01.",
        )
    return Edition(source.campaign.name, name)


def open_target(target: str, settings: Settings, edition: str = "main") -> tuple[Store, Edition]:
    """The store and the edition that a person points at, with a campaign file or with an edition's own folder.

    ``edition`` names the edition of a campaign file. Raises InputError when the target is neither.
    """
    if target.startswith(S3):
        if not target.partition("#")[0].endswith(CAMPAIGN_FILES):
            return _open_edition_address(target)
    elif (folder := Path(target)).is_dir():
        return _open_edition_folder(folder)
    elif not file_of(folder).is_file():
        raise InputError(
            f"{target}: no such campaign file or folder",
            remedy="Give a campaign file, or the folder <archive>/<campaign>/<edition>.",
        )
    source = open_source(RunRequest(target), settings)
    return open_store(settings.archive), edition_of(source, edition)


def campaign_at(target: str, settings: Settings) -> FileCampaign | None:
    """The campaign file that a target is; None where it is an edition's own folder or address."""
    is_address = target.startswith(S3)
    if target.partition("#")[0].endswith(CAMPAIGN_FILES) if is_address else not Path(target).is_dir():
        return open_source(RunRequest(target), settings)
    return None


def _open_edition_folder(folder: Path) -> tuple[Store, Edition]:
    folder = folder.absolute()
    if not any((folder / name).is_file() for name in ("manifest.json", "plan-r1.json")):
        raise InputError(
            f"{folder} is not the folder of an edition: it holds neither manifest.json nor plan-r1.json",
            remedy="Give a campaign file, or the folder <archive>/<campaign>/<edition>.",
        )
    return open_store(str(folder.parents[1])), Edition(folder.parent.name, folder.name)


def _open_edition_address(address: str) -> tuple[Store, Edition]:
    parts = address.removeprefix(S3).strip("/").split("/")
    if len(parts) < EDITION_PARTS:
        raise InputError(
            f"{address} is not the address of an edition",
            remedy="Give s3://<bucket>/<prefix>/<campaign>/<edition>.",
        )
    return open_store(S3 + "/".join(parts[:-2])), Edition(*parts[-2:])


def new_ledger(store: Store, edition: Edition) -> Ledger:
    """A ledger with its own writer token."""
    return Ledger(store, edition, WallClock(), writer=secrets.token_hex(8))
