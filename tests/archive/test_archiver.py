import asyncio
import hashlib
import json
from dataclasses import replace
from random import Random

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    Crash,
    FakeDecoder,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_world,
    an_image,
    an_intent,
    completed,
    picture_bytes,
)

from adloom.archive.archiver import IMAGES_AT_ONCE, Archiver
from adloom.archive.fetch import DOWNLOAD_TRIES
from adloom.core.errors import AccountStopped, DownloadFailed, LinkExpired, ReadFailed, StoreUnavailable
from adloom.core.facts import Stage
from adloom.core.outcomes import Status, outcomes
from adloom.core.records import ImageFate
from adloom.guards import image_memory
from adloom.guards.backlog import Backlog
from adloom.guards.gate import Gate

LINKS = ["https://r.example/0", "https://r.example/1", "https://r.example/2"]
PAGE = b"<html>please log in</html>"
OTHER_PAGE = b"<html>please log in, says number 2</html>"


class Room:
    """One run's archiver, over a store and an API that all runs share."""

    def __init__(self, store, clock, api, ledger):
        self.store, self.clock, self.api, self.ledger = store, clock, api, ledger
        self.gate = Gate()
        self.backlog = Backlog(self.gate, clock, places=IMAGES_AT_ONCE)
        self.archiver = Archiver(a_world(store, clock, api), EDITION, ledger, self.backlog)

    async def completed(self, *links, n=3, call="c-1", label="mug", keys=None, attempt=1):
        """Record a call of ``n`` variants that was completed with these links."""
        intent = {k: v for k, v in an_intent(n, label=label).items() if k not in ("schema", "time", "writer")}
        keys = keys or [f"{number}" * 64 for number in range(1, n + 1)]
        intent["variants"] = [{"key": key, "number": number, "take": 1} for number, key in enumerate(keys, 1)]
        task = f"task-of-{call}" if attempt == 1 else f"task-{attempt}-of-{call}"
        await self.ledger.decide(call, f"a{attempt}-intent", intent)
        await self.ledger.accept(call, attempt, task, str(PRICE * n))
        fields = {
            "task": task,
            "links": list(links),
            "reported": len(links),
            "credits": str(PRICE * len(links)),
        }
        await self.ledger.note(call, f"a{attempt}-completed", {**fields, "told": True})

    async def archive(self, call="c-1"):
        await self.archiver.archive(call)
        return {image.index: image for image in self.ledger.facts(call).latest.images}

    def assets(self, under="assets"):
        start = EDITION.key("")
        return sorted(key.removeprefix(start) for key in self.store.objects if key.startswith(f"{start}{under}/"))


@pytest.fixture
def shared():
    clock = ManualClock()
    return {"store": MemoryStore(), "clock": clock, "api": ScriptedApi(clock)}


@pytest.fixture
async def room(shared):
    return Room(**shared, ledger=await a_ledger(shared["store"], shared["clock"], "run-a"))


def sha256_of(content):
    return hashlib.sha256(content).hexdigest()


async def a_later_room(shared):
    return Room(**shared, ledger=await a_ledger(shared["store"], shared["clock"], "run-b"))


async def test_every_image_is_stored_as_received_under_its_variants_name(room):
    await room.completed(*LINKS)
    images = await room.archive()
    assert room.assets() == [f"assets/hero/mug-{n}-{str(n) * 6}.png" for n in (1, 2, 3)]
    for index, link in enumerate(LINKS):
        content = room.store.objects[EDITION.key(images[index].key)]
        assert content == picture_bytes(link)
        assert images[index].sha256 == hashlib.sha256(content).hexdigest()
        assert (images[index].size_bytes, images[index].number) == (len(content), index + 1)
    assert room.ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_an_asset_is_stored_before_the_ledger_says_so(room):
    await room.completed(*LINKS)
    await room.archive()
    assert room.store.writes[-1].endswith("a1-archived-1.json")


async def test_a_shortfall_fills_the_first_variants(room):
    await room.completed(*LINKS[:2])
    await room.archive()
    assert [o.status for o in outcomes([room.ledger.facts("c-1")]).values()] == ["archived", "archived", "open"]


async def test_a_call_without_images_is_over(room):
    await room.completed()
    await room.archive()
    assert room.ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_images_above_what_was_asked_for_are_kept_apart(room):
    await room.completed(*LINKS, n=1)
    images = await room.archive()
    assert [images[index].fate for index in range(3)] == [ImageFate.ARCHIVED, ImageFate.EXTRA, ImageFate.EXTRA]
    assert [images[index].number for index in range(3)] == [1, 0, 0]  # extras are no variant's
    assert room.assets("extras") == ["extras/c-1-1.png", "extras/c-1-2.png"]
    assert len(room.assets()) == 1


class Thumbnails(FakeDecoder):
    """Makes a thumbnail of every image but the second."""

    async def decode(self, content):
        picture = await super().decode(content)
        return picture and replace(picture, thumbnail=b"" if content == picture_bytes(LINKS[1]) else b"small")


async def test_assets_have_thumbnails_and_images_above_what_was_asked_for_have_none(shared):
    store, clock, api = shared.values()
    room = Room(store, clock, api, await a_ledger(store, clock))
    room.archiver = Archiver(a_world(store, clock, api, decoder=Thumbnails()), EDITION, room.ledger, room.backlog)
    await room.completed(*LINKS, n=2)
    await room.archive()
    assert (len(room.assets()), len(room.assets("extras"))) == (2, 1)
    assert room.assets("thumbs") == ["thumbs/hero/mug-1-111111.jpg"]


