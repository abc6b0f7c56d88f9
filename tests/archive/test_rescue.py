"""Paid images that no variant waits for: fetched like any other, and lost only when their links have had their time."""

import asyncio
import hashlib
import json

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_world,
    an_intent,
    completed,
    picture_bytes,
)

from adloom.archive.rescue import Rescuer
from adloom.collect.poller import Poller
from adloom.core.errors import LinkExpired
from adloom.core.facts import money_of
from adloom.core.records import ImageFate
from adloom.core.task import ListedTask, Task, TaskState
from adloom.guards.gate import Gate

PAGE = b"<html>please log in</html>"
LINKS = ("https://r.example/second/0", "https://r.example/second/1")


class Harbour:
    """One run that finds a task beside the one that counts, and a task that nothing claims."""

    def __init__(self, store, clock, api, ledger):
        self.store, self.clock, self.api, self.ledger = store, clock, api, ledger
        world = a_world(store, clock, api)
        self.poller = Poller(api=api, gate=Gate(), clock=clock, random=world.random, interval_s=world.poll_interval_s)
        self.rescuer = Rescuer(world, EDITION, ledger, self.poller)

    async def rescue(self):
        polling = asyncio.create_task(self.poller.run())
        try:
            await self.rescuer.second_tasks()
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        return {image.index: image for image in self.images()}

    def images(self):
        seconds = self.ledger.facts("c-1").latest.seconds
        return [image for second in seconds.values() for image in second.images]

    def kept(self, under):
        return {key.rpartition("/")[2]: content for key, content in self.store.objects.items() if f"{under}/" in key}

    async def rescue_orphans(self):
        await self.rescuer.orphans()
        return self.kept("orphans")


@pytest.fixture
async def harbour():
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)
    ledger = await a_ledger(store, clock)
    intent = {k: v for k, v in an_intent(2).items() if k not in ("schema", "time", "writer")}
    await ledger.decide("c-1", "a1-intent", intent)
    await ledger.accept("c-1", 1, "task-1", str(PRICE * 2))
    await ledger.accept("c-1", 1, "task-2", str(PRICE * 2))
    fields = {"task": "task-1", "links": [], "reported": 0, "credits": "0", "told": True}
    await ledger.note("c-1", "a1-completed", fields)
    api.state_of = lambda task: completed(task, *LINKS)
    made = int(clock.now())

    async def listed(created_after):
        return [ListedTask("stray", TaskState.COMPLETED, "m", made)] if made >= created_after else []

    api.list_tasks = listed
    return Harbour(store, clock, api, ledger)


async def test_the_images_of_a_second_task_are_kept_as_extras(harbour):
    images = await harbour.rescue()
    assert [image.fate for image in images.values()] == [ImageFate.EXTRA] * 2
    assert [harbour.store.objects[EDITION.key(images[n].key)] for n in (0, 1)] == [picture_bytes(k) for k in LINKS]
    assert money_of(harbour.ledger.facts("c-1")).charged == PRICE * 2


@pytest.mark.parametrize(("told", "charged"), [(None, PRICE * 2), (PRICE, PRICE)])
async def test_a_second_task_costs_what_it_tells_or_else_what_the_plan_said(harbour, told, charged):
    harbour.api.state_of = lambda task: completed(task, *LINKS, credits_used=told)
    await harbour.rescue()
    assert money_of(harbour.ledger.facts("c-1")).charged == charged


@pytest.mark.parametrize("content", [LinkExpired("403"), PAGE], ids=["refused", "page"])
async def test_a_young_link_of_a_second_task_is_tried_again_and_then_left_for_a_later_run(harbour, content):
    harbour.api.contents[LINKS[1]] = [content] * 10
    assert await harbour.rescue() == {}
    assert harbour.clock.elapsed > 10
    images = await harbour.rescue()
    assert [image.fate for image in images.values()] == [ImageFate.EXTRA] * 2
    pictures = {name for name in harbour.kept("extras") if name.endswith(".png")}
    assert pictures == {"c-1-task-2-0.png", "c-1-task-2-1.png"}  # the one that was stored before is not stored again


async def test_an_image_of_a_second_task_whose_every_name_is_taken_by_other_bytes_is_not_said_to_be_kept(harbour):
    sha256 = hashlib.sha256(picture_bytes(LINKS[1])).hexdigest()
    for name in ("1", f"1-{sha256[:16]}"):
        harbour.store.objects[EDITION.key(f"extras/c-1-task-2-{name}.png")] = b"image of something else"
    assert await harbour.rescue() == {}
    assert harbour.ledger.facts("c-1").latest.seconds == {}


@pytest.mark.parametrize(
    ("content", "fate"),
    [(LinkExpired("410"), ImageFate.LOST), (PAGE, ImageFate.QUARANTINED)],
    ids=["refused", "page"],
)
async def test_an_image_of_a_second_task_that_never_comes_is_told_and_paid_for(harbour, content, fate):
    harbour.api.contents[LINKS[1]] = [content] * 99
    harbour.clock.advance(26 * 3600)
    images = await harbour.rescue()
    assert [image.fate for image in images.values()] == [ImageFate.EXTRA, fate]
    assert [image.number for image in images.values()] == [0, 0]  # no variant's
    assert money_of(harbour.ledger.facts("c-1")).charged == PRICE * 2
    if fate is ImageFate.QUARANTINED:
        assert harbour.store.objects[EDITION.key(images[1].key)] == PAGE
    else:
        assert "lost" in images[1].reason


def failed(task):
    return Task(task, TaskState.FAILED, word="failed")


EARLY = {
    "failed": failed,
    "empty": lambda task: completed(task, credits_used=PRICE * 2),
    "partial": lambda task: completed(task, LINKS[0], credits_used=PRICE * 2),
    "partial without a bill": lambda task: Task(task, TaskState.COMPLETED, (LINKS[0],), None, word="completed"),
}


