"""Fetches the image behind a result link, retrying for as long as the link may live.

A link lives for 24 h after its task's end. Until then a refusal (403, 404, 410) and bytes that are not an image prove
nothing: the result may not be there yet, a firewall or proxy may interfere, the signature may be stale. Such an answer
is retried like any other failure, and the task is read for a fresh link before each retry. Only when the 24 h are over
does it end an image, and only when it is given twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adloom.core.backoff import RESULT
from adloom.core.errors import AccountStopped, DownloadError, DownloadFailed, LinkExpired, PictureUnjudged, ReadFailed
from adloom.core.links import are_alike, joined, renewals
from adloom.core.records import Image
from adloom.core.results import second_reading_after_s
from adloom.core.task import Download, Picture
from adloom.guards.image_memory import Share
from adloom.ports import Clock, ImageApi
from adloom.world import World

log = logging.getLogger(__name__)

DOWNLOAD_TRIES = 8
"""Per run; later runs try again. At the default interval they take one minute, at most four."""

SHARED_READING_S = 1.0
"""Images of one call that are refused together share a reading of their task up to this age."""


@dataclass(frozen=True, slots=True)
class Target:
    """One image to fetch.

    ``fresh`` reads the task and returns a link to the same image other than the given one, or ``""``; it raises
    DownloadFailed while the task cannot be read. ``keep`` receives bytes that are not an image or could not be judged.
    """

    link: str
    dies: float
    """Unix time from which the link may be dead."""
    fresh: Callable[[str], Awaitable[str]]
    keep: Callable[[Download], Awaitable[None]]
    share: Share
    """Of the memory: taken when bytes come, and left taken with the image that is returned."""


class Fetcher:
    """Fetches and decodes images for one run."""

    def __init__(self, world: World) -> None:
        self._api = world.api
        self._decoder = world.decoder
        self._clock = world.clock
        self._random = world.random
        self._scale = world.scale
        self._second_look_s = second_reading_after_s(world.poll_interval_s)

    def reading(self, task: str) -> TaskReading:
        """A reading of a task that all of its images share."""
        return TaskReading(self._api, self._clock, task, SHARED_READING_S * self._scale)

    async def found(self, target: Target, *, keeps_share: bool = False) -> tuple[str, Download, Picture]:
        """The image, with its bytes as received and the link that brought it.

        ``keeps_share``: the share of the memory is kept between tries, since others wait for what the caller holds.

        Raises DownloadFailed when it cannot be fetched this time, and LinkExpired when it never can: its link's
        lifetime is over and it brought nothing, and seconds later neither did the link that the task shows now.
        """
        link, doubted = target.link, False
        over_since: float | None = None
        trouble: DownloadError = DownloadFailed("nothing was tried")
        for tried in range(DOWNLOAD_TRIES):
            if tried:
                if not keeps_share:
                    target.share.give_back()
                await self._wait(tried - 1, at_least_s=0.0 if over_since is None else self._second_look_s)
            fresh = await _fresh(target, link) if doubted else None
            link = fresh or link
            got = await self._try(link, target)
            if not isinstance(got, DownloadError):
                return link, *got
            trouble, doubted = got, isinstance(got, LinkExpired)
            if doubted and self.is_over(target):
                now = self._clock.monotonic()
                over_since = now if over_since is None else over_since
                if fresh is not None and now - over_since >= self._second_look_s:
                    raise LinkExpired(f"{trouble.message}; its 24 h are over, and its task shows none that does")
        raise DownloadFailed(f"{DOWNLOAD_TRIES} tries brought no image; the last one: {trouble.message}")

    def is_over(self, target: Target) -> bool:
        """Whether an image's link is past its lifetime."""
        return self._clock.now() >= target.dies

    async def once(self, link: str, keep: Callable[[Download], Awaitable[None]]) -> tuple[Download, Picture] | None:
        """One try of a link: its image, or None; ``keep`` receives bytes that are not an image."""
        try:
            download = await self._api.download(link)
            picture = await self._decoder.decode(download.content)
        except DownloadError:
            return None
        if picture is None:
            await keep(download)
            return None
        return download, picture

    async def _try(self, link: str, target: Target) -> tuple[Download, Picture] | DownloadError:
        """One try: the image, or what came instead. LinkExpired covers everything that a dead link may return."""
        await target.share.take()
        try:
            download = await self._api.download(link)
        except DownloadError as error:
            return error
        target.share.note(len(download.content))
        try:
            picture = await self._decoder.decode(download.content)
        except PictureUnjudged as error:  # the same bytes again are not judged either
            await target.keep(download)
            if self._clock.now() < target.dies:
                raise
            return LinkExpired(error.message)
        if picture is not None:
            return download, picture
        await target.keep(download)
        return LinkExpired("a result link brings no complete image")

    async def _wait(self, tried: int, *, at_least_s: float) -> None:
        await self._clock.sleep(max(at_least_s, RESULT.wait_s(tried, self._random.random()) * self._scale))


async def _fresh(target: Target, link: str) -> str | None:
    """Another link to the image; empty when there is none, None while that is unknown."""
    try:
        return await target.fresh(link)
    except DownloadFailed as error:
        log.info("%s", error.message)
        return None


