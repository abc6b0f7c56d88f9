"""The file API's storage: hosted reference pictures, kept in memory for 72 hours of the sandbox clock."""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from adloom.sandbox import tables
from adloom.sandbox.settings import LiveSettings, SandboxSettings
from adloom.sandbox.submission import Wanted, is_internal

PREFIX = "/hosted/"
HOSTABLE = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True)
class ReferenceFault:
    """Why the references of a submission cannot be used."""

    code: str
    message: str = "a reference image cannot be used"


class UploadRefused(Exception):
    """An upload that ends in ``{success: false}``, with the file API's own code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class HostedFile:
    """One uploaded picture. ``previous`` is the former content of its name, for reads through a stale cache."""

    id: str
    owner: str
    place: str
    name: str
    original_name: str
    content: bytes
    media_type: str
    width_px: int
    height_px: int
    uploaded_at: float
    previous: bytes | None = None

    @property
    def path(self) -> str:
        """Path of its public address."""
        return PREFIX + quote("/".join(part for part in (self.owner, self.place, self.name) if part))


class FileHost:
    """Hosted files of all accounts, found by id and by path."""

    def __init__(self, board: LiveSettings) -> None:
        self._board = board
        self._by_path: OrderedDict[str, HostedFile] = OrderedDict()
        self._uploads = 0
        self._slow = 0
        self.receipts: dict[tuple[str, str], HostedFile] = {}

    def clear(self) -> None:
        """Forget every file."""
        self._by_path.clear()
        self._slow = 0
        self.receipts.clear()

    def add(self, owner: str, content: bytes, name: str, place: str, now: float) -> HostedFile:
        """Host a picture, replacing the one of the same path and name."""
        settings = self._board.settings
        if len(content) > settings.largest_file_bytes:
            raise UploadRefused(40001, "the file is too large")
        media_type = media_type_of(content)
        if media_type not in HOSTABLE:
            raise UploadRefused(40002, "only jpeg, png, gif and webp can be hosted")
        self._uploads += 1
        number = self._uploads
        clean = _clean(name) or f"file-{number}.{media_type.removeprefix('image/')}"
        width, height = pixels_of(content)
        file = HostedFile(
            f"file_{number:08d}", owner, _clean(place), clean, name or clean, content, media_type, width, height, now
        )
        before = self._live(file.path, now)
        if before is None and self.used(owner, now) >= settings.max_files:
            raise UploadRefused(40003, "the quota of files is used up")
        if before is not None:
            file = HostedFile(
                before.id,
                owner,
                file.place,
                clean,
                file.original_name,
                content,
                media_type,
                width,
                height,
                now,
                before.content,
            )
        self._by_path[file.path] = file
        self._by_path.move_to_end(file.path)
        return file

    def shown(self, path: str, now: float) -> tuple[bytes, str] | None:
        """What a reader of a public address gets: for a while after an overwrite, the old content."""
        file = self._live(path, now)
        if file is None:
            return None
        stale = file.previous is not None and now < file.uploaded_at + self._board.settings.stale_read_s
        content = file.previous if stale and file.previous is not None else file.content
        return content, media_type_of(content)

    def used(self, owner: str, now: float) -> int:
        """How many live files an account has."""
        return len(self.owned(owner, now))

    def owned(self, owner: str, now: float) -> list[HostedFile]:
        """An account's live files, newest first."""
        self._expire(now)
        return [file for file in reversed(self._by_path.values()) if file.owner == owner]

    def remove(self, owner: str, file_id: str, now: float) -> bool:
        """Delete a file of an account: False if there is none."""
        for file in self.owned(owner, now):
            if file.id == file_id:
                del self._by_path[file.path]
                return True
        return False

    def references_fail(self, wanted: Wanted, now: float, own_hosts: frozenset[str]) -> ReferenceFault | None:
        """What fetching a submission's references ends in; None if they are fine.

        Addresses of other hosts are never fetched; they count as fine unless the settings say otherwise.
        """
        settings = self._board.settings
        if wanted.references and self._slow < settings.slow_references:
            self._slow += 1
            return ReferenceFault("image_processing_error", "Timeout while downloading url")
        for url in wanted.references:
            parts = urlsplit(url)
            if parts.netloc in own_hosts:
                code = self._own_reference_fails(quote(unquote(parts.path)), now, settings)
            else:
                internal = is_internal(parts.hostname or "") and settings.foreign_references != "anywhere"
                code = "image_processing_error" if internal or settings.foreign_references == "unfetchable" else ""
            if code:
                return ReferenceFault(code)
        return None

    def _own_reference_fails(self, path: str, now: float, settings: SandboxSettings) -> str:
        file = self._live(path, now)
        rules = tables.PROFILES[settings.profile].references
        if file is None or file.media_type not in rules.media_types or len(file.content) > rules.size_bytes:
            return "image_processing_error"
        short, long = sorted((file.width_px, file.height_px))
        if not short:
            return "image_processing_error"
        if short < rules.least_side_px or long > rules.side_px or long > rules.ratio * short:
            return "image_dimension_mismatch"
        return ""

    def _live(self, path: str, now: float) -> HostedFile | None:
        file = self._by_path.get(path)
        return file if file and now < file.uploaded_at + self._board.settings.file_life_s else None

    def _expire(self, now: float) -> None:
        oldest = now - self._board.settings.file_life_s
        while self._by_path and next(iter(self._by_path.values())).uploaded_at <= oldest:
            self._by_path.popitem(last=False)


def media_type_of(content: bytes) -> str:
    """The media type by the first bytes, ``application/octet-stream`` for anything that is not a picture."""
    starts = (
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF8", "image/gif"),
        (b"BM", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
    )
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((media for start, media in starts if content.startswith(start)), "application/octet-stream")


def pixels_of(content: bytes) -> tuple[int, int]:
    """Width and height, zeros for what does not open."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - Pillow loads when the first picture arrives

    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0


def _clean(text: str) -> str:
    """A path part that cannot leave its folder."""
    parts = [part for part in text.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    return "/".join(parts)
