"""The ceiling is for the final file: a signature that does not fit is made room for by a lower quality."""

from datetime import UTC, datetime

import pytest
from support.masters import picture, saved

from adloom.core.channel import Channel, Gate
from adloom.core.delivery import NOTHING_WANTED
from adloom.core.rendition import Master, Order
from adloom.deliver.marks.keys import CERTIFICATE, KEY, made_keys
from adloom.deliver.marks.signing import Signing
from adloom.deliver.workshop import Made, Workshop
from adloom.edges.settings import SecretText

CONTENT = saved(picture(500, 500, grain=3))
MASTER = Master(
    "k", "hero", "row", "row", 1, 1, "assets/hero/row.jpg", "", "image/jpeg", 500, 500, "", "m", {}, NOTHING_WANTED
)


async def _made(signing: Signing | None, most_bytes: int | None, gate: Gate = Gate.HARD) -> Made:
    channel = Channel("tight", 400, 400, ("jpeg",), most_bytes, gate=gate)
    async with Workshop(signing) as workshop:
        await workshop.open(MASTER, CONTENT)
        return await workshop.make(MASTER, Order("tight", channel, "tight/a"), b"")


def _signing() -> Signing:
    keys = made_keys("ACME", datetime.now(UTC))
    return Signing(keys[CERTIFICATE].decode(), SecretText(keys[KEY].decode()))


async def test_a_signed_file_is_below_the_ceiling_with_its_signature():
    pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")
    signing = _signing()
    unsigned = await _made(None, None)
    ceiling = len(unsigned.content) + 2000  # enough for the file, and not for its signature
    signed = await _made(signing, ceiling)
    assert len(signed.content) <= ceiling
    assert 50 <= signed.quality < unsigned.quality == 90


async def test_an_advised_size_is_kept_with_the_signature_where_a_low_quality_can():
    pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")
    signing = _signing()
    floor = len((await _made(None, 1000, Gate.ADVISE)).content)
    ceiling = floor - 500  # even without its signature the file needs a quality below the floor's
    poorer = await _made(signing, ceiling, Gate.ADVISE)
    assert len(poorer.content) <= ceiling
    assert poorer.warning == f"only quality {poorer.quality} is below the advised size"


async def test_a_file_that_its_signature_alone_keeps_above_the_advised_size_says_so():
    pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")
    ceiling = 20_000  # enough for a poor file, and not for its signature too
    above = await _made(_signing(), ceiling, Gate.ADVISE)
    assert (above.quality, len(above.content) > ceiling) == (50, True)
    assert "above the advised size" in above.warning
    assert "at most 20,000 are allowed, of which the signature takes 8," in above.warning