async def test_an_image_too_many_is_kept_even_where_another_one_has_its_name(room):
    """A run over yesterday's ledger has stored the images of a call that shows them in another order."""
    room.store.objects[EDITION.key("extras/c-1-1.png")] = picture_bytes(LINKS[2])
    await room.completed(*LINKS[:2], n=1)
    images = await room.archive()
    assert images[1].fate is ImageFate.EXTRA
    assert images[1].key == f"extras/c-1-1-{images[1].sha256[:6]}.png"
    assert room.store.objects[EDITION.key(images[1].key)] == picture_bytes(LINKS[1])


async def test_equal_bytes_under_two_links_fill_both_variants(room):
    room.api.contents = {link: [b"image the same"] * 9 for link in LINKS}
    room.api.state_of = lambda task: completed(task, *LINKS)
    await room.completed(*LINKS)
    images = await room.archive()
    assert len({image.sha256 for image in images.values()}) == 1
    assert len(room.assets()) == 3


async def test_a_download_that_fails_is_tried_eight_times(room):
    room.api.contents[LINKS[0]] = [DownloadFailed("reset")] * (DOWNLOAD_TRIES - 1)
    await room.completed(LINKS[0], n=1)
    assert (await room.archive())[0].fate is ImageFate.ARCHIVED
    assert len(room.api.downloads) == DOWNLOAD_TRIES == 8
    assert room.clock.elapsed > 0


class LongestWaits(Random):
    def random(self):
        return 0.999


async def test_the_tries_of_one_download_go_on_for_two_minutes_at_most(shared):
    store, clock, api = shared.values()
    room = Room(store, clock, api, await a_ledger(store, clock))
    room.archiver = Archiver(a_world(store, clock, api, random=LongestWaits()), EDITION, room.ledger, room.backlog)
    api.contents[LINKS[0]] = [DownloadFailed("reset")] * DOWNLOAD_TRIES
    await room.completed(LINKS[0], n=1)
    assert await room.archive() == {}
    assert 115 < clock.elapsed < 125


async def test_what_cannot_be_fetched_this_time_is_left_for_a_later_run(room, shared):
    room.api.contents[LINKS[1]] = [DownloadFailed("reset")] * DOWNLOAD_TRIES
    await room.completed(*LINKS)
    assert set(await room.archive()) == {0, 2}
    assert room.backlog.left == 1
    assert room.ledger.facts("c-1").stage is Stage.COMPLETED
    later = await a_later_room(shared)
    assert set(await later.archive()) == {0, 1, 2}
    assert room.api.downloads.count(LINKS[0]) == 1
    assert later.backlog.left == 0
    assert later.ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_an_asset_that_a_dead_run_left_behind_gets_its_thumbnail(shared):
    store, clock, api = shared.values()
    dead = Room(store, clock, api, await a_ledger(store, clock))
    await dead.completed(LINKS[0], n=1)
    store.objects[EDITION.key("assets/hero/mug-1-111111.png")] = picture_bytes(LINKS[0])  # and its record is lost
    clock.advance(24 * 3600)
    later = await a_later_room(shared)
    later.archiver = Archiver(a_world(store, clock, api, decoder=Thumbnails()), EDITION, later.ledger, later.backlog)
    assert (await later.archive())[0].fate is ImageFate.ARCHIVED
    assert later.assets("thumbs") == ["thumbs/hero/mug-1-111111.jpg"]
    assert api.downloads == []


async def test_nothing_is_noted_when_no_image_could_be_fetched(room):
    room.api.contents = {link: [DownloadFailed("reset")] * DOWNLOAD_TRIES for link in LINKS}
    await room.completed(*LINKS)
    facts = room.ledger.fact_count()
    assert await room.archive() == {}
    assert room.ledger.facts("c-1").stage is Stage.COMPLETED
    assert room.ledger.fact_count() == facts


async def test_bytes_that_are_no_image_are_fetched_again(room):
    room.api.contents[LINKS[0]] = [PAGE] * (DOWNLOAD_TRIES - 1)
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(LINKS[0], n=1)
    assert (await room.archive())[0].fate is ImageFate.ARCHIVED


async def test_bytes_that_are_no_image_are_kept_once_and_end_nothing_while_the_link_lives(room, shared):
    room.api.contents[LINKS[0]] = [PAGE, *[OTHER_PAGE] * (2 * DOWNLOAD_TRIES - 1)]
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(LINKS[0], n=1)
    for run in (room, await a_later_room(shared)):
        assert await run.archive() == {}
        assert run.backlog.left == 1
        assert {o.status for o in outcomes([run.ledger.facts("c-1")]).values()} == {Status.OPEN}
    (evidence,) = room.assets("quarantine")
    assert room.store.objects[EDITION.key(evidence)] == PAGE
    last = await a_later_room(shared)
    assert (await last.archive())[0].fate is ImageFate.ARCHIVED
    assert room.assets("quarantine") == [evidence]


async def test_bytes_that_are_no_image_are_kept_of_each_attempts_task(room):
    room.api.contents |= {LINKS[0]: [PAGE] * DOWNLOAD_TRIES, LINKS[1]: [OTHER_PAGE] * DOWNLOAD_TRIES}
    room.api.state_of = lambda task: completed(task, LINKS[1 if task.startswith("task-2") else 0])
    await room.completed(LINKS[0], n=1)
    await room.archive()
    await room.completed(LINKS[1], n=1, attempt=2)
    await room.archive()
    kept = {room.store.objects[EDITION.key(evidence)] for evidence in room.assets("quarantine")}
    assert kept == {PAGE, OTHER_PAGE}


