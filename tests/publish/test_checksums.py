"""Verification: any damage to any one object is found, and nothing else is."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fakes import EDITION, ManualClock, MemoryStore, a_fact, a_ledger
from support.shop import SandboxRig, campaign_text
from torture import damages
from torture.simulation import quiet

from adloom.cli.archive import _fetcher
from adloom.core.errors import AdloomError
from adloom.core.facts import Attempt
from adloom.core.process import Process
from adloom.core.records import Completed, Image, ImageFate
from adloom.edges.pictures import PictureDecoder
from adloom.ledger.heartbeats import Heartbeat
from adloom.publish.checksums import READINGS, Damage, verify, write_checksums
from adloom.publish.repair import repair
from adloom.publish.seals import _needs_no_link
from adloom.targets import WallClock, new_ledger, open_store, open_target


async def an_archive(shop: SandboxRig) -> Path:
    shop.write(campaign_text("  - {id: cup, prompt: a cup, variants: 3}\n  - {id: bad, prompt: forbidden}\n"))
    shop.sandbox.change(moderated_at_submit=("forbidden",))
    shop.sandbox.script(route="outcome", fault="completed", images=2)
    await shop.run()
    return shop.edition()


async def findings(shop: SandboxRig) -> list[str]:
    store, edition = open_target(str(shop.edition()), shop.settings)
    verdict = await verify(store, edition, new_ledger(store, edition))
    return [finding.key for finding in verdict.findings]


async def test_a_clean_archive_has_no_findings(shop: SandboxRig):
    await an_archive(shop)
    assert await findings(shop) == []


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def _quiet() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("seeds", [range(start, start + 12) for start in (5000, 5025, 5050, 5075)])
def test_any_damage_to_a_simulated_archive_is_found_and_no_repair_makes_it_worse(seeds: range):
    trials = [damages.try_seed(seed) for seed in seeds]
    assert [problem for trial in trials for problem in trial.problems] == []
    assert sum(trial.counts["damages found"] for trial in trials) == len(seeds)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("seed", range(5))
def test_any_damage_to_an_archive_of_real_runs_is_found_and_no_repair_makes_it_worse(seed: int):
    trial = damages.try_campaign(seed)
    assert trial.problems == []
    assert trial.counts["damages found"] == damages.PER_REAL_ARCHIVE


@pytest.mark.parametrize("lost", ["assets/**/*.jpg", "ledger/*/a1-completed.json", "thumbs/**/*.jpg", "plan/*.jsonl"])
async def test_a_loss_is_still_found_after_another_run(shop: SandboxRig, lost: str):
    folder = await an_archive(shop)
    victim = next(iter(sorted(folder.glob(lost))))
    victim.unlink()
    with contextlib.suppress(AdloomError):
        await shop.run()
    if not victim.exists():
        assert f"{victim.relative_to(folder)}" in await findings(shop)


async def test_checksums_without_their_last_newline_are_damaged(shop: SandboxRig):
    folder = await an_archive(shop)
    path = folder / "checksums.txt"
    path.write_bytes(path.read_bytes()[:-1])
    assert await findings(shop) == ["checksums.txt"]


async def test_a_field_of_another_type_is_damage_and_no_traceback(shop: SandboxRig):
    folder = await an_archive(shop)
    path = next(folder.glob("ledger/c-*/a1-completed.json"))
    for value in ("many", None, [], {}):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "credits": value}))
        assert f"{path.relative_to(folder)}" in await findings(shop)
        assert await mend(shop) == []


async def test_the_heartbeat_of_a_run_that_goes_on_is_no_damage_but_a_changed_one_is(shop: SandboxRig):
    folder = await an_archive(shop)
    store, edition = open_target(str(folder), shop.settings)
    heartbeat = Heartbeat(store, edition, WallClock(), "later", Process("elsewhere", 7, "1"), lambda: 0)
    await heartbeat.beat()
    assert await findings(shop) == []
    path = folder / "runs" / "later.json"
    path.write_bytes(path.read_bytes().replace(b'"ended":false', b'"ended":true'))
    assert await findings(shop) == ["runs/later.json"]


async def test_a_deleted_image_comes_back_while_its_link_lives(shop: SandboxRig):
    folder = await an_archive(shop)
    image = next((folder / "assets").rglob("*.jpg"))
    content = image.read_bytes()
    image.unlink()
    assert await mend(shop) == []
    assert image.read_bytes() == content


async def test_two_swapped_images_mend_each_other_even_when_their_links_are_dead(shop: SandboxRig):
    folder = await an_archive(shop)
    first, second, *_ = sorted((folder / "assets").rglob("*.jpg"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    shop.sandbox.advance(90_000)
    assert await mend(shop) == []
    assert (first.read_bytes(), second.read_bytes()) == contents


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


async def test_a_record_that_is_nowhere_any_more_is_never_papered_over(shop: SandboxRig):
    folder = await an_archive(shop)
    next((folder / "ledger").rglob("a1-completed.json")).unlink()
    next((folder / "ledger" / "sealed").iterdir()).unlink()
    lines = (folder / "assets.jsonl").read_bytes()
    assert await mend(shop)
    assert await mend(shop)
    assert (folder / "assets.jsonl").read_bytes() == lines


async def test_a_thumbnail_is_made_again_and_the_damaged_bytes_of_an_image_are_kept(shop: SandboxRig):
    folder = await an_archive(shop)
    image, thumb = next((folder / "assets").rglob("*.jpg")), next((folder / "thumbs").rglob("*.jpg"))
    good, damaged = (image.read_bytes(), thumb.read_bytes()), image.read_bytes()[:-9]
    image.write_bytes(damaged)
    thumb.write_bytes(b"")
    assert await mend(shop) == []
    assert (image.read_bytes(), thumb.read_bytes()) == good
    assert [path.read_bytes() for path in (folder / "quarantine").iterdir()] == [damaged]


@pytest.mark.parametrize("name", ["manifest.json", "assets.jsonl", "assets.csv", "gallery.html", "checksums.txt"])
async def test_what_is_derived_is_made_again(shop: SandboxRig, name: str):
    folder = await an_archive(shop)
    content = (folder / name).read_bytes()
    (folder / name).write_text("nonsense")
    assert await mend(shop) == []
    assert (folder / name).read_bytes() == content


async def mend(shop: SandboxRig) -> list[str]:
    """Repair as the command does; what is left."""
    store, edition = open_target(str(shop.edition()), shop.settings)
    ledger = new_ledger(store, edition)
    verdict = await verify(store, edition, ledger)
    async with PictureDecoder() as decoder:
        await repair(store, edition, ledger, verdict, _fetcher(shop.settings), decoder)
    left = await verify(store, edition, new_ledger(store, edition))
    return [f"{finding}" for finding in left.findings]


async def test_a_sample_hashes_every_record_and_a_share_of_the_images(shop: SandboxRig):
    await an_archive(shop)
    store = open_store(shop.settings.archive)
    _, edition = open_target(str(shop.edition()), shop.settings)
    whole = await verify(store, edition, new_ledger(store, edition))
    sample = await verify(store, edition, new_ledger(store, edition), share=0.01)
    images = len([path for path in objects(shop.edition()) if path.suffix == ".jpg"])
    assert whole.hashed == whole.objects
    assert sample.hashed == whole.objects - images


async def test_a_manifest_that_was_forged_together_with_its_checksum_contradicts_the_ledger(shop: SandboxRig):
    folder = await an_archive(shop)
    path = folder / "manifest.json"
    forged = path.read_bytes().replace(b'"credits_charged": ', b'"credits_charged": 1')
    sums = (folder / "checksums.txt").read_text().splitlines(keepends=True)[:-1]
    old, new = (hashlib.sha256(content).hexdigest() for content in (path.read_bytes(), forged))
    text = "".join(sums).replace(old, new)
    path.write_bytes(forged)
    (folder / "checksums.txt").write_text(f"{text}# {hashlib.sha256(text.encode()).hexdigest()}\n")
    assert "manifest.json" in await findings(shop)


async def test_an_edition_that_others_never_leave_alone_does_not_keep_a_run_from_its_end():
    store, clock = MemoryStore(), ManualClock()
    mine, other = await a_ledger(store, clock, "run-a"), await a_ledger(store, clock, "run-b")
    await Heartbeat(store, EDITION, clock, other.writer, Process("elsewhere", 7, "1"), lambda: 0).beat()
    written = []

    def grow(operation: str, key: str) -> None:
        if operation == "replace":
            written.append(key)
            store.objects[EDITION.key(f"extras/{len(written)}.jpg")] = b"the other run's"

    store.fault = grow
    await write_checksums(store, EDITION, mine)
    assert len(written) == READINGS


def test_damages_have_words():
    assert str(Damage.CHANGED) == "changed"


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
