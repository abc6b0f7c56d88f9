"""The store in a local folder.

A create writes a temporary file next to its target, syncs it, and links it under its final name: the link either
succeeds whole or finds the name taken, so of any number of concurrent creates one wins, also between processes. The
folder is synced too, so that a name survives a power cut. A temporary file left behind by a crash begins with ``.`` and
is never listed.

A failed fsync is never retried on the same file: the kernel may have dropped the data and would report success.

Whatever reveals purchases is readable by its owner only (0700, 0600): ledger, plans, heartbeats, claims and callbacks
hold prompts, variables and signed links. Under a folder with the setgid bit, which is shared by a group, the group
keeps its rights. Images and pages have the modes that the umask gives.

While a process uses the archive, its root stays the folder that it was. A disk that is unmounted leaves an empty folder
in its place: whoever went on there would find nothing that was bought, and buy it again once the disk is back.

The root may be a link; below it none is followed, and only plain files are read: otherwise the author of a foreign
archive could make its reader wait on a pipe, or write elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

from adloom.core.errors import RecordUnreadable, StoreRefused, StoreUnavailable
from adloom.ports import Content, Listed, Spool

ROOM_BYTES = 2 * 1024**3
"""With less free disk than this a run stops buying: what is in flight must still fit."""

_LISTED_AT_ONCE = 1000
_PIECE_BYTES = 1_000_000
_PERMANENT = frozenset(
    {errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
)
_PRIVATE_AT_ROOT = frozenset({"_callbacks", "tasks", "orphans"})
_PRIVATE_IN_EDITION = frozenset({"ledger", "plan", "runs"})
_EDITION_PARTS = 2
_Result = TypeVar("_Result")


class FolderStore:
    """A store under one folder, which is created at the first write.

    ``called`` is what messages call it, ``option`` the option that names another one.
    """

    def __init__(self, root: Path, *, called: str = "the archive", option: str = "--archive") -> None:
        self._root = root.absolute()
        self._called = called
        self._option = option
        self._identity: tuple[int, int] | None = None
        """Device and inode of the root, once it exists."""
        self._landmark: Path | None = None
        """Something that lies in it, by which it is known again when its disk was mounted anew."""

    @property
    def address(self) -> str:
        return str(self._root)

    async def create(
        self,
        key: str,
        content: bytes,
        *,
        media_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        del media_type, metadata  # a file has its name for the one and its ledger for the other
        return await self._run(key, lambda: self._create(self._path(key), content))

    async def replace(self, key: str, content: Content, *, media_type: str = "application/json") -> None:
        del media_type
        await self._run(key, lambda: self._replace(self._path(key), content))

    async def read(self, key: str) -> bytes | None:
        return await self._run(key, lambda: self._read(self._path(key), lambda file: file.read()))

    async def open(self, key: str) -> Spool | None:
        return await self._run(key, lambda: self._read(self._path(key), Spool.of))

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        walk = self._walk(prefix)
        while batch := await self._run(
            prefix, lambda: [entry for _, entry in zip(range(_LISTED_AT_ONCE), walk, strict=False)]
        ):
            for listed in batch:
                yield listed
            if len(batch) < _LISTED_AT_ONCE:
                break

    def link(self, key: str) -> str:
        return self._path(key).as_uri()

    async def metadata(self, key: str) -> Mapping[str, str]:
        """A file has none."""
        del key
        return {}

    async def has_room(self) -> bool:
        return await self._run("", lambda: shutil.disk_usage(self._nearest_folder()).free >= ROOM_BYTES)

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def _run(self, key: str, action: Callable[[], _Result]) -> _Result:
        def guarded() -> _Result:
            self._check_root()
            done = action()
            if self._identity is None:  # this may have made it
                self._check_root()
            return done

        try:
            return await asyncio.to_thread(guarded)
        except OSError as error:
            reason = f"{error.strerror or error} ({self._root / key})"
            if error.errno in _PERMANENT:
                raise StoreRefused(
                    f"{self._called} cannot be used: {reason}",
                    remedy=f"Choose a folder you may write to with {self._option}.",
                ) from error
            raise StoreUnavailable(
                f"{self._called} failed: {reason}", remedy="Fix the disk, then run the same command again."
            ) from error

    def _check_root(self) -> None:
        """Raises OSError when another folder is in the root's place, unless the same archive has been mounted anew."""
        try:
            found = self._root.stat()
            identity = found.st_dev, found.st_ino
        except FileNotFoundError:
            identity = None
        if self._identity not in (None, identity) and not (self._landmark and self._landmark.exists()):
            raise OSError(errno.ESTALE, "another folder is in the archive's place; is its disk mounted?")
        self._identity = identity or self._identity
        if self._landmark is None and identity is not None:
            lasting = (each for each in self._root.iterdir() if not each.name.startswith("."))  # no temporary file
            self._landmark = next(lasting, None)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") for part in parts):
            raise ValueError(f"not a key: {key!r}")
        return self._root.joinpath(*parts)

    def _create(self, path: Path, content: bytes) -> bool:
        if os.path.lexists(path):
            return False
        temporary = self._write_temporary(path, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync_folder(path.parent)
        self._landmark = path
        return True

    def _replace(self, path: Path, content: Content) -> None:
        temporary = self._write_temporary(path, content)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        self._landmark = path

    def _write_temporary(self, path: Path, content: Content) -> Path:
        if link := self._link_above(path):
            raise StoreRefused(
                f"{self._called} cannot be used: {link} is a link, and links below its root are not followed",
                remedy=f"Move the folder itself there, or name the link's target with {self._option}.",
            )
        self._make_folder(path.parent)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        mode = _private_mode(path.parent, 0o600) if self._is_private(path) else 0o666
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                if isinstance(content, Spool):
                    content.seek(0)
                    shutil.copyfileobj(content, file, _PIECE_BYTES)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        is_private = folder != self._root and self._root in folder.parents and self._is_private(folder)
        folder.mkdir(_private_mode(folder.parent, 0o700) if is_private else 0o777, exist_ok=True)
        _sync_folder(folder.parent)

    def _is_private(self, path: Path) -> bool:
        """Whether a file or folder reveals purchases, by its place in the archive."""
        parts = path.relative_to(self._root).parts
        inside = parts[_EDITION_PARTS : _EDITION_PARTS + 1]
        is_plan = len(parts) == _EDITION_PARTS + 1 and path.name.startswith(("plan-r", "loss-"))
        return parts[0] in _PRIVATE_AT_ROOT or bool(_PRIVATE_IN_EDITION.intersection(inside)) or is_plan

    def _link_above(self, path: Path) -> Path | None:
        """The first folder on the way from the root to a path that is a link."""
        above = list(path.parents)
        below_root = reversed(above[: above.index(self._root)])
        return next((folder for folder in below_root if folder.is_symlink()), None)

    def _read(self, path: Path, take: Callable[[BinaryIO], _Result]) -> _Result | None:
        if link := self._link_above(path):
            raise _no_file(link)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
                raise _no_file(path) from error
            raise
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _no_file(path)
            return take(file)

    def _walk(self, prefix: str) -> Iterator[Listed]:
        folder, _, start = prefix.rpartition("/")
        base = self._path(folder) if folder else self._root
        if folder and (link := base if base.is_symlink() else self._link_above(base)):
            raise _no_file(link)
        if not base.is_dir():
            return
        yield from _files(str(base), f"{folder}/" if folder else "", start)

    def _nearest_folder(self) -> Path:
        return next(folder for folder in (self._root, *self._root.parents) if folder.is_dir())


def _files(folder: str, key: str, start: str = "") -> Iterator[Listed]:
    """Every file below a folder whose own key is ``key``; in the folder itself only what begins with ``start``.

    Without an object for each, nor its inode: an edition of 100,000 calls has 800,000 files.
    """
    with os.scandir(folder) as found:
        entries = (entry for entry in found if entry.name.startswith(start) and not entry.name.startswith("."))
        names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
    for name in names:
        if name.endswith("/"):
            yield from _files(f"{folder}/{name[:-1]}", key + name)
        else:
            yield Listed(key + name)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private_mode(folder: Path, mode: int) -> int:
    """A mode for the owner alone, or for owner and group under a group's folder."""
    return mode | mode >> 3 if folder.stat().st_mode & stat.S_ISGID else mode


def _no_file(path: Path) -> RecordUnreadable:
    return RecordUnreadable(
        f"{path} is not a regular file or folder",
        remedy="Put back what belongs there, then run the same command again.",
    )