async def test_an_image_that_is_damaged_in_run_after_run_keeps_no_later_run_from_buying(room, shared):
    room.api.contents = {link: [PAGE] * 99 for link in LINKS}
    room.api.state_of = lambda task: completed(task, *LINKS)
    await room.completed(*LINKS)
    told = []
    for run in (room, await a_later_room(shared)):
        run.backlog.leave_for_later = lambda images, known: told.append((images, known))
        await run.archive()
    assert told == [(3, 0), (3, 3)]


async def test_images_whose_links_bring_nothing_at_all_count_as_ones_that_nobody_knew_of(room):
    """So many of them stop buying, however often they were tried before."""
    room.api.contents = {link: [LinkExpired("403")] * 99 for link in LINKS}
    room.api.state_of = lambda task: completed(task, *LINKS)
    await room.completed(*LINKS)
    told = []
    room.backlog.leave_for_later = lambda images, known: told.append((images, known))
    await room.archive()
    assert told == [(3, 0)]


async def test_bytes_that_never_became_an_image_end_it_with_the_evidence_named_when_the_link_has_had_its_time(
    room, caplog
):
    room.api.contents[LINKS[0]] = [PAGE] * 99
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(LINKS[0], n=1)
    room.clock.advance(24 * 3600)
    image = (await room.archive())[0]
    assert image.fate is ImageFate.QUARANTINED
    assert room.store.objects[EDITION.key(image.key)] == PAGE
    assert image.key in image.reason
    assert image.sha256 == hashlib.sha256(PAGE).hexdigest()
    assert {o.status for o in outcomes([room.ledger.facts("c-1")]).values()} == {Status.FAILED}
    assert f"image 1 of call c-1: {image.reason}" in caplog.messages


async def test_bytes_that_were_paid_for_are_kept_even_when_the_link_then_dies(room):
    room.api.contents[LINKS[0]] = [PAGE, *[LinkExpired("410")] * 99]
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(LINKS[0], n=1)
    room.clock.advance(24 * 3600)
    assert (await room.archive())[0].fate is ImageFate.QUARANTINED


async def test_an_image_that_nobody_could_judge_stays_open_and_its_bytes_are_kept(room, shared):
    room.api.contents[LINKS[0]] = [b"hard to judge"] * 99
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(*LINKS)
    assert set(await room.archive()) == {1, 2}
    assert room.api.downloads.count(LINKS[0]) == 1
    assert room.ledger.facts("c-1").stage is Stage.COMPLETED
    (evidence,) = room.assets("quarantine")
    assert room.store.objects[EDITION.key(evidence)] == b"hard to judge"
    assert {o.status for o in outcomes([room.ledger.facts("c-1")]).values()} == {Status.OPEN, Status.ARCHIVED}
    room.clock.advance(24 * 3600)
    image = (await (await a_later_room(shared)).archive())[0]
    assert (image.fate, image.key) == (ImageFate.QUARANTINED, evidence)


async def test_evidence_that_goes_away_while_it_is_looked_for_leaves_the_image_lost(room, shared):
    room.api.contents[LINKS[0]] = [PAGE] * 99
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(LINKS[0], n=1)
    await room.archive()
    room.clock.advance(24 * 3600)

    def vanish(operation, key):
        if operation == "read" and "/quarantine/" in key:
            room.store.objects.pop(key, None)

    room.store.fault = vanish
    image = (await (await a_later_room(shared)).archive())[0]
    assert (image.fate, image.key) == (ImageFate.LOST, "")


@pytest.mark.parametrize("content", [LinkExpired("403"), PAGE], ids=["refused", "page"])
@pytest.mark.parametrize("hours", [0, 23.9])
async def test_an_image_whose_link_has_not_had_its_24_hours_is_never_given_up(room, content, hours):
    room.api.contents = {link: [content] * 99 for link in LINKS}
    room.api.state_of = lambda task: completed(task, *LINKS)
    await room.completed(*LINKS)
    room.clock.advance(hours * 3600)
    assert await room.archive() == {}
    assert room.backlog.left == 3
    assert room.ledger.facts("c-1").stage is Stage.COMPLETED
    room.api.contents.clear()
    assert len(await room.archive()) == 3


@pytest.mark.parametrize("content", [LinkExpired("403"), PAGE], ids=["refused", "page"])
async def test_the_last_answer_of_a_link_is_heard_twice(room, content):
    room.api.contents[LINKS[0]] = [content]
    room.api.state_of = lambda task: completed(task, LINKS[0])
    await room.completed(LINKS[0], n=1)
    room.clock.advance(24 * 3600)
    before = room.clock.elapsed
    assert (await room.archive())[0].fate is ImageFate.ARCHIVED
    assert room.clock.elapsed - before >= 5


async def test_links_that_die_at_once_and_are_renewed_at_once_are_waited_for(room):
    room.api.download = refused = Refusing()
    readings = []

    def state_of(task):
        readings.append(room.clock.elapsed)
        return completed(task, *(f"{link}?sig={len(readings)}" for link in LINKS))

    room.api.state_of = state_of
    await room.completed(*LINKS)
    assert await room.archive() == {}
    assert refused.count == 3 * DOWNLOAD_TRIES
    assert len(readings) <= 3 * (DOWNLOAD_TRIES - 1)
    assert len(set(readings)) == len(readings)
    assert readings[0] > 0
    assert room.clock.elapsed > 10


class Refusing:
    """Every link is dead."""

    def __init__(self):
        self.count = 0

    async def __call__(self, _url):
        self.count += 1
        raise LinkExpired("403")


async def test_a_link_that_is_good_asks_nothing_and_waits_for_nothing(room):
    await room.completed(*LINKS)
    await room.archive()
    assert room.api.reads == []
    assert len(room.api.downloads) == 3
    assert room.clock.elapsed == 0


