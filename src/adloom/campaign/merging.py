"""Which rows share images under ``duplicates: merge``, over all jobs of a campaign."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adloom.core.identity import content_identity, digest, variant_key

MERGED_JOBS = 100
"""With more jobs, rows share images within their own alone: each new row would be looked for under every job's name."""


class SharedImages:
    """The requests of one reading of a campaign: who buys for each of them, and how many images it has by then.

    A request belongs to the first job that makes it, but stays with the one under whose name it was bought, so that
    jobs may change places. What two jobs have bought each for themselves stays apart.
    """

    def __init__(self, jobs: Sequence[str], is_bought: Callable[[str], bool] | None) -> None:
        """Take ``is_bought`` as whether a variant, by its key, was ever asked for; None without an archive."""
        self._jobs = tuple(jobs) if 1 < len(jobs) <= MERGED_JOBS else ()
        self._is_bought = is_bought
        self._first: dict[int, str] = {}
        self._most: dict[int, int] = {}

    def identity(self, job: str, content: tuple[object, ...], sent: tuple[object, ...]) -> str:
        """The identity of a job's request. ``content`` is what it is known by, ``sent`` what is bought for it."""
        own = content_identity(job, content, 1)
        if not self._jobs or self._has_bought(own, sent):
            return own
        first = self._first.setdefault(_number(content_identity("", content, 1)), job)
        if self._is_bought is not None:
            for other in dict.fromkeys((first, *self._jobs)):
                if self._has_bought(found := content_identity(other, content, 1), sent):
                    return found
        return content_identity(first, content, 1)

    def shared(self, identity: str, variants: int) -> int:
        """How many of a row's variants an earlier row of this identity has; the row is counted in."""
        number = _number(identity)
        most = self._most.get(number, 0)
        self._most[number] = max(most, variants)
        return min(most, variants)

    def _has_bought(self, identity: str, sent: tuple[object, ...]) -> bool:
        return self._is_bought is not None and self._is_bought(variant_key(digest("row", identity, sent), 1))


def _number(hexadecimal: str) -> int:
    """128 bits of a hash: who shares images must not be taken for another."""
    return int(hexadecimal[:32], 16)