class TaskReading:
    """The latest reading of one call's task, repeated when an image needs a fresh link."""

    def __init__(self, api: ImageApi, clock: Clock, task: str, shared_for_s: float) -> None:
        self._api = api
        self._clock = clock
        self._task = task
        self._shared_for_s = shared_for_s
        self._one_at_a_time = asyncio.Lock()
        self._made = float("-inf")
        self.shown: tuple[str, ...] = ()

    async def renewals(self, asked: str, known: Sequence[str]) -> tuple[str, ...]:
        """The links that the task shows now for the image of ``asked``. Raises DownloadFailed like ``now``."""
        return renewals(asked, known, await self.now())

    async def now(self) -> tuple[str, ...]:
        """All links that the task shows now. Raises DownloadFailed while it cannot be read."""
        async with self._one_at_a_time:
            if self._clock.monotonic() - self._made > self._shared_for_s:
                self.shown = await self._read()
                self._made = self._clock.monotonic()
        return self.shown

    async def _read(self) -> tuple[str, ...]:
        try:
            task = (await self._api.tasks([self._task])).get(self._task)
        except (ReadFailed, AccountStopped) as error:
            raise DownloadFailed("the link is refused and the task cannot be read now") from error
        return task.results if task else ()


class Siblings:
    """The images of one task, distinguished by their bytes where their links may mislead.

    Links may differ in nothing but a signature; and of two readings that show one link each, of the same path, nothing
    tells whether the second renews the first. Any image may fill any variant, since one prompt made them all, but no
    image may fill two. Images may be equal if one reading shows a link to each of them: ``readings`` has the links of
    those that are recorded. ``stored`` has the SHA-256 of the images that are stored, by index.
    """

    def __init__(
        self, fetcher: Fetcher, reading: TaskReading, readings: Sequence[Sequence[str]], stored: Mapping[int, str]
    ) -> None:
        self._fetcher = fetcher
        self._reading = reading
        self._readings = readings
        self._links = joined(*readings)
        self._stored = frozenset(stored)
        self._taken = dict(stored)
        self._brought: dict[str, str] = {}
        """The SHA-256 of what each link returned, empty for nothing."""
        self._evidence: dict[int, bool] = {}
        self._one_at_a_time = asyncio.Lock()

    def note_evidence(self, index: int, *, is_old: bool) -> None:
        """Note that bytes of an index that are not an image are kept; ``is_old`` means by an earlier run."""
        self._evidence[index] = is_old

    def has_evidence(self, index: int) -> bool:
        """Whether bytes of an index that are not an image are already kept."""
        return index in self._evidence

    def is_bad(self, index: int) -> bool:
        """Whether an earlier run got other bytes, also not an image, for an index."""
        return self._evidence.get(index, False)

    async def fresh(self, asked: str, refused: str) -> str:
        """A link other than the refused one to the image that ``asked`` leads to; empty for none.

        Raises DownloadFailed while the task cannot be read.
        """
        links = [link for link in await self._reading.renewals(asked, self._links) if link != refused]
        return next((link for link in links if link not in self._brought), links[0] if links else "")

    def note(self, index: int, sha256: str) -> bool:
        """Note an image that was found stored; whether it belongs to this index."""
        if sha256 in self._others(index):
            return False
        self._taken[index] = sha256
        return True

    def is_own(self, index: int, sha256: str, said: Iterable[Image]) -> bool:
        """Whether no other run has used an image for another index since this run began."""
        since = {image.sha256 for image in said if image.index not in self._stored and image.index != index}
        return sha256 not in since

    def _others(self, index: int) -> Counter[str]:
        """The images of other indexes, and how often each occurs."""
        return Counter(sha256 for other, sha256 in self._taken.items() if other != index)

    async def image(self, index: int, target: Target) -> tuple[Download, Picture]:
        """The image of an index. Raises what ``Fetcher.found`` raises."""
        if not are_alike(target.link, self._links):
            found = await self._fetcher.found(target)
            async with self._one_at_a_time:
                return await self._own(index, target, *found)
        await target.share.take()  # before the lock, for which those wait that have their share
        async with self._one_at_a_time:
            return await self._own(index, target, *await self._fetcher.found(target, keeps_share=True))

    async def _own(
        self, index: int, target: Target, link: str, download: Download, picture: Picture
    ) -> tuple[Download, Picture]:
        """What a link brought, or another image of the task if another index has that one."""
        self._brought[link] = download.sha256
        taken = self._others(index)
        if taken[download.sha256] and (another := await self._another(target, taken, download.sha256)) is not None:
            download, picture = another
        self._taken[index] = download.sha256
        return download, picture

    async def _another(self, target: Target, taken: Counter[str], own: str) -> tuple[Download, Picture] | None:
        """An image that no other index has; None if one reading shows enough equal ones for each index."""
        if any(self._brought_by(reading)[own] > taken[own] for reading in self._readings):
            return None
        links = tuple(dict.fromkeys(await self._reading.now()))
        for link in links:
            if self._brought_by(links)[own] > taken[own]:
                return None
            if link not in self._brought:
                found = await self._fetcher.once(link, target.keep)
                self._brought[link] = "" if found is None else found[0].sha256  # its own index tries it again
                if found is not None and not taken[found[0].sha256]:
                    return found
        shown = self._brought_by(links)
        for link in links:  # of equal images one may be left over: another index took the image of this one
            sha256 = self._brought[link]
            if sha256 and shown[sha256] > taken[sha256] and (found := await self._fetcher.once(link, target.keep)):
                return found
        error = LinkExpired if self._fetcher.is_over(target) else DownloadFailed
        raise error("its link brings the image of another one, and the task shows none besides")

    def _brought_by(self, links: Sequence[str]) -> Counter[str]:
        """The images that these links brought, as far as they were tried, and how many of the links brought each."""
        return Counter(self._brought[link] for link in dict.fromkeys(links) if link in self._brought)