async def test_a_refused_link_is_replaced_by_a_fresh_one_of_the_same_image_wherever_it_stands(room):
    fresh = [f"{link}?again" for link in LINKS]
    room.api.contents = {link: [LinkExpired("403")] * 9 for link in LINKS}
    room.api.state_of = lambda task: completed(task, *reversed(fresh))
    await room.completed(*LINKS)
    images = await room.archive()
    assert [image.fate for image in images.values()] == [ImageFate.ARCHIVED] * 3
    for index, link in enumerate(fresh):
        assert room.store.objects[EDITION.key(images[index].key)] == picture_bytes(link)


async def test_an_image_that_only_a_fresh_reading_shows_is_kept_too(room, shared):
    room.api.contents[LINKS[0]] = [LinkExpired("403")] * 2
    room.api.state_of = lambda task: completed(task, *reversed(LINKS))
    await room.completed(*LINKS[:2], n=2)
    images = await room.archive()
    assert [image.fate for image in images.values()] == ["archived", "archived", "extra"]
    assert room.assets("extras") == ["extras/c-1-2.png"]
    later = await a_later_room(shared)
    assert later.ledger.facts("c-1").latest.links == tuple(LINKS)
    assert later.ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_an_api_that_moves_its_images_at_every_reading_fills_no_archive(room):
    readings = []

    def state_of(task):
        readings.append(task)
        return completed(task, *(f"https://r.example/{len(readings)}/{n}" for n in range(3)))

    room.api.state_of = state_of
    room.api.contents = {link: [LinkExpired("403")] * 99 for link in LINKS}
    await room.completed(*LINKS)
    for _ in range(3):
        await room.archive()
    assert len(room.assets("extras")) == 3


async def test_a_link_too_many_to_a_picture_that_is_there_is_no_paid_image_that_is_left(room):
    """An API that changes the path of a link at each reading shows the first picture under another one."""
    moved = "https://r.example/moved"
    room.api.contents = {link: [b"image x"] * 9 for link in (LINKS[0], moved)}
    room.api.state_of = lambda task: completed(task, moved, LINKS[1])
    await room.completed(*LINKS[:2], n=2)
    fields = {"task": "task-of-c-1", "links": [moved, LINKS[1]], "reported": 2, "credits": str(PRICE * 2), "told": True}
    await room.ledger.note("c-1", "a1-completed-2", fields)
    images = await room.archive()
    assert [image.fate for image in images.values()] == ["archived", "archived"]
    assert room.backlog.left == 0


@pytest.mark.parametrize("pictures", ["aaaaa", "abaca", "abacd", "aabbb", "abcba"])
@pytest.mark.parametrize("is_later", [False, True])
async def test_equal_images_of_one_reading_are_all_kept_each_fetched_once(room, shared, pictures, is_later):
    """An API may make the same picture twice; each was paid for."""
    links = [f"https://r.example/{number}.jpg" for number in range(5)]
    room.api.contents = {link: [b"image " + name.encode()] * 9 for link, name in zip(links, pictures, strict=True)}
    room.api.state_of = lambda task: completed(task, *links)
    await room.completed(*links, n=5)
    if is_later:
        sha256 = hashlib.sha256(b"image " + pictures[0].encode()).hexdigest()
        await room.ledger.note("c-1", "a1-archived-1", {"images": [an_image(0, sha256=sha256)]})
    images = await (await a_later_room(shared) if is_later else room).archive()
    assert {image.fate for image in images.values()} == {ImageFate.ARCHIVED}
    found = sorted(images[index].sha256 for index in range(5))
    assert found == sorted(hashlib.sha256(b"image " + name.encode()).hexdigest() for name in pictures)
    if not is_later:
        assert sorted(room.api.downloads) == links


async def test_a_link_that_brings_another_variants_picture_gives_way_to_the_one_picture_that_is_left(room):
    """Two of three pictures are equal. The third link is refused, and its renewal brings the first picture, slowly."""
    renewed, at_last = f"{LINKS[2]}?sig=2", f"{LINKS[2]}?sig=3"
    room.api.contents = {LINKS[0]: [b"image x"] * 9, LINKS[1]: [b"image y"] * 9, LINKS[2]: [LinkExpired("403")] * 9}
    room.api.contents |= {renewed: [b"image x"] * 9, at_last: [b"image y"] * 9}
    shown = iter([renewed])
    room.api.state_of = lambda task: completed(task, *LINKS[:2], next(shown, at_last))
    download = room.api.download

    async def slow(url):
        await room.clock.sleep(2)
        return await download(url)

    room.api.download = slow
    await room.completed(*LINKS)
    images = await room.archive()
    stored = sorted(room.store.objects[EDITION.key(image.key)] for image in images.values())
    assert stored == [b"image x", b"image y", b"image y"]


async def test_damaged_bytes_in_place_of_a_picture_that_another_variant_has_are_kept(room):
    """The second variant took the first picture when its own link was refused; that link brings nothing whole."""
    room.api.contents = {ALIKE[0]: [of_alike(ALIKE[0])] * 9, ALIKE[1]: [PAGE] * 9}
    room.api.state_of = lambda task: completed(task, *ALIKE[:2])
    await room.completed(*ALIKE[:2], n=2)
    sha256 = hashlib.sha256(of_alike(ALIKE[0])).hexdigest()
    await room.ledger.note("c-1", "a1-archived-1", {"images": [an_image(1, sha256=sha256)]})
    assert set(await room.archive()) == {1}
    (evidence,) = room.assets("quarantine")
    assert room.store.objects[EDITION.key(evidence)] == PAGE