@pytest.mark.parametrize("early", EARLY)
async def test_the_end_of_a_second_task_is_not_believed_at_its_first_reading(harbour, early):
    began = harbour.clock.monotonic()

    def shown(task):
        return EARLY[early](task) if harbour.clock.monotonic() - began < 4 else completed(task, *LINKS)

    harbour.api.state_of = shown
    images = await harbour.rescue() or await harbour.rescue()
    assert [image.fate for image in images.values()] == [ImageFate.EXTRA] * 2
    assert money_of(harbour.ledger.facts("c-1")).charged == PRICE * 2


async def test_a_second_task_that_is_billed_for_more_than_it_shows_is_read_again_by_a_later_run(harbour):
    harbour.api.state_of = lambda task: completed(task, LINKS[0], credits_used=PRICE * 2)
    assert await harbour.rescue() == {}
    assert harbour.ledger.facts("c-1").latest.seconds == {}
    harbour.api.state_of = lambda task: completed(task, *LINKS)
    assert len(await harbour.rescue()) == 2


@pytest.mark.parametrize("known_first", [False, True])
async def test_a_second_task_that_the_api_does_not_know_is_left_for_a_later_run(harbour, known_first):
    first = [failed("task-2")] if known_first else []
    harbour.api.state_of = lambda _: first.pop() if first else None
    assert await harbour.rescue() == {}
    assert harbour.ledger.facts("c-1").latest.seconds == {}
    harbour.api.state_of = lambda task: completed(task, *LINKS)
    assert len(await harbour.rescue()) == 2


async def test_a_task_that_was_completed_after_another_was_bought_is_kept_too_and_charged_once(harbour):
    await harbour.ledger.decide("c-1", "a2-intent", an_intent(2))
    await harbour.ledger.accept("c-1", 2, "task-3", str(PRICE * 2))
    fields = {"task": "task-3", "links": [], "reported": 0, "credits": "0", "told": True}
    await harbour.ledger.note("c-1", "a2-completed", fields)
    await harbour.rescue()
    facts = harbour.ledger.facts("c-1")
    assert {task: len(second.images) for task, second in facts.attempt(1).seconds.items()} == {"task-1": 2, "task-2": 2}
    assert facts.attempt(2).seconds == {}
    assert money_of(facts).charged == PRICE * 2  # the second's; the charge of the first is told with its links


async def test_a_second_task_that_has_failed_at_two_readings_cost_nothing_and_is_not_read_again(harbour):
    harbour.api.state_of = failed
    assert await harbour.rescue() == {}
    assert len(harbour.ledger.facts("c-1").latest.seconds) == 1
    assert money_of(harbour.ledger.facts("c-1")).charged == 0
    reads = len(harbour.api.reads)
    await harbour.rescue()
    assert len(harbour.api.reads) == reads == 2


async def test_the_second_reading_of_a_second_task_is_about_it_alone(harbour):
    """In a request for several tasks a line can be a summary."""
    harbour.api.state_of = failed
    others = asyncio.gather(*(harbour.poller.look_again("other", number / 4) for number in range(100)))
    await harbour.rescue()
    others.cancel()
    readings = [tasks for _, tasks in harbour.api.reads if "task-2" in tasks]
    assert (len(readings), readings[-1]) == (2, ("task-2",))


async def test_images_that_a_later_reading_shows_in_another_order_are_all_kept(harbour):
    harbour.api.contents[LINKS[1]] = [LinkExpired("403")] * 10
    await harbour.rescue()
    harbour.api.state_of = lambda task: completed(task, *reversed(LINKS))
    images = await harbour.rescue()
    assert {harbour.store.objects[EDITION.key(image.key)] for image in images.values()} == set(
        map(picture_bytes, LINKS)
    )


async def test_links_of_a_second_task_that_differ_in_their_signature_alone_bring_every_picture(harbour):
    first, second, renewed = (f"https://r.example/get?sig={name}" for name in ("a", "b", "c"))
    pictures = {first: b"image one", second: b"image two", renewed: b"image one"}
    harbour.api.contents = {link: [content] * 9 for link, content in pictures.items()}
    harbour.api.contents[second] = [LinkExpired("403"), b"image two"]
    readings = [completed("task-2", first, second)] * 2
    harbour.api.state_of = lambda _: readings.pop() if readings else completed("task-2", renewed, second)
    await harbour.rescue()
    assert {harbour.store.objects[EDITION.key(image.key)] for image in harbour.images()} == {b"image one", b"image two"}


async def test_an_orphan_is_copied(harbour):
    kept = await harbour.rescue_orphans()
    assert set(kept) == {"image-0.png", "image-1.png", "task.json"}


@pytest.mark.parametrize("content", [LinkExpired("403"), PAGE], ids=["refused", "page"])
async def test_an_orphan_whose_young_link_is_refused_is_looked_for_again(harbour, content):
    harbour.api.contents[LINKS[1]] = [content] * 10
    assert "task.json" not in await harbour.rescue_orphans()
    assert {"image-0.png", "image-1.png", "task.json"} <= set(await harbour.rescue_orphans())


async def test_an_orphan_whose_link_is_dead_for_good_is_told_once(harbour):
    harbour.api.contents[LINKS[1]] = [LinkExpired("410")] * 99
    harbour.clock.advance(27 * 3600)
    record = json.loads((await harbour.rescue_orphans())["task.json"])
    assert [image["fate"] for image in record["images"]] == ["extra", "lost"]
    asked = len(harbour.api.downloads)
    await harbour.rescue_orphans()
    assert len(harbour.api.downloads) == asked
