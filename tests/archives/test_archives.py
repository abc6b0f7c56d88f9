"""Archives of former versions: every later version resumes them without buying, and verifies them clean."""

import json
import shutil
from pathlib import Path

import pytest
from support.shop import SandboxRig

from adloom.core.errors import RecordUnreadable
from adloom.edges.pictures import PictureDecoder
from adloom.ledger.edition import Edition
from adloom.publish.checksums import verify
from adloom.publish.repair import repair
from adloom.spend.held import held_calls
from adloom.targets import new_ledger, open_store

HERE = Path(__file__).parent
VERSIONS = sorted(path.name for path in HERE.glob("v*"))
ENDS = {"finished": 3, "waiting": 6}
"""The campaigns of a version and the exit codes that their runs had."""


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, shop: SandboxRig) -> SandboxRig:
    """A shop with the archive and the campaigns of a version."""
    shutil.copytree(HERE / request.param, shop.folder / "old")
    return shop.with_settings(archive=str(shop.folder / "old" / "store"))


def campaign(old: SandboxRig, name: str) -> Path:
    old.campaign = old.folder / "old" / f"{name}.yaml"
    return old.edition(name)


async def findings(old: SandboxRig, name: str) -> list[str]:
    store, edition = open_store(old.settings.archive), Edition(name, "main")
    verdict = await verify(store, edition, new_ledger(store, edition))
    return [str(finding) for finding in verdict.findings]


@pytest.mark.parametrize("name", ENDS)
async def test_an_old_archive_resumes_without_a_purchase_and_is_as_it_was(old: SandboxRig, name: str):
    edition = campaign(old, name)
    before = (edition / "assets.jsonl").read_bytes(), (edition / "assets.csv").read_bytes()
    assert await findings(old, name) == []
    assert (await old.run()).exit_code == ENDS[name]
    assert old.sandbox.state()["posts_received"] == 0
    assert ((edition / "assets.jsonl").read_bytes(), (edition / "assets.csv").read_bytes()) == before
    assert await findings(old, name) == []


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8 nonsense", None])
async def test_a_damaged_thumbnail_of_an_old_archive_is_made_anew(old: SandboxRig, damage: bytes | None):
    """The version that made it made others than this one does."""
    edition = campaign(old, "finished")
    thumbnail = next(iter(sorted(edition.glob("thumbs/**/*.jpg"))))
    thumbnail.unlink() if damage is None else thumbnail.write_bytes(damage)
    store, name = open_store(old.settings.archive), Edition("finished", "main")
    verdict = await verify(store, name, new_ledger(store, name))

    async def nothing(_link: str) -> None:
        return None

    async with PictureDecoder() as decoder:
        mended = await repair(store, name, new_ledger(store, name), verdict, nothing, decoder)
    assert mended == (thumbnail.relative_to(edition).as_posix(),)
    assert thumbnail.read_bytes().startswith(b"\xff\xd8\xff")
    assert await findings(old, "finished") == []


async def test_every_outcome_of_an_old_archive_is_still_told(old: SandboxRig):
    campaign(old, "finished")
    totals = (await old.run()).published.manifest["totals"]
    assert {name: totals[name] for name in ("archived", "short", "refused", "failed", "held", "open")} == {
        "archived": 11, "short": 1, "refused": 1, "failed": 1, "held": 0, "open": 0,
    }  # fmt: skip
    assert len(list(old.edition("finished").glob("extras/*"))) == 1
    assert len(list(old.edition("finished").glob("ledger/sealed/*"))) == 1


async def test_a_purchase_that_an_old_archive_holds_stays_held(old: SandboxRig):
    campaign(old, "waiting")
    old = old.with_settings(dedicated_key=True)
    campaign(old, "waiting")
    await old.run()
    store, edition = open_store(old.settings.archive), Edition("waiting", "main")
    ledger = new_ledger(store, edition)
    await ledger.load()
    (held,) = held_calls(ledger, 0)
    assert (held.job, held.images) == ("unknown", 2)
    assert old.sandbox.state()["posts_received"] == 0


@pytest.mark.parametrize("pattern", ["ledger/c-*/a1-intent.json", "plan-r1.json"])
async def test_a_record_of_a_newer_version_is_refused_with_what_to_do(old: SandboxRig, pattern: str):
    edition = campaign(old, "waiting")
    path = next(iter(sorted(edition.glob(pattern))))
    record = json.loads(path.read_bytes())
    kind, _, version = record["schema"].partition("/")
    path.write_text(json.dumps({**record, "schema": f"{kind}/{int(version) + 1}"}))
    with pytest.raises(RecordUnreadable) as refused:
        await old.run()
    assert f"{kind}/{int(version) + 1}" in refused.value.message
    assert "newer" in refused.value.remedy
    assert old.sandbox.state()["posts_received"] == 0


async def test_a_seal_of_a_newer_version_is_passed_over_for_the_records_themselves(old: SandboxRig):
    edition = campaign(old, "finished")
    (seal,) = edition.glob("ledger/sealed/*.json")
    seal.write_text(json.dumps({**json.loads(seal.read_bytes()), "schema": "adloom.seal/3", "calls": "otherwise"}))
    assert (await old.run()).exit_code == ENDS["finished"]
    assert old.sandbox.state()["posts_received"] == 0
