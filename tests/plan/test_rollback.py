"""A ledger that went backwards: its own edition knows better, so nothing is bought again. The charge log judges."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import count

import pytest
from support.fakes import EDITION, PRICE, ManualClock, MemoryStore, a_row, until
from support.finished import finish
from support.setbacks import (
    FEW,
    MANY,
    delete_a_call,
    delete_the_ledger,
    delete_the_newest_plan,
    delete_the_whole_edition,
    findings,
    forget_a_task_beside_an_old_manifest,
    leave_heartbeats_alone,
    once_sent,
    restore_all_but_the_images,
    restore_ledger_and_plan,
    restore_the_ledger,
    restore_the_whole_edition,
    restore_what_was_written_before_a_kill,
    run_twice,
    stopped_as_older,
)
from support.shop import SandboxRig, campaign_text, hurry

from adloom.core.campaign import Budget
from adloom.core.errors import InputError, PlanRefused
from adloom.core.identity import asset_stems, row_digest, variant_key
from adloom.ledger.edition import Edition, to_json
from adloom.ledger.ledger import Ledger
from adloom.plan.rollback import NOTHING, SCHEMA, Lack, accept_loss, read_past
from adloom.targets import open_store
from adloom.wiring import give_up


@pytest.fixture
async def twice(shop: SandboxRig) -> SandboxRig:
    return await run_twice(shop)


DISASTERS = (
    restore_the_ledger,
    delete_the_ledger,
    restore_ledger_and_plan,
    restore_what_was_written_before_a_kill,
    restore_all_but_the_images,
    delete_a_call,
    leave_heartbeats_alone,
    forget_a_task_beside_an_old_manifest,
    delete_the_newest_plan,
    restore_the_whole_edition,
)


@pytest.mark.parametrize("disaster", DISASTERS)
async def test_a_ledger_that_knows_less_than_its_edition_buys_nothing(
    twice: SandboxRig, disaster: Callable[[SandboxRig], None]
):
    shutil.rmtree(twice.edition() / "ledger" / "sealed", ignore_errors=True)  # else a seal makes up for it
    disaster(twice)
    before = {path: path.read_bytes() for path in twice.edition().glob("*.*")}
    result = await twice.run()
    assert stopped_as_older(result)
    assert "older than its manifest" in result.stops[0].message
    assert len(twice.sandbox.charges()) == 5
    for path, content in before.items():  # what it is held against stays
        assert path.read_bytes() == content
    assert stopped_as_older(await twice.run())
    assert twice.bought() == 10


async def test_an_edition_whose_folder_was_deleted_is_bought_again_only_once_a_person_says_so(twice: SandboxRig):
    delete_the_whole_edition(twice)
    with pytest.raises(PlanRefused, match="all of 2 runs in the archive's index"):
        await twice.run()
    assert any("older than its manifest" in found for found in await findings(twice))
    assert twice.bought() == 10
    await give_up(open_store(twice.settings.archive), Edition("test", "main"), "we want them anew", "mei")
    assert (await twice.run()).exit_code == 0
    assert twice.bought() == 20
    assert await findings(twice) == []


@pytest.mark.parametrize("fact", ["intent", "accepted.*", "completed", "settled", "archived-1"])
async def test_a_ledger_without_a_single_fact_buys_nothing(twice: SandboxRig, fact: str):
    shutil.rmtree(twice.edition() / "ledger" / "sealed", ignore_errors=True)
    next(iter(sorted((twice.edition() / "ledger").glob(f"c-*/a1-{fact}.json")))).unlink()
    assert stopped_as_older(await twice.run())
    await twice.run()
    assert twice.bought() == 10
    assert len(twice.sandbox.charges()) == 5


async def test_a_replica_that_lags_is_waited_for(twice: SandboxRig):
    lagging = twice.folder / "lagging"
    shutil.copytree(twice.edition() / "ledger", lagging)
    restore_the_ledger(twice)
    assert stopped_as_older(await twice.run())
    shutil.copytree(lagging, twice.edition() / "ledger", dirs_exist_ok=True)
    assert (await twice.run()).exit_code == 0
    assert len(twice.sandbox.charges()) == 5


async def test_what_an_older_ledger_does_know_is_still_collected(shop: SandboxRig, monkeypatch: pytest.MonkeyPatch):
    hurry(monkeypatch, 10)
    shop = shop.with_settings(poll_interval_s=0.2)
    shop.sandbox.change(task_seconds=600)
    shop.write(campaign_text(FEW))
    await shop.run(started=once_sent(shop, 2))
    backup = shop.folder / "backup"
    shutil.copytree(shop.edition() / "ledger", backup)
    shop.sandbox.finish()
    shop.sandbox.change(task_seconds=0.03)
    assert (await shop.run()).exit_code == 0
    shutil.rmtree(shop.edition() / "ledger")
    shutil.copytree(backup, shop.edition() / "ledger")  # the tasks are known, what they made is not
    shutil.rmtree(shop.edition() / "assets")
    assert stopped_as_older(await shop.run())
    assert len(list(shop.edition().glob("assets/**/*.jpg"))) == 4
    assert (await shop.run()).exit_code == 0  # by now the ledger knows all again
    assert len(shop.sandbox.charges()) == 2


async def test_a_ledger_that_is_deleted_in_the_first_seconds_of_an_edition_is_missed(shop: SandboxRig):
    """Its run was killed before its second regular heartbeat."""
    shop.write(campaign_text(FEW))
    shop.sandbox.change(task_seconds=600)
    await shop.run_killed(lambda: shop.sandbox.state()["posts_received"] > 0)
    posts = shop.sandbox.state()["posts_received"]
    delete_the_ledger(shop)
    assert stopped_as_older(await shop.run())
    assert shop.sandbox.state()["posts_received"] == posts


async def test_a_plan_that_is_lost_keeps_no_image_from_being_collected_and_can_be_given_up(
    twice: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    hurry(monkeypatch, 10)
    twice.sandbox.change(task_seconds=600)
    twice.write(campaign_text(MANY + "  - {id: new, prompt: a new mug, variants: 2}\n"))
    await twice.run(started=once_sent(twice, 6))
    for plan in twice.edition().glob("plan-r*.json"):
        plan.unlink()
    twice.sandbox.finish()
    for _ in range(2):
        with pytest.raises(PlanRefused, match="3 revisions of the plan"):
            await twice.run()
    assert len(list(twice.edition().glob("assets/**/*.jpg"))) == 12
    await give_up(open_store(twice.settings.archive), Edition("test", "main"), "the plan was deleted", "mei")
    assert (await twice.run()).exit_code == 0
    assert twice.bought() == 12
    assert [path.name for path in twice.edition().glob("plan-r*.json")] == ["plan-r4.json"]
    assert await findings(twice) == []
    (twice.edition() / "plan-r4.json").unlink()  # the next loss is noticed as well
    with pytest.raises(PlanRefused, match="1 revision of the plan"):
        await twice.run()


async def test_runs_that_race_are_no_sign_of_an_older_ledger(shop: SandboxRig):
    shop.write(campaign_text(MANY))
    results = await asyncio.gather(*(shop.run() for _ in range(4)))
    assert {result.exit_code for result in results} == {0}
    assert shop.bought() == 10
    assert facts_told(shop) == len(list((shop.edition() / "ledger").glob("c-*/*.json")))


@pytest.mark.parametrize("moment", range(7))
async def test_a_run_that_plans_and_ends_while_another_one_reads_is_no_sign_of_an_older_ledger(moment: int):
    store, moments = MemoryStore(), count()

    def end(_operation: str, _key: str) -> None:
        if next(moments) == moment:
            store.objects[EDITION.key("plan-r2.json")] = to_json({"revision": 2, "found": {"calls": 0}})
            store.objects[EDITION.key("manifest.json")] = to_json({"plan_revision": 2, "facts": 0})

    store.objects[EDITION.key("plan-r1.json")] = to_json({"revision": 1, "found": {"calls": 0}})
    store.fault = end
    past = await read_past(store, EDITION)
    assert next(moments) in (6, 7)  # the moments are all there are
    assert not past.lacking(Ledger(store, EDITION, ManualClock(), "run-a"))


LESS = {"credits_charged": Decimal("4.59")}


@pytest.mark.parametrize(("facts", "lost"), [({"facts": 0}, {}), ({"facts": 1}, LESS), ({}, LESS)])
async def test_a_charge_that_was_corrected_is_no_loss_where_every_fact_is_still_there(facts, lost):
    store = MemoryStore()
    store.objects[EDITION.key("plan-r1.json")] = to_json({"revision": 1, "found": {"calls": 0}})
    manifest = {"plan_revision": 1, "totals": {"credits_charged": 4.59}, **facts}
    store.objects[EDITION.key("manifest.json")] = to_json(manifest)
    past = await read_past(store, EDITION)
    assert past is not None
    lack = past.lacking(Ledger(store, EDITION, ManualClock(), "run-a"))
    assert dict(lack.totals) == lost


async def _lack(store: MemoryStore) -> Lack:
    """What an empty ledger is missing of the records beside it."""
    ledger = Ledger(store, EDITION, ManualClock(), "run-a")
    past = await read_past(store, EDITION)
    await ledger.load()
    return past.lacking(ledger)


@pytest.mark.parametrize(("given_up", "lacking"), [({}, 1), ({"totals": {"calls": 1}}, 0)])
async def test_a_loss_gives_up_no_more_purchases_than_it_names(store: MemoryStore, given_up, lacking):
    store.objects[EDITION.key("manifest.json")] = to_json({"totals": {"calls": 1}})
    loss = {"schema": SCHEMA, "totals": {}, "facts": 0, "tasks": ["task-1"], "assets": [], "runs": [], **given_up}
    store.objects[EDITION.key("loss-1.json")] = to_json(loss)
    assert (await _lack(store)).totals.get("calls", 0) == lacking


async def test_requests_alone_that_a_manifest_of_an_older_version_has_counted_are_no_loss(store: MemoryStore):
    store.objects[EDITION.key("manifest.json")] = to_json({"totals": {"posts": 2, "images_billed": 1}})
    assert not await _lack(store)


async def test_a_plan_that_is_gone_is_missing_even_if_it_was_the_first(store: MemoryStore):
    store.objects[EDITION.key("manifest.json")] = to_json({"plan_revision": 1})
    assert str(await _lack(store)) == "1 revision of the plan"


LINES = b'{"call":"c-1","attempt":1,"task":"task-1"}\n{"call":"c-2","attempt":1,"task":null}\n'


@pytest.mark.parametrize(
    ("sha256", "tasks"),
    [(hashlib.sha256(LINES).hexdigest(), ("c-2", "task-1")), ("0" * 64, ())],
    ids=["as they were written", "damaged"],
)
async def test_lines_name_tasks_and_calls_without_one_unless_they_are_damaged(store: MemoryStore, sha256, tasks):
    store.objects[EDITION.key("assets.jsonl")] = LINES
    store.objects[EDITION.key("manifest.json")] = to_json({"files": {"assets.jsonl": {"sha256": sha256}}})
    assert (await _lack(store)).tasks == tasks


@pytest.mark.parametrize(
    ("damaged", "lacking"),
    [
        ((), "3 purchases, 2 tasks"),
        (("manifest.json",), "2 tasks"),
        (("assets.jsonl",), "3 purchases"),
        (("manifest.json", "assets.jsonl"), ""),
    ],
)
async def test_a_damaged_document_has_no_say_and_the_others_keep_theirs(store: MemoryStore, damaged, lacking):
    files = {"assets.jsonl": {"sha256": hashlib.sha256(LINES).hexdigest()}}
    store.objects[EDITION.key("assets.jsonl")] = LINES
    store.objects[EDITION.key("manifest.json")] = to_json({"totals": {"calls": 3}, "files": files})
    past = (await read_past(store, EDITION)).without(damaged)
    assert str(past.lacking(Ledger(store, EDITION, ManualClock(), "run-a"))) == lacking


async def test_a_manifest_that_cannot_be_read_is_no_sign_of_an_older_ledger(store: MemoryStore):
    store.objects[EDITION.key("manifest.json")] = b'{"totals": {"calls'
    assert not await _lack(store)


@pytest.mark.parametrize("name", [0, 1, 2], ids=["6 digits", "12 digits", "64 digits"])
async def test_an_image_is_known_by_any_name_that_it_may_have(store: MemoryStore, clock: ManualClock, name: int):
    row = a_row("mug")
    ledger = Ledger(store, EDITION, clock, "run-a")
    await finish(ledger, row)
    stem = asset_stems(row.job, row.label, 1, variant_key(row_digest(row), 1))[name]
    store.objects[EDITION.key(f"{stem}.jpg")] = b"image"
    assert not (await read_past(store, EDITION)).lacking(ledger)


async def test_of_two_people_who_accept_a_loss_at_once_the_later_is_told(store: MemoryStore, clock: ManualClock):
    lack = replace(NOTHING, tasks=("task-1",))
    ledgers = [Ledger(store, EDITION, clock, f"run-{each}") for each in ("a", "b")]
    await accept_loss(ledgers[0], clock, lack, reason="the disk died", by="mei")
    with pytest.raises(InputError, match="somebody else has just accepted a loss"):
        await accept_loss(ledgers[1], clock, lack, reason="the disk died", by="li")
    assert json.loads(store.objects[EDITION.key("loss-1.json")])["by"] == "mei"


def facts_told(shop: SandboxRig) -> int:
    return int(json.loads((shop.edition() / "manifest.json").read_bytes())["facts"])


async def test_verify_says_that_a_ledger_is_older(twice: SandboxRig):
    restore_the_ledger(twice)
    (twice.edition() / "checksums.txt").unlink()
    assert any(
        found.startswith("ledger/: older than its manifest (missing: 3 purchases") for found in await findings(twice)
    )


async def test_a_loss_that_a_person_accepts_is_recorded_and_stays_spent(twice: SandboxRig):
    restore_the_ledger(twice)
    store, edition = open_store(twice.settings.archive), Edition("test", "main")
    assert "3 purchases" in await give_up(store, edition, "the disk died", "mei")
    loss = json.loads((twice.edition() / "loss-1.json").read_bytes())
    assert (loss["reason"], loss["by"], loss["totals"]["calls"]) == ("the disk died", "mei", 3)
    assert await findings(twice) == []
    with pytest.raises(InputError):
        await give_up(store, edition, "again", "mei")
    charged = 10 * PRICE
    totals = json.loads((twice.edition() / "manifest.json").read_bytes())["totals"]
    assert Decimal(str(totals["credits_charged"])) == charged
    # the budget has room for what is lost to be bought again, but for one image
    result = await twice.run(budget=Budget(credits=charged + 5 * PRICE))
    assert (result.exit_code, len(twice.sandbox.charges())) == (4, 5)
    assert (await twice.run(budget=Budget(credits=charged + 6 * PRICE))).exit_code == 0
    assert (twice.bought(), len(twice.sandbox.charges())) == (16, 8)
    assert len({line["key"] for line in twice.lines() if line["status"] == "archived"}) == 10
    assert await findings(twice) == []
    assert (await twice.run(budget=Budget(credits=charged + 6 * PRICE))).exit_code == 0
    restore_the_ledger(twice)  # one that is lost once more is noticed once more
    assert stopped_as_older(await twice.run())
    assert len(twice.sandbox.charges()) == 8


def _write_sixty_calls(shop: SandboxRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that takes a while, whose run looks at its archive all the time."""
    monkeypatch.setattr("adloom.run.monitor.BEAT_EVERY_S", 0.05)
    shop.sandbox.change(task_seconds=0.3)
    rows = "[" + ", ".join(f"colour-{number}" for number in range(60)) + "]"
    shop.write(campaign_text(FEW.replace("[red, blue]", rows), more="limits: {in_flight: 4}\n"))