ALIKE = [f"https://r.example/get?sig={n}" for n in range(3)]


def alike(generation, *order):
    return [f"https://r.example/get?sig={generation}-{n}" for n in order]


def of_alike(url):
    return b"image " + url[-1:].encode()


async def test_two_ledgers_that_became_one_and_had_the_links_in_another_order_cost_no_picture(room, shared):
    """A run went on with a restored ledger; then a backup brought the other one's records back over its own."""
    shared["api"].state_of = lambda task: completed(task, *LINKS)
    first, second, third = LINKS

    async def archive(room, *, without=()):
        room.api.contents = {link: [DownloadFailed("reset")] * DOWNLOAD_TRIES for link in without}
        return await room.archive()

    await room.completed(*LINKS)
    await archive(room, without=(second, third))
    backup = {key: content for key, content in room.store.objects.items() if "/ledger/" in key}
    for key in backup:
        del room.store.objects[key]
    restored = await a_later_room(shared)
    await restored.completed(second, first, third)
    await archive(restored, without=(first, third))
    await archive(restored)
    room.store.objects |= backup
    merged = await a_later_room(shared)
    assert merged.ledger.facts("c-1").stage is Stage.COMPLETED
    images = await archive(merged)
    assert [image.sha256 for image in images.values()] == [sha256_of(picture_bytes(link)) for link in LINKS]
    assert (await a_later_room(shared)).ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_links_that_differ_in_their_signature_alone_are_told_apart_by_their_bytes(room):
    """The second image is refused; the reading that renews it stands the other way round."""
    room.api.contents = {link: [of_alike(link)] * 9 for link in [*ALIKE, *alike(2, 0, 1, 2)]}
    room.api.contents[ALIKE[1]] = [LinkExpired("403")] * 9
    room.api.state_of = lambda task: completed(task, *alike(2, 2, 0, 1))
    await room.completed(*ALIKE)
    images = await room.archive()
    assert {room.store.objects[EDITION.key(image.key)] for image in images.values()} == set(map(of_alike, ALIKE))


@pytest.mark.parametrize(("hours", "ends", "left"), [(0, False, 1), (24, True, 0)])
async def test_an_image_in_whose_place_only_another_ones_comes_is_lost_when_its_link_has_had_its_time_and_not_before(
    room, caplog, hours, ends, left
):
    room.api.contents = {ALIKE[0]: [of_alike(ALIKE[0])] * 99, ALIKE[1]: [LinkExpired("403")] * 99}
    room.api.state_of = lambda task: completed(task, ALIKE[0])
    await room.completed(*ALIKE[:2], n=2)
    room.clock.advance(hours * 3600)
    images = await room.archive()
    assert [image.fate for image in images.values()] == [ImageFate.ARCHIVED] + [ImageFate.LOST] * ends
    assert ("image 2 of call c-1 is lost" in caplog.text) == ends
    assert room.backlog.left == left


async def test_a_look_alike_that_is_refused_is_fetched_by_the_link_that_nobody_has_tried(room):
    renewed = f"{ALIKE[1]}&expires=2"
    room.api.contents = {ALIKE[0]: [of_alike(ALIKE[0])] * 9, ALIKE[1]: [LinkExpired("403")] * 9}
    room.api.state_of = lambda task: completed(task, ALIKE[0], renewed)
    await room.completed(*ALIKE[:2], n=2)
    assert len(await room.archive()) == 2
    assert sorted(room.api.downloads) == [*ALIKE[:2], renewed]


async def test_a_look_alike_that_is_refused_is_not_asked_for_by_every_other_one(room):
    count = 12
    links = [f"https://r.example/get?sig={n}" for n in range(count)]
    room.api.contents = {link: [link.replace("https", "image").encode()] * 99 for link in links}
    room.api.contents[links[1]] = [LinkExpired("403")] * 99
    room.api.state_of = lambda task: completed(task, *links[2:], *links[:2])
    await room.completed(*links, n=count)
    assert len(await room.archive()) == count - 1
    assert room.api.downloads.count(links[1]) <= 2 * DOWNLOAD_TRIES
    assert len(room.api.downloads) <= 4 * count


async def test_a_link_that_is_taken_for_a_renewal_of_another_images_costs_no_picture(room, shared):
    """Two readings show one link each, of the same path. Only the picture that comes twice tells that there are two."""
    first, second = (f"https://r.example/get?image={n}" for n in range(2))
    room.api.contents = {first: [LinkExpired("410")]}
    room.api.state_of = lambda task: completed(task, second)
    await room.completed(first, n=2)
    assert len(await room.archive()) == 1
    room.api.state_of = lambda task: completed(task, second, first)
    later = await a_later_room(shared)
    fields = {"task": "task-of-c-1", "links": [second, first], "reported": 2, "credits": str(PRICE * 2), "told": True}
    await later.ledger.note("c-1", "a1-completed-2", fields)
    images = await later.archive()
    stored = {room.store.objects[EDITION.key(image.key)] for image in images.values()}
    assert stored == {picture_bytes(first), picture_bytes(second)}


async def test_look_alikes_that_another_run_has_stored_are_not_stored_twice(room, shared):
    room.api.contents = {link: [of_alike(link)] * 9 for link in [*ALIKE, *alike(2, 0, 1, 2)]}
    room.api.contents[ALIKE[1]] = [LinkExpired("403")] * DOWNLOAD_TRIES
    room.api.state_of = lambda task: completed(task, *alike(2, 2, 0))
    await room.completed(*ALIKE)
    assert len(await room.archive()) == 2
    room.api.state_of = lambda task: completed(task, *alike(2, 2, 0, 1))
    room.api.contents[ALIKE[1]] = [LinkExpired("403")] * DOWNLOAD_TRIES
    images = await (await a_later_room(shared)).archive()
    assert {room.store.objects[EDITION.key(image.key)] for image in images.values()} == set(map(of_alike, ALIKE))


