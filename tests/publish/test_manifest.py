import hashlib
import json

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    FakeSource,
    ManualClock,
    MemoryStore,
    a_ledger,
    a_row,
    an_image,
    bought,
)

from adloom.core.exits import Stop, StopReason
from adloom.core.outcomes import Status
from adloom.plan.freeze import freeze
from adloom.plan.revision import planned_rows
from adloom.plan.survey import survey
from adloom.plan.take_up import Wanted
from adloom.publish.manifest import LEDGER_READINGS, publish

ROWS = (a_row(variants=3, variables={"sku": "007", "f": "=1+1"}), a_row("jug", variants=2))
FILES = ("assets.jsonl", "assets.csv", "manifest.json")


class CliRig:
    """A frozen plan of five variants, and what was bought of it."""

    def __init__(self, store, clock, ledger, revision):
        self.store, self.clock, self.ledger, self.revision = store, clock, ledger, revision

    async def buy(self, position, *, images=None):
        """Record a row's call: bought, and completed with so many images if a number is given."""
        planned = [planned async for planned in planned_rows(self.store, EDITION, self.revision)][position]
        call = planned.calls[0]
        variants = call.variants
        intent = bought(variants)
        await self.ledger.decide(call.id, "a1-intent", intent)
        if images is not None:
            await self.ledger.accept(call.id, 1, "t", str(PRICE * len(variants)))
            links = [f"https://r.example/{n}?sig=canary" for n in range(images)]
            fields = {"task": "t", "links": links, "reported": images, "credits": str(PRICE * images), "told": True}
            await self.ledger.note(call.id, "a1-completed", fields)
            await self.ledger.note(call.id, "a1-archived-1", {"images": [an_image(n) for n in range(images)]})
        return call

    async def publish(self, *stops):
        return await publish(self.store, EDITION, self.ledger, self.revision, stops)

    def content(self, name):
        return self.store.objects[EDITION.key(name)]

    def lines(self):
        return [json.loads(line) for line in self.content("assets.jsonl").splitlines()]


@pytest.fixture
async def desk():
    store, clock = MemoryStore(), ManualClock()
    ledger = await a_ledger(store, clock)
    source = FakeSource(ROWS)
    revision = await freeze(Wanted(source, EDITION, {}, survey(source, {}), PRICE * 100), store, ledger, clock)
    return CliRig(store, clock, ledger, revision)


async def test_the_manifest_names_its_files_with_size_hash_and_lines(desk):
    await desk.buy(0, images=3)
    published = await desk.publish()
    manifest = json.loads(desk.content("manifest.json"))
    assert manifest == published.manifest
    for name in ("assets.jsonl", "assets.csv"):
        content = desk.content(name)
        assert manifest["files"][name] == {
            "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "lines": 5,
        }  # fmt: skip
    assert (manifest["plan_revision"], manifest["plan_sha256"]) == (1, desk.revision.sha256)
    assert published.address.endswith("manifest.json")


async def test_the_manifest_is_written_last(desk):
    await desk.publish()
    assert desk.store.writes[-1] == EDITION.key("manifest.json")


async def test_every_wanted_variant_has_one_line_in_plan_order(desk):
    await desk.buy(1, images=2)
    await desk.publish()
    assert [(line["row"], line["variant"], line["status"]) for line in desk.lines()] == [
        ("mug", 1, "open"), ("mug", 2, "open"), ("mug", 3, "open"), ("jug", 1, "archived"), ("jug", 2, "archived"),
    ]  # fmt: skip


async def test_the_six_ends_add_up_to_what_was_wanted(desk):
    await desk.buy(0, images=2)
    totals = (await desk.publish()).manifest["totals"]
    assert sum(totals[status.value] for status in Status) == totals["wanted"] == 5
    assert totals["archived"] == 2
    assert (totals["calls"], totals["posts"], totals["images_billed"]) == (1, 1, 2)


async def test_what_people_asked_for_counts_how_it_ended(desk):
    await desk.buy(0, images=3)
    await desk.buy(1, images=2)
    published = await desk.publish()
    assert published.manifest["status"] == "complete"
    assert published.asked[Status.ARCHIVED] == 5


async def test_a_stop_shows_in_the_manifest(desk):
    assert (await desk.publish(Stop(StopReason.OUTAGE, "away"))).manifest["status"] == "stopped"


async def test_writing_it_again_changes_no_byte(desk):
    await desk.buy(0, images=3)
    await desk.publish()
    before = {name: desk.content(name) for name in FILES}
    desk.clock.advance(1000)
    desk.ledger = await a_ledger(desk.store, desk.clock, "run-b")
    await desk.publish()
    assert {name: desk.content(name) for name in FILES} == before


async def test_a_ledger_that_others_wrote_to_meanwhile_is_read_again(desk):
    other = CliRig(desk.store, desk.clock, await a_ledger(desk.store, desk.clock, "run-b"), desk.revision)
    await other.buy(0, images=3)
    published = await desk.publish()
    assert published.manifest["totals"]["archived"] == 3
    assert len([line for line in desk.lines() if line["status"] == "archived"]) == 3


async def test_a_ledger_that_never_stops_growing_does_not_keep_the_manifest_from_being_written(desk):
    other, written = await a_ledger(desk.store, desk.clock, "run-b"), []

    def grow(operation, key):
        if operation == "replace" and key.endswith("manifest.json"):
            written.append(key)
            name = f"ledger/c-{len(written)}/a1-intent.json"
            record = {**other._record({"outcome": "withdrawn", "reason": "r"})}
            desk.store.objects[EDITION.key(name)] = json.dumps(record).encode()

    desk.store.fault = grow
    await desk.publish()
    assert len(written) == LEDGER_READINGS


async def test_no_link_and_no_formula_leaves_the_ledger(desk):
    await desk.buy(0, images=3)
    await desk.publish()
    for name in FILES:
        assert b"sig=canary" not in desk.content(name)
    assert b",=" not in desk.content("assets.csv")


async def test_a_spreadsheet_knows_its_encoding(desk):
    await desk.publish()
    assert desk.content("assets.csv").startswith(b"\xef\xbb\xbfjob,row,")