async def test_a_run_whose_plan_is_moved_away_stops_buying_and_goes_on_once_it_is_back(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    _write_sixty_calls(shop, monkeypatch)
    plan, aside = shop.edition() / "plan-r1.json", shop.edition().parent / "aside.json"

    async def move_it() -> None:
        await until(lambda: len(list(shop.edition().glob("ledger/*/a1-archived-1.json"))) >= 8)
        plan.rename(aside)

    moving: list[asyncio.Task[None]] = []
    result = await shop.run(started=lambda _: moving.append(asyncio.create_task(move_it())))
    await asyncio.gather(*moving)
    assert result.exit_code == 7
    assert any("the plan of this run (revision 1) is gone" in stop.message for stop in result.stops)
    assert shop.bought() < 120
    aside.rename(plan)
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 120


async def test_a_run_whose_ledger_is_deleted_stops_buying_and_hides_nothing(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    _write_sixty_calls(shop, monkeypatch)

    async def delete_it() -> None:
        await until(lambda: len(list(shop.edition().glob("ledger/*/a1-archived-1.json"))) >= 8)
        delete_the_ledger(shop)

    deleting: list[asyncio.Task[None]] = []
    result = await shop.run(started=lambda _: deleting.append(asyncio.create_task(delete_it())))
    await asyncio.gather(*deleting)
    bought = shop.bought()
    assert result.exit_code == 7
    assert any("lost records" in stop.message for stop in result.stops)
    assert 16 <= bought < 120
    assert result.published.manifest["totals"]["archived"] == bought  # it knows what it bought
    assert any("older than its manifest" in found for found in await findings(shop))
    later = await shop.run()
    assert stopped_as_older(later)
    assert not any("another run" in stop.message for stop in later.stops)
    assert shop.bought() == bought


@pytest.mark.parametrize(
    ("missing", "buys"),
    [
        ({}, False),
        ({"totals": {"credits_charged": Decimal(1)}}, False),
        ({"totals": {"calls": Decimal(1)}}, True),
        ({"facts": 1}, False),
        ({"tasks": ("t",)}, True),
        ({"assets": ("a",)}, True),
        ({"revisions": 1}, True),
        ({"runs": ("r",)}, True),
    ],
)
def test_whatever_is_missing_makes_a_ledger_an_older_one_and_says_whether_purchases_are(missing, buys):
    lack = replace(NOTHING, **missing)
    assert (bool(lack), lack.purchases) == (bool(missing), buys)
    assert bool(str(lack)) is bool(missing)