async def test_look_alikes_that_are_really_equal_fill_a_variant_each(room):
    room.api.contents = {link: [b"image the same"] * 9 for link in ALIKE}
    room.api.state_of = lambda task: completed(task, *ALIKE)
    await room.completed(*ALIKE)
    assert [image.fate for image in (await room.archive()).values()] == [ImageFate.ARCHIVED] * 3


@pytest.mark.parametrize("answer", [LINKS, [LINKS[0], LINKS[2]], []], ids=["the same links", "fewer links", "no links"])
async def test_a_link_that_stays_dead_is_lost_with_its_reason_when_it_has_had_its_time(room, answer, caplog):
    room.api.contents[LINKS[1]] = [LinkExpired("410: gone")] * 99
    room.api.state_of = lambda task: completed(task, *answer)
    await room.completed(*LINKS)
    room.clock.advance(24 * 3600)
    images = await room.archive()
    assert [images[index].fate for index in range(3)] == ["archived", "lost", "archived"]
    assert "lost" in images[1].reason
    assert "image 2 of call c-1 is lost" in caplog.text
    assert room.ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_an_old_link_is_given_up_only_after_the_one_that_its_task_shows_now(room):
    fresh = f"{LINKS[0]}?sig=2"
    room.api.contents = {LINKS[0]: [LinkExpired("410")] * 99}
    room.api.state_of = lambda task: completed(task, fresh)
    await room.completed(LINKS[0], n=1)
    room.clock.advance(24 * 3600)
    assert (await room.archive())[0].fate is ImageFate.ARCHIVED
    assert room.api.downloads == [LINKS[0], fresh]


async def test_links_that_are_signed_anew_for_ever_are_given_up_all_the_same(room):
    room.api.download = Refusing()
    count = iter(range(99))
    room.api.state_of = lambda task: completed(task, f"{LINKS[0]}?sig={next(count)}")
    await room.completed(LINKS[0], n=1)
    room.clock.advance(24 * 3600)
    assert (await room.archive())[0].fate is ImageFate.LOST


async def test_a_dead_link_of_a_task_nobody_knows_is_lost(room):
    room.api.contents[LINKS[0]] = [LinkExpired("410")] * 99
    room.api.state_of = lambda _: None
    await room.completed(LINKS[0], n=1)
    room.clock.advance(24 * 3600)
    assert (await room.archive())[0].fate is ImageFate.LOST


@pytest.mark.parametrize("error", [ReadFailed("503"), AccountStopped("401")])
@pytest.mark.parametrize("hours", [0, 30])
async def test_a_link_is_not_given_up_while_the_task_cannot_be_read(room, error, hours):
    room.api.contents[LINKS[0]] = [LinkExpired("403")] * 99
    room.api.read_faults = [error] * 20
    await room.completed(*LINKS)
    room.clock.advance(hours * 3600)
    assert set(await room.archive()) == {1, 2}
    assert room.backlog.left == 1


@pytest.mark.parametrize("fate", ["lost", "quarantined"])
async def test_what_a_former_version_gave_up_too_early_is_looked_for_again(room, shared, fate):
    await room.completed(*LINKS[:1], n=1)
    given_up = {"index": 0, "number": 1, "fate": fate, "reason": f"{fate}: 403"}
    await room.ledger.note("c-1", "a1-archived-1", {"images": [given_up]})
    later = await a_later_room(shared)
    assert {o.status for o in outcomes([later.ledger.facts("c-1")]).values()} == {Status.OPEN}
    assert (await later.archive())[0].fate is ImageFate.ARCHIVED


async def test_what_is_given_up_once_more_is_believed(room, shared):
    room.api.contents[LINKS[0]] = [LinkExpired("403")] * 99
    room.api.state_of = lambda _: None
    await room.completed(*LINKS[:1], n=1)
    await room.ledger.note("c-1", "a1-archived-1", {"images": [{"index": 0, "number": 1, "fate": "lost"}]})
    room.clock.advance(24 * 3600)
    assert (await room.archive())[0].fate is ImageFate.LOST
    later = await a_later_room(shared)
    assert later.ledger.facts("c-1").stage is Stage.ARCHIVED
    asked = len(room.api.downloads)
    await later.archive()
    assert len(room.api.downloads) == asked


async def test_an_image_whose_every_name_is_taken_by_other_bytes_is_not_called_archived(room, shared):
    await room.completed(LINKS[0], n=1)
    digest = hashlib.sha256(picture_bytes(LINKS[0])).hexdigest()[:6]
    for name in (*("1" * length for length in range(1, 65)), f"{'1' * 64}-{digest}"):
        room.store.objects[EDITION.key(f"assets/hero/mug-1-{name}.png")] = b"image of something else"
    assert await room.archive() == {}
    assert room.backlog.left == 1
    assert room.ledger.facts("c-1").stage is Stage.COMPLETED


async def test_what_another_run_has_recorded_meanwhile_is_not_recorded_again(room, shared):
    await room.completed(*LINKS)
    other = await a_later_room(shared)
    await room.archive()
    facts = len(room.store.names("ledger/c-1/"))
    await other.archive()
    assert len(room.store.names("ledger/c-1/")) == facts


