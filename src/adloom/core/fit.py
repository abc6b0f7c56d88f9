"""The fewest masters that a row's channels can be cut from: ``size: fit``. Pure.

Of all sets of sizes that serve every channel the one is taken that needs the fewest new images; of these the one with
the fewest sizes, then the one that keeps most of its masters' area. A size that is bought already costs nothing, so a
channel that is added later and that an archived master serves buys nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from adloom.core.channel import Channel
from adloom.core.crop import Pixels, kept, serves

FIT = "fit"
_1K = {"1:1": (1024, 1024), "2:3": (832, 1248), "3:4": (864, 1152), "4:5": (896, 1120), "9:16": (720, 1280),
       "21:9": (1512, 648)}  # fmt: skip
_2K = {"1:1": (2048, 2048), "2:3": (1664, 2496), "3:4": (1728, 2304), "4:5": (1792, 2240), "9:16": (1440, 2560),
       "21:9": (3024, 1296)}  # fmt: skip
_4K = {"1:1": (4096, 4096), "2:3": (3328, 4992), "3:4": (3520, 4704), "4:5": (3584, 4480), "9:16": (3040, 5504),
       "21:9": (6240, 2656)}  # fmt: skip
_BY_QUALITY = {"1K": _1K, "2K": _2K, "3K": {"1:1": (3072, 3072), "4:5": (2688, 3360), "9:16": (2304, 4096)}, "4K": _4K}
"""EvoLink OpenAPI text, 2026-10. Where two published tables differ (9:16 and 21:9 at 2K), the smaller one."""


def pixels_of(size: str, quality: str) -> Pixels | None:
    """The pixels of a master as the API's pages say; None where they do not, as for ``auto``."""
    if "x" in size:
        width, _, height = size.partition("x")
        return Pixels(int(width), int(height))
    table = _BY_QUALITY.get(quality, {})
    if size in table:
        return Pixels(*table[size])
    mirrored = ":".join(reversed(size.split(":")))
    return Pixels(*reversed(table[mirrored])) if mirrored in table else None


SHAPE_KEPT = 0.97
"""So much of an image must remain when it is cut to the shape that was asked for: published sides miss it by 1 %."""
LEAST_SHARE = 0.5
"""Of the published number of pixels. Published tables differ by up to a fifth, the next lower quality has a quarter."""


@lru_cache(maxsize=1024)
def is_wrong_size(made: Pixels, size: str, quality: str) -> bool:
    """Whether an image has other pixels than its row asked for.

    A size in pixels must be met exactly. A ratio must be met in shape, and its quality in half of the published pixels;
    ``auto`` asks for no shape and no number.
    """
    if size == "auto":
        return False
    asked = pixels_of(size, quality)
    if "x" in size:
        return made != asked
    width, _, height = size.partition(":")
    too_few = asked is not None and made.width * made.height < LEAST_SHARE * asked.width * asked.height
    return too_few or kept(made, Pixels(int(width), int(height))) < SHAPE_KEPT


@dataclass(frozen=True, slots=True)
class Fit:
    """Which sizes to buy, in the profile's order, and which channels are cut from each."""

    channels: Mapping[str, tuple[str, ...]]

    @property
    def sizes(self) -> tuple[str, ...]:
        return tuple(self.channels)


class NoFit(ValueError):
    """A channel that no size serves: which one, and why."""

    def __init__(self, channel: str, message: str) -> None:
        super().__init__(message)
        self.channel = channel
        self.message = message


def fit(
    channels: Sequence[Channel],
    sizes: Sequence[str],
    quality: str,
    bought: Collection[str] = (),
) -> Fit:
    """The sizes to buy for these channels. Raises NoFit for one that no size serves."""
    return _fit(tuple(channels), tuple(sizes), quality, frozenset(bought))


@lru_cache(maxsize=1024)
def _fit(channels: tuple[Channel, ...], sizes: tuple[str, ...], quality: str, bought: frozenset[str]) -> Fit:
    shares = {channel.id: _shares(channel, sizes, quality) for channel in channels}
    for channel in channels:
        if not shares[channel.id]:
            raise NoFit(channel.id, _why(channel, sizes, quality))
    usable = [size for size in sizes if any(size in each for each in shares.values())]
    bought_here = sum(size in bought for size in usable)
    best: tuple[tuple[int, int, float], tuple[str, ...]] | None = None
    for count in range(1, len(usable) + 1):
        if best is not None and count > best[0][1] and count - bought_here > best[0][0]:
            break  # larger sets buy more
        for chosen in combinations(usable, count):
            if not all(any(size in each for size in chosen) for each in shares.values()):
                continue
            area = sum(max(each.get(size, 0.0) for size in chosen) for each in shares.values())
            rank = (sum(size not in bought for size in chosen), count, -round(area, 9))
            if best is None or rank < best[0]:
                best = (rank, chosen)
    if best is None:
        return Fit({})
    assigned: dict[str, list[str]] = {size: [] for size in best[1]}
    for name, each in shares.items():
        assigned[max(best[1], key=lambda size: each.get(size, 0.0))].append(name)
    return Fit({size: tuple(names) for size, names in assigned.items() if names})


def _shares(channel: Channel, sizes: Sequence[str], quality: str) -> dict[str, float]:
    """What a channel keeps of each size that serves it."""
    wanted = Pixels(channel.width_px, channel.height_px)
    found = {size: pixels for size in sizes if (pixels := pixels_of(size, quality)) and serves(pixels, wanted)}
    shares = {size: kept(pixels, wanted) for size, pixels in found.items()}
    return {size: share for size, share in shares.items() if share >= channel.keep}


def _why(channel: Channel, sizes: Sequence[str], quality: str) -> str:
    wanted = Pixels(channel.width_px, channel.height_px)
    known = [pixels for size in sizes if (pixels := pixels_of(size, quality))]
    large = [pixels for pixels in known if serves(pixels, wanted)]
    if not large:
        return f"{channel.id} takes {channel.pixels} pixels, and no size has as many at {quality}"
    most = max(kept(pixels, wanted) for pixels in large)
    keeps = f"no size keeps {channel.keep:.0%}"
    return f"{channel.id} has a shape of which {keeps}: at most {most:.0%} of an image would remain"
