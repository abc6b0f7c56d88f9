"""Verification: any damage to any one object is found, and nothing else is."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import (
    EDITION,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_row,
    a_world,
    look_at,
    run_all,
)
from support.shop import SandboxRig
from support.verified import an_archive, findings, mend
from torture import damages
from torture.simulation import quiet

from adloom.core.decision import Decision, Verdict
from adloom.core.errors import AdloomError, RecordUnreadable, StoreUnavailable
from adloom.core.process import Process
from adloom.gallery.chooser.render import Live
from adloom.gallery.chooser.write import write_review_page
from adloom.ledger.decisions import write_decision
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import read_newest
from adloom.publish.checksums import READINGS, Damage, are_noted, read_sums, verify, write_checksums
from adloom.publish.manifest import derive
from adloom.targets import WallClock, new_ledger, open_store, open_target


async def test_a_clean_archive_has_no_findings(shop: SandboxRig):
    await an_archive(shop)
    assert await findings(shop) == []


async def test_an_object_is_noted_as_it_is_now(shop: SandboxRig):
    folder = await an_archive(shop)
    store, edition = open_target(str(folder), shop.settings)
    assert await are_noted(store, edition, ["manifest.json", "gallery.html"])
    (folder / "gallery.html").write_text("edited")
    assert not await are_noted(store, edition, ["manifest.json", "gallery.html"])
    assert not await are_noted(store, edition, ["no-such-page.html"])


async def test_what_is_forgotten_is_hashed_again_or_gone_and_what_is_left_out_keeps_its_hash(shop: SandboxRig):
    folder = await an_archive(shop)
    store, edition = open_target(str(folder), shop.settings)
    former = await read_sums(store, edition)
    thumb = next(path.relative_to(folder).as_posix() for path in objects(folder / "thumbs"))
    asset = next(path.relative_to(folder).as_posix() for path in objects(folder / "assets"))
    for name in (thumb, "gallery.html", "manifest.json"):
        (folder / name).write_text("edited")
    for name in (asset, "plan-r1.json", "assets.csv"):
        (folder / name).unlink()
    ledger = new_ledger(store, edition)
    await ledger.load()
    again, wrong = {thumb, "gallery.html", "plan-r1.json"}, frozenset({"manifest.json"})
    await write_checksums(store, edition, ledger, leave_out=wrong, forget=again.__contains__)
    sums = (await read_sums(store, edition))[0]
    assert sums[thumb] == sums["gallery.html"] == hashlib.sha256(b"edited").hexdigest()
    assert not {"plan-r1.json", "assets.csv"} & sums.keys()  # what is made anew from the rest need not be there
    assert {name: sums[name] for name in (asset, "manifest.json")} == {
        name: former[0][name] for name in (asset, "manifest.json")
    }


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def _quiet() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("seeds", [range(start, start + 8) for start in (5000, 5025, 5050, 5075)])
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


async def test_what_a_refused_run_tested_the_archive_with_is_no_damage_but_anything_else_of_that_name_is(
    shop: SandboxRig,
):
    folder = await an_archive(shop)
    path = folder / "runs" / "later.probe.json"
    path.write_bytes(b"1\n")
    assert await findings(shop) == []
    path.write_bytes(b"2\n")
    assert await findings(shop) == ["runs/later.probe.json"]


async def test_the_page_that_a_run_writes_meanwhile_is_no_damage(shop: SandboxRig):
    folder = await an_archive(shop)
    store, edition = open_target(str(folder), shop.settings)
    await write_review_page(store, edition, new_ledger(store, edition), Live(running="2026-11-01 12:00 UTC"))
    assert await findings(shop) == []


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
    assert len(written) == READINGS == 3


async def test_what_a_run_wrote_that_ended_at_the_moment_when_this_one_began_is_hashed():
    store, clock = MemoryStore(), ManualClock()
    mine, other = await a_ledger(store, clock, "run-a"), await a_ledger(store, clock, "run-b")
    for ledger, ended in ((other, True), (mine, False)):
        heart = Heartbeat(store, EDITION, clock, ledger.writer, Process("elsewhere", 7, "1"), lambda: 0)
        await heart.beat(ended=ended)

    def write_late(operation: str, _key: str) -> None:
        if operation == "replace":
            store.objects[EDITION.key("extras/1.jpg")] = b"the other run's"

    store.fault = write_late
    await write_checksums(store, EDITION, mine)
    assert "extras/1.jpg" in (await read_sums(store, EDITION))[0]


@pytest.fixture
async def whole(store: MemoryStore, clock: ManualClock) -> MemoryStore:
    """The archive of one finished run with its checksums."""
    world = a_world(store, clock, ScriptedApi(clock))
    await run_all(world, await look_at(world, FakeSource([a_row()])))
    store.objects[EDITION.key("review.html")] = b"a page"
    await write_checksums(store, EDITION, await a_ledger(store, clock))
    return store


async def told(store: MemoryStore) -> list[str]:
    """What a verification says."""
    verdict = await verify(store, EDITION, Ledger(store, EDITION, ManualClock(), "reader"))
    return [f"{finding}" for finding in verdict.findings]


def named(store: MemoryStore, part: str) -> str:
    """The one object of the edition that has this in its name."""
    (name,) = [key for key in store.objects if key.startswith(EDITION.prefix) and part in key]
    return name.removeprefix(EDITION.prefix)


DIFFERS = "contradicts the ledger (differs from plan and ledger)"
RUNNING = b'"running":"2026-11-01 12:00 UTC"'
OLDER = "ledger/: older than its manifest (missing: "


async def test_a_verification_says_of_each_object_what_is_wrong_with_it(whole: MemoryStore):
    assert await told(whole) == []
    asset, beat, intent = (named(whole, part) for part in ("assets/", ".probe", "a1-intent"))
    beat = beat.replace(".probe", "")
    objects = dict(whole.objects)
    sums = objects[EDITION.key("checksums.txt")]
    lines = sums.splitlines(keepends=True)
    turned = b"".join(reversed(lines[:-1]))
    said = {
        (asset, b"other"): [f"{asset}: changed"],
        (asset, None): [f"{asset}: missing"],
        ("assets/new.png", b"other"): ["assets/new.png: added"],
        (beat, b"other"): [f"{beat}: changed"],
        ("runs/new.json", b"other"): ["runs/new.json: added"],
        ("review.html", b"other"): ["review.html: changed"],
        ("assets.csv", RUNNING): [f"assets.csv: {DIFFERS}", "assets.csv: changed"],
        ("manifest.json", b"{"): [f"manifest.json: {DIFFERS}", "manifest.json: changed"],
        ("manifest.json", None): ["manifest.json: missing"],
        (intent, b"{"): [f"ledger/: unreadable ({EDITION.key(intent)} is damaged)", f"{intent}: changed"],
        ("plan-r1.json", None): [
            "plan-r1.json: missing",
            f"{OLDER}1 revision of the plan; see --repair and --accept-loss)",
        ],
        ("checksums.txt", None): ["checksums.txt: missing (run the campaign again, or `adloom verify --repair`)"],
        ("checksums.txt", sums[:-9]): ["checksums.txt: changed (checksums.txt does not agree with its own last line)"],
        ("checksums.txt", turned + f"# {hashlib.sha256(turned).hexdigest()}\n".encode()): [
            "checksums.txt: changed (checksums.txt was changed after it was written)"
        ],
    }
    for (name, content), expected in said.items():
        whole.objects = {**objects, EDITION.key(name): content or b""}
        if content is None:
            del whole.objects[EDITION.key(name)]
        assert await told(whole) == expected, name


async def test_without_checksums_the_ledger_vouches_for_its_images_and_for_what_follows_from_it(whole: MemoryStore):
    del whole.objects[EDITION.key("checksums.txt")]
    asset = named(whole, "assets/")
    whole.objects |= {EDITION.key(asset): b"other", EDITION.key("manifest.json"): b"{"}
    assert (await told(whole))[1:] == [f"manifest.json: {DIFFERS}", f"{asset}: changed"]


async def test_what_a_killed_run_never_wrote_is_missing_and_contradicts_nothing(whole: MemoryStore):
    documents = ("assets.jsonl", "assets.csv", "manifest.json")
    for name in (*documents, "checksums.txt"):
        del whole.objects[EDITION.key(name)]
    unfinished = [f"{name}: missing (the last run did not finish: run the campaign again)" for name in documents]
    assert (await told(whole))[1:] == unfinished


async def test_an_image_that_was_exchanged_together_with_its_checksum_contradicts_the_ledger(whole: MemoryStore):
    asset = named(whole, "assets/")
    sums = (await read_sums(whole, EDITION))[0] | {asset: hashlib.sha256(b"other").hexdigest()}
    text = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    whole.objects[EDITION.key("checksums.txt")] = text + f"# {hashlib.sha256(text).hexdigest()}\n".encode()
    whole.objects[EDITION.key(asset)] = b"other"
    assert await told(whole) == [f"{asset}: contradicts the ledger (its bytes are not those that were archived)"]


async def test_a_ledger_that_somebody_added_to_is_not_its_own_witness(whole: MemoryStore):
    call = named(whole, "a1-intent").removesuffix("a1-intent.json")
    whole.objects[EDITION.key(f"{call}a1-held.json")] = whole.objects[EDITION.key(f"{call}a1-settled.json")]
    assert f"{call}a1-held.json: added" in await told(whole)


async def test_a_manifest_tells_of_a_purchase_that_the_ledger_has_lost(whole: MemoryStore):
    for key in [key for key in whole.objects if "/ledger/" in key]:
        del whole.objects[key]
    assert [said for said in await told(whole) if said.startswith(f"{OLDER}1 ")]


async def test_a_manifest_that_somebody_changed_tells_of_no_loss(whole: MemoryStore):
    manifest = EDITION.key("manifest.json")
    facts = json.loads(whole.objects[manifest])["facts"]
    whole.objects[manifest] = whole.objects[manifest].replace(f'"facts": {facts}'.encode(), b'"facts": 99')
    assert await told(whole) == ["manifest.json: changed"]


async def decide_later(store: MemoryStore) -> None:
    """Somebody rejects the image after the run."""
    (variant,) = json.loads(store.objects[EDITION.key(named(store, "a1-intent"))])["variants"]
    time = datetime(2026, 11, 1, tzinfo=UTC)
    rejected = Decision(variant["key"], Verdict.REJECTED, by="ann", time=time, writer="0" * 16)
    await write_decision(store, EDITION, rejected)


async def test_a_decision_that_came_after_the_checksums_is_no_damage(whole: MemoryStore):
    await decide_later(whole)
    assert await told(whole) == []


async def test_documents_that_were_written_anew_and_not_hashed_yet_contradict_nothing(
    whole: MemoryStore, clock: ManualClock
):
    await decide_later(whole)
    revision = await read_newest(whole, EDITION)
    assert revision is not None
    derived = await derive(whole, EDITION, await a_ledger(whole, clock, "later"), revision)
    for name, document in derived.files.items():
        await whole.replace(EDITION.key(name), document.file())
    await whole.replace(EDITION.key("manifest.json"), json.dumps(derived.manifest).encode())
    assert await told(whole) == [f"{name}: changed" for name in ("assets.csv", "assets.jsonl", "manifest.json")]


async def test_an_object_that_is_no_file_is_unreadable(whole: MemoryStore):
    names = {named(whole, "assets/"), "assets.csv", "manifest.json"}

    def refuse(operation: str, key: str) -> None:
        if operation == "read" and key.removeprefix(EDITION.prefix) in names:
            raise RecordUnreadable(f"{key} is a pipe")

    whole.fault = refuse
    assert {said for said in await told(whole) if said.endswith(": unreadable")} == {f"{n}: unreadable" for n in names}


@pytest.mark.parametrize("name", ["plan-r1.json", "assets.jsonl", "assets.csv", "checksums.txt"])
async def test_a_store_that_is_away_is_no_damage(whole: MemoryStore, name: str):
    def be_away(operation: str, key: str) -> None:
        if operation == "read" and key == EDITION.key(name):
            raise StoreUnavailable("away")

    whole.fault = be_away
    with pytest.raises(StoreUnavailable):
        await told(whole)


async def test_a_run_that_was_alone_reads_once_what_it_hashes(whole: MemoryStore, clock: ManualClock):
    clock.advance(60)
    ledger = await a_ledger(whole, clock, "later")
    await Heartbeat(whole, EDITION, clock, "later", Process("elsewhere", 7, "1"), lambda: 0).beat()
    read: list[str] = []
    whole.fault = lambda operation, key: read.append(key) if operation == "read" else None
    await write_checksums(whole, EDITION, ledger)
    assert read.count(EDITION.key("manifest.json")) == 1
    assert EDITION.key(named(whole, "assets/")) not in read


def test_damages_have_words():
    assert str(Damage.CHANGED) == "changed"