async def test_an_asset_of_a_run_that_died_is_taken_over(room, shared):
    await room.completed(*LINKS)

    def die(operation, key):
        if operation == "create" and "archived" in key:
            raise Crash

    room.store.fault = die
    with pytest.raises(Crash):
        await room.archive()
    room.store.fault = lambda *_: None
    before = dict(room.store.objects)
    later = await a_later_room(shared)
    later.clock.advance(24 * 3600)
    images = await later.archive()
    assert len(room.api.downloads) == 3
    assert [images[index].sha256 for index in range(3)] == [
        hashlib.sha256(picture_bytes(link)).hexdigest() for link in LINKS
    ]
    assert {key: room.store.objects[key] for key in before} == before
    assert later.ledger.facts("c-1").stage is Stage.ARCHIVED


async def test_an_image_is_stored_even_where_all_names_of_its_variant_have_other_bytes(room):
    """Three runs that died had each taken another image of the task for it."""
    for number, digits in enumerate((6, 12, 64)):
        room.store.objects[EDITION.key(f"assets/hero/mug-1-{'1' * digits}.png")] = picture_bytes(f"other-{number}")
    await room.completed(LINKS[0], n=1)
    image = (await room.archive())[0]
    assert image.fate is ImageFate.ARCHIVED
    assert image.key == f"assets/hero/mug-1-{'1' * 64}-{image.sha256[:6]}.png"
    assert room.store.objects[EDITION.key(image.key)] == picture_bytes(LINKS[0])


async def test_an_asset_of_a_run_that_died_is_not_taken_for_another_tasks_image(room, shared):
    """A former task of the call was completed after all, and the run that stored its image died."""
    others = "https://r.example/of-another-task"
    room.store.objects[EDITION.key("assets/hero/mug-1-111111.png")] = picture_bytes(others)
    await room.completed(LINKS[0], n=1)
    later = await a_later_room(shared)
    image = (await later.archive())[0]
    assert image.fate is ImageFate.ARCHIVED
    assert room.store.objects[EDITION.key(image.key)] == picture_bytes(LINKS[0])
    assert room.store.objects[EDITION.key("assets/hero/mug-1-111111.png")] == picture_bytes(others)


@pytest.mark.parametrize("stored", range(4))
async def test_wherever_an_archiver_dies_the_next_one_ends_with_every_image_once(room, shared, stored):
    await room.completed(*LINKS)
    left = [stored]

    def die(operation, key):
        if operation == "create" and "/assets/" in key:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
        if operation == "create" and "archived" in key:
            raise Crash

    room.store.fault = die
    with pytest.raises(Crash):
        await room.archive()
    room.store.fault = lambda *_: None
    later = await a_later_room(shared)
    images = await later.archive()
    assert [images[index].fate for index in range(3)] == [ImageFate.ARCHIVED] * 3
    assert len(room.assets()) == 3


async def test_a_damaged_asset_of_a_run_that_died_is_not_taken_over(room, shared):
    await room.completed(LINKS[0], n=1)
    room.store.objects[EDITION.key("assets/hero/mug-1-111111.png")] = PAGE
    later = await a_later_room(shared)
    image = (await later.archive())[0]
    assert room.store.objects[EDITION.key("assets/hero/mug-1-111111.png")] == PAGE
    assert image.fate is ImageFate.ARCHIVED
    assert room.store.objects[EDITION.key(image.key)] == picture_bytes(LINKS[0])


@pytest.mark.parametrize("inherited", [False, True])
async def test_two_variants_whose_names_collide_keep_an_asset_each(room, shared, inherited):
    await room.completed(LINKS[0], n=1, call="c-1", keys=["ab12cd" + "0" * 58])
    await room.completed(LINKS[1], n=1, call="c-2", keys=["ab12cd" + "f" * 58])
    first = (await room.archive("c-1"))[0]
    second = (await (await a_later_room(shared) if inherited else room).archive("c-2"))[0]
    assert first.key == "assets/hero/mug-1-ab12cd.png"
    assert second.key != first.key
    assert room.store.objects[EDITION.key(first.key)] == picture_bytes(LINKS[0])
    assert room.store.objects[EDITION.key(second.key)] == picture_bytes(LINKS[1])
    assert (first.sha256, second.sha256) == tuple(hashlib.sha256(picture_bytes(link)).hexdigest() for link in LINKS[:2])


async def test_another_calls_asset_of_the_same_name_is_not_taken_for_an_image_whose_link_has_died(room, shared):
    await room.completed(LINKS[0], n=1, call="c-1", keys=["ab12cd" + "0" * 58])
    await room.completed(LINKS[1], n=1, call="c-2", keys=["ab12cd" + "f" * 58])
    await room.archive("c-1")
    room.api.contents[LINKS[1]] = [LinkExpired("410")] * 99
    room.api.state_of = lambda task: completed(task, LINKS[1])
    room.clock.advance(24 * 3600)
    later = await a_later_room(shared)
    assert (await later.archive("c-2"))[0].fate is ImageFate.LOST


ASSET = "assets/hero/mug-1-111111.png"


@pytest.mark.parametrize(("lost", "fate"), [(ASSET, ImageFate.LOST), ("assets/hero/cup-1-2.png", ImageFate.ARCHIVED)])
async def test_an_asset_of_a_purchase_that_was_declared_lost_is_not_taken_for_an_image_whose_link_has_died(
    room, shared, lost, fate
):
    room.store.objects[EDITION.key(ASSET)] = picture_bytes("a purchase before")
    room.store.objects[EDITION.key("loss-1.json")] = json.dumps({"assets": [lost]}).encode()
    await room.completed(LINKS[0], n=1)
    room.api.contents[LINKS[0]] = [LinkExpired("410")] * 99
    room.api.state_of = lambda _: None
    room.clock.advance(24 * 3600)
    later = await a_later_room(shared)
    assert (await later.archive())[0].fate is fate


