"""The ceiling is for the final file: a signature that does not fit is made room for by a lower quality."""

from datetime import UTC, datetime

import pytest
from support.masters import picture, saved

from adloom.core.channel import Channel
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


async def _made(signing: Signing | None, most_bytes: int | None) -> Made:
    channel = Channel("tight", 400, 400, ("jpeg",), most_bytes)
    async with Workshop(signing) as workshop:
        await workshop.open(MASTER, CONTENT)
        return await workshop.make(MASTER, Order("tight", channel, "tight/a"), b"")


async def test_a_signed_file_is_below_the_ceiling_with_its_signature():
    pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")
    keys = made_keys("ACME", datetime.now(UTC))
    signing = Signing(keys[CERTIFICATE].decode(), SecretText(keys[KEY].decode()))
    unsigned = await _made(None, None)
    ceiling = len(unsigned.content) + 2000  # enough for the file, and not for its signature
    signed = await _made(signing, ceiling)
    assert len(signed.content) <= ceiling
    assert 50 <= signed.quality < unsigned.quality == 90
