"""Mutated pictures through the whole way that a stranger's image takes: child, thumbnail, page and contact sheet.

Good pictures of every kind, with words in every place that a file has for them, are bent: bits, bytes and numbers are
changed, pieces cut, repeated, exchanged and put into one another, and the checksums of a PNG mended afterwards so that
the change gets further. Each is judged by the decoder that a run uses. Whatever it says of one, no exception may come
but PictureUnjudged, and what is a picture must have a thumbnail that holds pixels and nothing else, and a page.

    python tests/torture/odd_pictures.py [PICTURES] [SEED]
"""

from __future__ import annotations

import asyncio
import io
import os
import resource
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from PIL import Image
from support.annotated import ALLOWED, CANARY, saved, written_on
from torture.tally import Tally

from adloom.core.errors import PictureUnjudged
from adloom.core.identity import thumb_key
from adloom.core.outcomes import Status
from adloom.core.task import Picture
from adloom.edges.pictures import PictureDecoder
from adloom.gallery.render import Head, render_page
from adloom.gallery.view import Contents, JobEntry, RowView, shot

PICTURES = 100_000
PAGE = 400
PROGRESS_EVERY = 10_000
AT_ONCE = 8
LARGEST_THUMBNAIL = 200_000
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)

WORDS = (b"\xff\xd8", b"\xff\xda", b"\xff\xc2", b"IDAT", b"fcTL", b"eXIf", b"iCCP", b"VP8X", b"\x21\xff\x0b")