async def test_a_picture_that_dead_runs_left_behind_for_two_variants_fills_one_of_them(room, shared):
    """They had read the links in another order each. The links are dead by now, so nothing else will come."""
    for name in (ASSET, "assets/hero/mug-2-222222.png"):
        room.store.objects[EDITION.key(name)] = picture_bytes(LINKS[0])
    await room.completed(*LINKS[:2], n=2)
    room.api.contents = {link: [LinkExpired("410")] * 99 for link in LINKS[:2]}
    room.api.state_of = lambda _: None
    room.clock.advance(24 * 3600)
    images = await (await a_later_room(shared)).archive()
    assert sorted(image.fate for image in images.values()) == [ImageFate.ARCHIVED, ImageFate.LOST]


async def test_an_outage_of_the_store_is_no_loss(room, shared):
    await room.completed(*LINKS)

    def outage(operation, key):
        if operation == "create" and "mug-2" in key:
            raise StoreUnavailable("away")

    room.store.fault = outage
    with pytest.raises(StoreUnavailable):
        await room.archive()
    room.store.fault = lambda *_: None
    await asyncio.sleep(0)
    assert len(await (await a_later_room(shared)).archive()) == 3


async def test_archiving_again_downloads_nothing(room):
    await room.completed(*LINKS)
    await room.archive()
    facts = room.ledger.fact_count()
    await room.archive()
    assert len(room.api.downloads) == 3
    assert room.ledger.fact_count() == facts


async def test_only_so_many_images_are_under_way_at_once(room):
    at_once = most = 0
    download = room.api.download

    async def counted(url):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await room.clock.sleep(1)
        at_once -= 1
        return await download(url)

    room.api.download = counted
    for number in range(5):
        await room.completed(
            *(f"https://r.example/{number}/{n}" for n in range(15)), n=15, call=f"c-{number}", label=f"r{number}"
        )
    await asyncio.gather(*(room.archive(f"c-{number}") for number in range(5)))
    assert most == IMAGES_AT_ONCE
    assert len(room.assets()) == 75


@pytest.fixture
def room_for_one(room, monkeypatch):
    """One run whose memory has room for one image at once."""
    monkeypatch.setattr(image_memory, "HELD_BYTES", 1)
    monkeypatch.setattr(image_memory, "LEAST_IMAGES", 1)
    monkeypatch.setattr(image_memory, "FIRST_IMAGES", 1)
    return room


async def test_no_image_is_downloaded_before_those_that_fill_the_memory_are_stored(room_for_one):
    put, stored = room_for_one.store.create, []

    async def create(key, content, **rest):
        await room_for_one.clock.sleep(1)
        if "/assets/" in key:
            stored.append(len(room_for_one.api.downloads))
        return await put(key, content, **rest)

    room_for_one.store.create = create
    await room_for_one.completed(*LINKS)
    await room_for_one.archive()
    assert stored == [1, 2, 3]


async def test_an_image_whose_next_try_is_waited_for_keeps_no_other_from_the_memory(room_for_one):
    room_for_one.api.contents = {link: [DownloadFailed("503")] for link in LINKS[:2]}
    await room_for_one.completed(*LINKS)
    assert len(await room_for_one.archive()) == 3
    assert room_for_one.api.downloads[:3] == LINKS


async def test_look_alikes_and_other_images_of_a_task_do_not_wait_for_each_other_for_ever(room_for_one):
    room_for_one.api.contents = {link: [DownloadFailed("503"), of_alike(link)] for link in ALIKE}
    await room_for_one.completed(ALIKE[0], LINKS[0], ALIKE[1], LINKS[1], n=4)
    async with asyncio.timeout(10):
        assert len(await room_for_one.archive()) == 4


async def test_no_link_leaves_the_ledger(room):
    await room.completed(*(f"{link}?sig=canary" for link in LINKS))
    room.api.contents[f"{LINKS[1]}?sig=canary"] = [LinkExpired("410")] * 9
    room.clock.advance(24 * 3600)
    room.api.state_of = lambda _: None
    await room.archive()
    for key, content in room.store.objects.items():
        assert b"sig=canary" not in content or key.endswith("a1-completed.json") or "/assets/" in key


async def test_what_two_runs_archived_of_one_call_at_once_is_all_on_record(room, shared):
    await room.completed(*LINKS)
    other = await a_later_room(shared)
    room.api.contents = {link: [DownloadFailed("reset")] * DOWNLOAD_TRIES for link in LINKS[1:]}
    assert set(await room.archive()) == {0}
    assert set(await other.archive()) == {0, 1, 2}
    assert other.backlog.left == 0
    read = (await a_later_room(shared)).ledger.facts("c-1")
    assert [image.fate for image in read.latest.images] == [ImageFate.ARCHIVED] * 3


async def test_an_image_that_one_run_lost_and_another_had_is_archived(room, shared):
    await room.completed(LINKS[0], n=1)
    other = await a_later_room(shared)
    room.api.contents[LINKS[0]] = [LinkExpired("410")] * 9
    room.api.state_of = lambda _: None
    room.clock.advance(24 * 3600)
    assert (await room.archive())[0].fate is ImageFate.LOST
    room.api.contents.clear()
    assert (await other.archive())[0].fate is ImageFate.ARCHIVED
    assert outcomes([(await a_later_room(shared)).ledger.facts("c-1")])["1" * 64].status is Status.ARCHIVED
