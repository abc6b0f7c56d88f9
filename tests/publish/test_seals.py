"""Seals: what they bring back, and what they never give away."""

import json

import pytest
from support.fakes import a_fact
from support.shop import SandboxRig
from support.verified import an_archive, findings, mend

from adloom.core.facts import Attempt
from adloom.core.records import Completed, Image, ImageFate
from adloom.publish.seals import _needs_no_link


async def test_a_lost_record_of_a_sealed_call_comes_back_from_its_seal(shop: SandboxRig):
    folder = await an_archive(shop)
    record = next((folder / "ledger").rglob("a1-accepted*.json"))
    content = record.read_bytes()
    record.unlink()
    assert await mend(shop) == []
    assert record.read_bytes() == content


async def test_a_seal_opens_no_link_and_makes_up_for_a_lost_record_all_the_same(shop: SandboxRig):
    folder = await an_archive(shop)
    (seal,) = (folder / "ledger" / "sealed").iterdir()
    content, lines = seal.read_bytes(), (folder / "assets.jsonl").read_bytes()
    record = next((folder / "ledger").rglob("a1-completed.json"))
    known = json.loads(record.read_bytes())
    assert all("sig=" in link for link in known["links"])
    assert b"sig=" not in content
    record.unlink()
    assert await mend(shop) == []
    assert json.loads(record.read_bytes()) == known | {"links": [link.partition("?sig=")[0] for link in known["links"]]}
    assert await findings(shop) == []
    await shop.run()
    assert await findings(shop) == []
    assert (folder / "assets.jsonl").read_bytes() == lines
    seal.unlink()
    assert await mend(shop) == []
    assert seal.read_bytes() == content


async def test_a_seal_that_somebody_changed_puts_nothing_in_the_place_of_a_lost_record(shop: SandboxRig):
    folder = await an_archive(shop)
    (seal,) = (folder / "ledger" / "sealed").iterdir()
    seal.write_bytes(seal.read_bytes().replace(b"/files/", b"/other/"))
    record = next((folder / "ledger").rglob("a1-completed.json"))
    record.unlink()
    assert await mend(shop)
    assert not record.exists()


async def test_a_lost_seal_is_made_again_from_its_records(shop: SandboxRig):
    folder = await an_archive(shop)
    (seal,) = (folder / "ledger" / "sealed").iterdir()
    content = seal.read_bytes()
    seal.write_text("{}")
    assert await mend(shop) == []
    assert seal.read_bytes() == content


ONE, OTHER = "https://r.example/1.jpg?sig=1", "https://r.example/2.jpg?sig=1"


@pytest.mark.parametrize(
    ("links", "fates", "needs"),
    [
        ([ONE, OTHER], [ImageFate.ARCHIVED, ImageFate.EXTRA], False),
        ([ONE, OTHER], [ImageFate.ARCHIVED], True),
        ([ONE, OTHER], [ImageFate.ARCHIVED, ImageFate.QUARANTINED], True),
        ([ONE, OTHER], [ImageFate.ARCHIVED, ImageFate.LOST], True),
        ([ONE, ONE.replace("1.jpg?sig=1", "1.jpg?sig=2")], [ImageFate.ARCHIVED, ImageFate.ARCHIVED], True),
        ([], [], False),
    ],
)
def test_a_link_keeps_its_signature_while_anything_may_need_it(
    links: list[str], fates: list[ImageFate], *, needs: bool
):
    images = tuple(Image(index, index + 1, fate) for index, fate in enumerate(fates))
    completed = Completed.of(a_fact(task="t", links=links, reported=len(links), credits="1"))
    assert _needs_no_link(Attempt(1, completed=completed, images=images)) is not needs