def torture(pictures: int = PICTURES, *, seed: int, workers: int, until: float) -> Tally:
    """Mutate so many pictures, before the monotonic clock is at ``until``."""
    tally = Tally("mutated pictures")
    asyncio.run(_torture(tally, pictures, seed, workers, until))
    tally.count("peak memory of the parent, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    tally.count("peak memory of a child, MB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
    return tally


async def _torture(tally: Tally, pictures: int, seed: int, workers: int, until: float) -> None:
    seeds = good_pictures()
    async with PictureDecoder(children=workers) as decoder:
        for first in range(0, pictures, PAGE):
            if time.monotonic() > until:
                tally.count("left out for lack of time", pictures - first)
                return
            numbers = range(first, min(first + PAGE, pictures))
            gate = asyncio.Semaphore(AT_ONCE)
            tried = await asyncio.gather(*(_try_one(tally, decoder, gate, seeds, seed, n) for n in numbers))
            await _show(tally, decoder, [found for found in tried if found])
            if tally.counts["pictures"] % PROGRESS_EVERY == 0:
                sys.stderr.write(f"{tally.title}: {dict(tally.counts)}, {len(tally.failures)} faults\n")


async def _try_one(
    tally: Tally, decoder: PictureDecoder, gate: asyncio.Semaphore, seeds: Sequence[bytes], seed: int, number: int
) -> Picture | None:
    async with gate:
        content = mutated(Random(f"{seed} {number}"), seeds)
        tally.count("pictures")
        try:
            found = await decoder.decode(content)
        except PictureUnjudged:
            tally.count("  not judged")
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, it would have been a traceback
            tally.failures.append(f"seed {seed} picture {number}: {error!r}")
            return None
    if found is None:
        tally.count("  no picture")
        return None
    tally.count(f"  {found.extension}")
    for flag in found.flags:
        tally.count(f"  … {flag}")
    if not found.thumbnail:
        tally.count("  a picture without a thumbnail")
    elif fault := fault_of(found.thumbnail):
        tally.failures.append(f"seed {seed} picture {number}: {fault}")
    return found


def fault_of(thumbnail: bytes) -> str:
    """What is wrong with a thumbnail: anything in it but pixels. Empty if nothing is."""
    if CANARY in thumbnail:
        return "a word of a stranger is in the thumbnail"
    if len(thumbnail) > LARGEST_THUMBNAIL:
        return f"a thumbnail of {len(thumbnail)} bytes"
    try:
        with Image.open(io.BytesIO(thumbnail), formats=["JPEG"]) as image:
            image.load()
            if not set(image.info) <= ALLOWED or max(image.size) > 480 or image.mode != "RGB":
                return f"a thumbnail of {image.size} {image.mode} with {sorted(image.info)}"
    except Exception as error:  # noqa: BLE001 - the same
        return f"a thumbnail that cannot be opened: {error!r}"
    return "" if thumbnail.endswith(b"\xff\xd9") else "a thumbnail with something behind its end"


async def _show(tally: Tally, decoder: PictureDecoder, found: Sequence[Picture]) -> None:
    """A page and a contact sheet of what are pictures."""
    lines = [_line(number, picture) for number, picture in enumerate(found, 1)]
    thumbs = {thumb_key(line["key"]) for line, picture in zip(lines, found, strict=True) if picture.thumbnail}
    row = RowView("row/a/b", "a", "b", "", "odd", (), (), (), tuple(shot(line, thumbs) for line in lines), ())
    totals = dict.fromkeys(Status, 0) | {"wanted": len(found), "credits_charged": 0, "credits_at_risk": 0}
    totals |= {Status.ARCHIVED: len(found), "credits_reserved": 0}
    head = Head("test", "main", "complete", totals, 1, sandbox=True, has_manifest=True)
    try:
        page = render_page(head, Contents(pages=1, jobs={"a": JobEntry("a", 1)}), 1, [row])
        sheet = await decoder.sheet([picture.thumbnail for picture in found if picture.thumbnail][:24])
    except Exception as error:  # noqa: BLE001 - the same
        tally.failures.append(f"a page fails: {error!r}")
        return
    tally.count("pages and sheets")
    if CANARY in page or CANARY in sheet or page.count(b"<img") != len(found):
        tally.failures.append("a page shows what it should not, or not what it should")


def _line(number: int, picture: Picture) -> dict[str, object]:
    return {
        "job": "a",
        "variant": number,
        "take": 1,
        "key": f"assets/a/b-{number}.{picture.extension}",
        "prompt": "odd",
        "media_type": picture.media_type,
        "width_px": picture.width_px,
        "height_px": picture.height_px,
        "size_bytes": 1,
        "flags": list(picture.flags),
    }


def good_pictures() -> list[bytes]:
    """What is mutated: small ones, so that a change hits something."""
    noise = Image.frombytes("RGB", (48, 40), Random(7).randbytes(48 * 40 * 3))
    frames = [noise.rotate(angle) for angle in (0, 90, 180)]
    found = [content for name, content in written_on() if "huge" not in name and "70 kB" not in name]
    for mode, kind in (("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("RGB", "BMP")):
        found.append(saved(noise.convert(mode), kind))
    found += [saved(noise, "JPEG", progressive=True), saved(noise, "JPEG", restart_marker_rows=1)]
    found += [saved(noise, kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF")]
    for kind in ("PNG", "WEBP", "GIF", "AVIF"):
        found.append(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
    return found


def mutated(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the good pictures with one to four changes."""
    content = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        place = random.randrange(len(content) or 1)
        end = min(len(content), place + random.choice((1, 2, 4, 16, 200)))
        match random.randrange(9):
            case 0:
                content[place:end] = random.randbytes(end - place)
            case 1:
                content[place : place + 1] = bytes([content[place] ^ 1 << random.randrange(8)]) if content else b""
            case 2:
                del content[place:end]
            case 3:
                content[place:place] = content[place:end] * random.choice((1, 2, 50))
            case 4:
                other = random.choice(seeds)
                start = random.randrange(len(other))
                content[place:end] = other[start : start + random.choice((4, 30, 500))]
            case 5:
                width = random.choice((1, 2, 4))
                number = random.choice(NUMBERS) & (1 << 8 * width) - 1
                content[place : place + width] = number.to_bytes(width, random.choice(("big", "little")))
            case 6:
                content = content[:place]
            case 7:
                content += random.choice((b"\xff\xd9", CANARY, random.choice(seeds)))
            case _:
                content[place:place] = random.choice(WORDS)
        content = content[:200_000]
    whole = bytes(content)
    return with_right_sums(whole) if random.random() < 0.7 else whole


def with_right_sums(content: bytes) -> bytes:
    """A PNG whose chunks all have the checksum of what they hold now; anything else as it is."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    parts, place = [content[:8]], 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if place + 12 + size > len(content):
            break
        body = content[place + 4 : place + 8 + size]
        parts.append(content[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big"))
        place += 12 + size
    return b"".join([*parts, content[place:]])


if __name__ == "__main__":
    count, first_seed = (int(value) for value in (*sys.argv[1:], *(str(PICTURES), "1")[len(sys.argv) - 1 :]))
    sys.exit(torture(count, seed=first_seed, workers=os.cpu_count() or 2, until=time.monotonic() + 3600).show())
