"""Reference files on their way to the API: hosted once, found again, and never bought for when they cannot be."""

import asyncio
import hashlib
import io
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from PIL import Image
from support.fakes import EDITION, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, references, until
from support.shop import SandboxRig, campaign_text

from adloom.core.errors import AccountStopped, FileRefused, InputError, ReadFailed, RequestRefused, StoreUnavailable
from adloom.core.exits import Stop, StopReason
from adloom.core.order import Order
from adloom.core.planned import Variant
from adloom.core.reference import Reference
from adloom.edges.evolink.client import EvoLink
from adloom.guards.gate import Gate, GateClosed
from adloom.ledger.capabilities import record_capability
from adloom.ports import HostedFile
from adloom.publish.checksums import verify
from adloom.spend.purchase import Sender
from adloom.spend.references import REFUSALS, TRIES, Hosting
from adloom.targets import new_ledger, open_store, open_target
from adloom.wiring import assessment_of, execute
from adloom.world import ReferenceFiles

HOUR = 3600.0
JOBS = "  - {id: mug, prompt: 'mug {{ n }}', references: [bottle.png], matrix: {n: [a, b, c]}}\n"


def picture(colour: str = "orange") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (80, 100), colour).save(out, "PNG")
    return out.getvalue()


def uploads(shop: SandboxRig) -> int:
    """Requests to the file service, the quota's among them."""
    return shop.sandbox.state()["requests"].get("upload", 0)


def posts(shop: SandboxRig) -> int:
    return shop.sandbox.state()["posts_received"]


def records(shop: SandboxRig) -> list[Path]:
    return sorted((shop.edition() / "ledger" / "uploads").glob("*.json"))


def sent_urls(shop: SandboxRig) -> list[list[str]]:
    bodies = [json.loads(path.read_text())["body"] for path in shop.edition().glob("ledger/c-*/a*-intent.json")]
    return [json.loads(body)["image_urls"] for body in bodies]


@pytest.fixture
def filed(shop: SandboxRig) -> SandboxRig:
    """A shop whose campaign has three calls that need one file."""
    (shop.folder / "bottle.png").write_bytes(picture())
    shop.sandbox.change(reference_check="submit")
    shop.write(campaign_text(JOBS))
    return shop


# A campaign's whole way


async def test_a_file_is_uploaded_once_for_all_calls_and_every_image_is_archived(filed: SandboxRig):
    result = await filed.run()
    assert result.exit_code == 0
    assert filed.bought() == 3
    assert uploads(filed) == 2
    (record,) = (json.loads(path.read_text()) for path in records(filed))
    name = f"adloom-{hashlib.sha256(picture()).hexdigest()[:32]}.png"
    assert record["url"].startswith(filed.sandbox.base_url)
    assert record["url"].endswith(name)
    assert sent_urls(filed) == [[record["url"]]] * 3
    assert {tuple(line["references"]) for line in filed.lines()} == {("bottle.png",)}


async def test_an_unchanged_second_run_uploads_nothing_and_buys_nothing(filed: SandboxRig):
    await filed.run()
    before = (uploads(filed), posts(filed), filed.lines())
    assert (await filed.run()).exit_code == 0
    assert (uploads(filed), posts(filed), filed.lines()) == before


async def test_more_variants_use_the_upload_that_is_there(filed: SandboxRig):
    await filed.run()
    filed.write(campaign_text(JOBS.replace("references", "variants: 2, references")))
    assert (await filed.run()).exit_code == 0
    assert filed.bought() == 6
    assert uploads(filed) == 2
    assert len(records(filed)) == 1


async def test_an_old_upload_is_made_again(filed: SandboxRig):
    await filed.run()
    filed.sandbox.advance(73 * HOUR)
    (record,) = records(filed)
    text = json.loads(record.read_text())
    record.write_text(json.dumps({**text, "time": "2020-01-01T00:00:00Z", "expires_at": "2020-01-04T00:00:00Z"}))
    filed.write(campaign_text(JOBS.replace("references", "variants: 2, references")))
    assert (await filed.run()).exit_code == 0
    assert filed.bought() == 6
    assert len(records(filed)) == 2


async def test_an_edited_file_is_another_picture_and_makes_new_images(filed: SandboxRig):
    await filed.run()
    (filed.folder / "bottle.png").write_bytes(picture("navy"))
    result = await filed.run(replace=True)
    assert result.exit_code == 0
    assert filed.bought() == 6
    assert len({tuple(urls) for urls in sent_urls(filed)}) == 2


async def test_a_file_and_an_address_go_out_in_the_order_of_the_campaign(filed: SandboxRig):
    urls = "['https://example.com/1.png', bottle.png, 'https://example.com/2.png']"
    filed.write(campaign_text(f"  - {{id: mug, prompt: a mug, references: {urls}}}\n"))
    assert (await filed.run()).exit_code == 0
    ((first, file, last),) = sent_urls(filed)
    assert (first, last) == ("https://example.com/1.png", "https://example.com/2.png")
    assert file.startswith(filed.sandbox.base_url)


async def test_where_a_file_is_hosted_buys_nothing_again(filed: SandboxRig):
    await filed.run()
    calls = {path.parent.name for path in filed.edition().glob("ledger/c-*/a1-intent.json")}
    other = SandboxRig(filed.sandbox, filed.folder, filed.settings).with_settings(
        files_url=filed.sandbox.base_url.replace("127.0.0.1", "localhost"), archive=str(filed.folder / "other")
    )
    other.campaign = filed.campaign
    await other.run()
    assert {path.parent.name for path in other.edition().glob("ledger/c-*/a1-intent.json")} == calls


async def test_a_full_file_service_stops_the_run_before_anything_is_bought(filed: SandboxRig):
    filed.sandbox.change(max_files=0)
    result = await filed.run()
    assert result.exit_code == 5
    assert posts(filed) == 0
    assert uploads(filed) == 1
    assert result.published.manifest["totals"]["open"] == 3
    assert "room for 0 more files" in result.stops[0].message
    filed.sandbox.change(max_files=10)
    assert (await filed.run()).exit_code == 0


@pytest.mark.parametrize(("fault", "code"), [({"status": 503}, 7), ({"status": 401}, 5), ({"status": 402}, 5)])
async def test_a_service_that_fails_for_good_leaves_all_calls_open(filed: SandboxRig, fault: dict[str, int], code: int):
    filed.sandbox.script(route="upload", fault="status", match="base64", times=-1, **fault)
    result = await filed.run()
    assert result.exit_code == code
    assert posts(filed) == 0
    assert result.published.manifest["totals"]["open"] == 3
    assert uploads(filed) == 1 + (TRIES if code == 7 else 1)
    filed.sandbox.faults.clear()
    assert (await filed.run()).exit_code == 0
    assert filed.bought() == 3


async def test_a_file_that_the_service_does_not_take_ends_the_rows_with_it_and_no_others(filed: SandboxRig):
    (filed.folder / "large.png").write_bytes(picture() + bytes(2000))
    large = "  - {id: large, prompt: 'jug {{ n }}', references: [large.png], matrix: {n: [a, b]}}\n"
    filed.write(campaign_text(large + JOBS + "  - {id: plain, prompt: a plate}\n"))
    filed.sandbox.change(largest_file_bytes=2000)
    result = await filed.run()
    assert (result.exit_code, result.stops) == (3, ())
    totals = result.published.manifest["totals"]
    assert (totals["archived"], totals["refused"], totals["posts"], totals["credits_at_risk"]) == (4, 2, 4, 0)
    for line in filed.lines()[:2]:
        assert line["status"] == "refused"
        assert line["reason"].startswith("large.png is not hosted: EvoLink's file service refuses it: the file is too")
        assert line["reason"].endswith("Give another picture, or host it elsewhere and give its address.")
    assert uploads(filed) == 1 + REFUSALS + 1
    store, edition = open_target(str(filed.edition()), filed.settings)
    assert (await verify(store, edition, new_ledger(store, edition))).findings == ()
    before = (uploads(filed), posts(filed), filed.lines())
    assert (await filed.run()).exit_code == 3
    assert (uploads(filed), posts(filed), filed.lines()) == before
    (filed.folder / "large.png").write_bytes(picture("navy"))
    assert (await filed.run(replace=True)).exit_code == 0
    assert filed.bought() == 6


@pytest.mark.parametrize("found_at", ["submit", "task"])
async def test_a_reference_that_is_not_fetched_in_time_is_tried_once_more_and_then_refused(
    filed: SandboxRig, found_at: str
):
    mug = "  - {id: mug, prompt: a mug, references: [bottle.png]}\n"
    filed.write(campaign_text(mug))
    filed.sandbox.change(reference_check=found_at, slow_references=1)
    assert (await filed.run()).exit_code == 0
    assert (filed.bought(), posts(filed)) == (1, 2)
    filed.sandbox.change(slow_references=9)
    filed.write(campaign_text(mug + "  - {id: cup, prompt: a cup, references: [bottle.png]}\n"))
    assert (await filed.run()).exit_code == 3
    assert posts(filed) == 4
    (line,) = [line for line in filed.lines() if line["job"] == "cup"]
    assert line["status"] == {"submit": "refused", "task": "failed"}[found_at]
    assert "Timeout while downloading url" in line["reason"]
    assert (await filed.run()).exit_code == 3
    assert posts(filed) == 4


async def test_a_run_that_dies_before_it_has_recorded_a_refusal_leaves_a_purchase_that_nobody_sends(
    filed: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    """Not even where the API remembers keys: its bytes have no address of the file."""
    filed.write(campaign_text("  - {id: mug, prompt: a mug, references: [bottle.png]}\n"))
    filed.sandbox.change(largest_file_bytes=10, idempotency="honoured")
    with monkeypatch.context() as patch:
        patch.setattr(Sender, "take_back", AsyncMock(side_effect=RuntimeError))
        assert (await filed.run()).exit_code == 1
    (intent,) = (json.loads(path.read_text()) for path in filed.edition().glob("ledger/c-*/a1-intent.json"))
    assert intent["account"] == ""
    store = open_store(filed.settings.archive)
    async with EvoLink(filed.settings) as api:
        await record_capability(store, api.account, replays_keys=True, now=time.time())
    assert (await filed.run()).exit_code == 6
    assert posts(filed) == 0


async def test_a_service_that_recovers_costs_a_little_time_only(filed: SandboxRig):
    for fault in ("drop", "broken_json", "partial"):
        filed.sandbox.script(route="upload", fault=fault, match="base64")
    filed.sandbox.script(route="upload", fault="status", status=500, match="quota")
    assert (await filed.run()).exit_code == 0
    assert filed.bought() == 3
    assert len(records(filed)) == 1


@pytest.mark.parametrize("edit", [lambda path: path.write_bytes(picture("navy")), Path.unlink])
async def test_a_file_that_changes_between_plan_and_run_is_an_error_before_anything_is_sent(filed: SandboxRig, edit):
    store = open_store(filed.settings.archive)
    assessment = await assessment_of(filed.request(), filed.settings, store, to_run=True)
    edit(filed.folder / "bottle.png")
    with pytest.raises(InputError, match=r"bottle\.png"):
        await execute(filed.settings, store, assessment)
    assert (uploads(filed), posts(filed)) == (0, 0)


async def test_a_file_that_changes_under_a_run_stops_its_buying(filed: SandboxRig):
    result = await filed.run(started=lambda _: (filed.folder / "bottle.png").write_bytes(picture("navy")))
    assert result.exit_code == 2
    assert [stop.reason for stop in result.stops] == [StopReason.INPUT_CHANGED]
    assert (uploads(filed), posts(filed)) == (0, 0)


async def test_planning_uploads_nothing(filed: SandboxRig):
    store = open_store(filed.settings.archive)
    assessment = await assessment_of(filed.request(), filed.settings, store, to_run=False)
    assert [file.shown for file in assessment.surveyed.files] == ["bottle.png"]
    assert uploads(filed) == 0


async def test_a_run_over_its_budget_uploads_nothing(filed: SandboxRig):
    filed.write(campaign_text(JOBS, budget="{usd: 0.01}"))
    assert (await filed.run()).exit_code == 4
    assert uploads(filed) == 0


async def test_no_hosted_address_is_shown_outside_the_ledger(filed: SandboxRig, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "adloom")
    await filed.run()
    for path in filed.edition().rglob("*"):
        if path.is_file() and "ledger" not in path.parts:
            assert b"/hosted/" not in path.read_bytes(), path
        if path.is_file():
            assert b"sk-test-canary" not in path.read_bytes(), path
    assert "/hosted/" not in caplog.text


async def test_a_ledger_with_uploads_is_read_sealed_and_verified_as_any_other(filed: SandboxRig):
    await filed.run()
    store, edition = open_target(str(filed.edition()), filed.settings)
    ledger = new_ledger(store, edition)
    verdict = await verify(store, edition, ledger)
    assert verdict.findings == ()
    assert len(ledger.calls()) == 3
    assert not await ledger.grew()


async def test_uploads_are_no_rivals_of_a_purchase_whose_answer_was_lost(filed: SandboxRig):
    alone = filed.with_settings(dedicated_key=True)
    alone.campaign = filed.campaign
    alone.sandbox.script(route="submit", fault="drop", after=True)
    assert (await alone.run()).exit_code == 0
    assert alone.bought() == 3


async def test_an_attempt_that_waited_until_its_files_had_moved_is_not_sent_again(filed: SandboxRig):
    filed.write(campaign_text("  - {id: mug, prompt: a mug, references: [bottle.png]}\n"))
    filed.sandbox.script(route="submit", fault="status", status=429, retry_after="300", times=1)
    runs = []
    running = asyncio.create_task(filed.run(started=runs.append))
    await until(lambda: bool(list(filed.edition().glob("ledger/c-*/a1-refused-1.json"))))
    runs[0].interrupt()
    await running
    (folder,) = filed.edition().glob("ledger/c-*")
    (folder / "a1-send-2.json").unlink(missing_ok=True)  # as if it had died while it waited
    (filed.edition() / "manifest.json").unlink()
    shutil.rmtree(filed.edition() / "runs")
    shutil.rmtree(filed.folder / "archive" / "index")
    moved = filed.with_settings(files_url=filed.sandbox.base_url.replace("127.0.0.1", "localhost"))
    moved.campaign = filed.campaign
    filed.sandbox.base_url = moved.settings.files_url
    assert (await moved.run()).exit_code == 0
    assert json.loads((folder / "a1-send-2.json").read_text())["outcome"] == "withdrawn"
    assert json.loads(json.loads((folder / "a2-intent.json").read_text())["body"])["image_urls"][0].startswith(
        moved.settings.files_url
    )
    assert filed.bought() == 1


# The step by itself


@dataclass
class FakeHost:
    """Hosts files under addresses that count the uploads; ``answers`` come first."""

    account: str = "me"
    left: int | None = 10
    answers: list[Exception] = field(default_factory=list)
    quota: list[Exception] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def room(self) -> int | None:
        await asyncio.sleep(0)
        if self.quota:
            raise self.quota.pop(0)
        return self.left

    async def upload(self, content: bytes, sha256: str) -> HostedFile:
        assert hashlib.sha256(content).hexdigest() == sha256
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.names.append(sha256)
        number = len(self.names)
        for _ in range(5):
            await asyncio.sleep(0)
        self.running -= 1
        if self.answers:
            raise self.answers.pop(0)
        return HostedFile(f"https://files.example/{number}", 72 * HOUR)

    async def aclose(self) -> None:
        """Nothing is held open."""


@dataclass
class Bench:
    """One run's hosting over a store, a clock and a host that all runs share."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    host: FakeHost = field(default_factory=FakeHost)
    gate: Gate = field(default_factory=Gate)
    contents: dict[str, bytes] = field(default_factory=lambda: {f"{n}.png": b"picture %d" % n for n in range(20)})

    def run(self, *planned: Reference, writer: str = "run-a") -> Hosting:
        self.gate = Gate()
        files = ReferenceFiles(self.host, self.read)
        world = a_world(self.store, self.clock, ScriptedApi(self.clock), files=files)
        return Hosting(world, EDITION, self.gate, planned=planned, writer=writer)

    async def read(self, name: str) -> bytes:
        await asyncio.sleep(0)
        return self.contents[name]

    def file(self, number: int = 0) -> Reference:
        name = f"{number}.png"
        return Reference(f"sha256:{hashlib.sha256(self.contents[name]).hexdigest()}", None, name)

    def records(self) -> set[str]:
        return self.store.names("ledger/uploads/")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def an_order(*files: Reference) -> Order:
    return Order("c-1", a_row(references=files), (Variant("k", 1, 1),), 1)


async def urls(hosting: Hosting, *files: Reference) -> list[str]:
    return (await hosting.hosted(an_order(*files))).image_urls()


async def test_an_order_without_files_is_left_as_it_is(bench: Bench):
    order = an_order(*references(3))
    assert await bench.run().hosted(order) is order
    assert bench.host.names == []


async def test_an_order_is_the_same_order_wherever_its_files_are(bench: Bench):
    order = an_order(bench.file(), bench.file(1), bench.file())
    hosted = await bench.run().hosted(order)
    assert (hosted.call, hosted.variants, hosted.credits) == (order.call, order.variants, order.credits)
    assert [r.content for r in hosted.row.references] == [r.content for r in order.row.references]
    assert hosted.image_urls() == ["https://files.example/1", "https://files.example/2", "https://files.example/1"]


async def test_many_calls_at_once_upload_a_content_once(bench: Bench):
    hosting = bench.run()
    found = await asyncio.gather(*(urls(hosting, bench.file(n % 2)) for n in range(40)))
    assert len(bench.host.names) == 2
    assert len({tuple(each) for each in found}) == 2


async def test_two_paths_of_one_content_are_one_file(bench: Bench):
    bench.contents["copy.png"] = bench.contents["0.png"]
    copy = Reference(bench.file().content, None, "copy.png")
    await urls(bench.run(), bench.file(), copy)
    assert len(bench.host.names) == 1


async def test_few_uploads_run_at_once(bench: Bench):
    hosting = bench.run()
    await asyncio.gather(*(urls(hosting, bench.file(n)) for n in range(10)))
    assert bench.host.most_running == 4


@pytest.mark.parametrize(("age_h", "again"), [(0, 0), (47.9, 0), (48.1, 1), (500, 1)])
async def test_an_upload_serves_for_48_of_its_72_hours(bench: Bench, age_h: float, again: int):
    await urls(bench.run(), bench.file())
    bench.clock.elapsed += age_h * HOUR
    await urls(bench.run(writer="run-b"), bench.file())
    assert len(bench.host.names) == len(bench.records()) == 1 + again


async def test_a_long_run_uploads_again_what_has_grown_old(bench: Bench):
    hosting = bench.run()
    for age_h in (0, 40, 50, 90, 100):
        bench.clock.elapsed = age_h * HOUR
        await urls(hosting, bench.file())
    assert len(bench.host.names) == 3


async def test_a_clock_that_was_set_back_does_not_make_an_old_upload_new(bench: Bench):
    await urls(bench.run(), bench.file())
    bench.clock.elapsed -= HOUR
    await urls(bench.run(writer="run-b"), bench.file())
    assert len(bench.host.names) == 2


async def test_another_accounts_upload_is_not_ours(bench: Bench):
    await urls(bench.run(), bench.file())
    bench.host.account = "somebody else"
    await urls(bench.run(writer="run-b"), bench.file())
    assert len(bench.host.names) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"schema": "adloom.upload/2"}'])
async def test_a_record_that_cannot_be_read_costs_an_upload_and_nothing_else(bench: Bench, content: bytes):
    await urls(bench.run(), bench.file())
    (key,) = (key for key in bench.store.objects if "/uploads/" in key)
    bench.store.objects[key] = content
    assert await urls(bench.run(writer="run-b"), bench.file()) == ["https://files.example/2"]


async def test_a_run_that_died_behind_the_upload_left_it_for_the_next(bench: Bench):
    await urls(bench.run(), bench.file())
    assert await urls(bench.run(writer="run-b"), bench.file()) == ["https://files.example/1"]
    assert len(bench.host.names) == 1


async def test_a_run_that_died_before_the_record_costs_an_upload_of_the_same_name(bench: Bench):
    def die(operation: str, key: str) -> None:
        if operation == "create" and "/uploads/" in key:
            raise StoreUnavailable("gone")

    bench.store.fault = die
    with pytest.raises(StoreUnavailable):
        await urls(bench.run(), bench.file())
    bench.store.fault = lambda *_: None
    await urls(bench.run(writer="run-b"), bench.file())
    assert len(bench.host.names) == 2
    assert len(set(bench.host.names)) == 1


async def test_the_room_is_held_against_all_that_is_planned(bench: Bench):
    bench.host.left = 2
    with pytest.raises(GateClosed):
        await urls(bench.run(*(bench.file(n) for n in range(3))), bench.file())
    (stop,) = bench.gate.stops
    assert stop.reason is StopReason.ACCOUNT
    assert "room for 2 more files, and this campaign needs 3" in stop.message
    assert bench.host.names == []


async def test_what_is_hosted_already_needs_no_further_room(bench: Bench):
    await urls(bench.run(), bench.file(0), bench.file(1))
    bench.clock.elapsed += 50 * HOUR
    bench.host.left = 1
    later = bench.run(*(bench.file(n) for n in range(3)), writer="run-b")
    assert len(await urls(later, *(bench.file(n) for n in range(3)))) == 3


@pytest.mark.parametrize("left", [None, 1])
async def test_room_that_suffices_or_is_not_told_is_no_reason_to_stop(bench: Bench, left: int | None):
    bench.host.left = left
    assert await urls(bench.run(bench.file()), bench.file())


@pytest.mark.parametrize("where", ["quota", "answers"])
async def test_a_failure_that_passes_is_tried_again(bench: Bench, where: str):
    setattr(bench.host, where, [ReadFailed("busy") for _ in range(TRIES - 1)])
    assert await urls(bench.run(), bench.file())
    assert bench.gate.stops == ()


async def test_the_services_own_advice_is_followed(bench: Bench):
    bench.host.answers = [ReadFailed("busy", retry_after_s=100)]
    await urls(bench.run(), bench.file())
    assert 100 <= bench.clock.elapsed <= 120


@pytest.mark.parametrize(
    ("errors", "reason", "tries"),
    [
        ([ReadFailed("away", remedy="wait") for _ in range(TRIES)], StopReason.OUTAGE, TRIES),
        ([RequestRefused("no such type", remedy="wait")], StopReason.OUTAGE, 1),
        ([AccountStopped("no key", remedy="wait")], StopReason.ACCOUNT, 1),
    ],
)
async def test_a_file_that_cannot_be_hosted_closes_the_gate_once_for_all_who_wait(
    bench: Bench, errors: list[Exception], reason: StopReason, tries: int
):
    bench.host.answers = list(errors)
    hosting = bench.run()
    ends = await asyncio.gather(*(urls(hosting, bench.file()) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(end, GateClosed) for end in ends)
    assert [(stop.reason, stop.remedy) for stop in bench.gate.stops] == [(reason, "wait")]
    assert "0.png" in bench.gate.stops[0].message
    assert len(bench.host.names) == tries
    assert bench.records() == set()


async def test_a_file_is_refused_once_for_all_who_wait_and_closes_nothing(bench: Bench):
    bench.host.answers = [FileRefused("no such type", remedy="change it") for _ in range(REFUSALS)]
    hosting = bench.run()
    ends = await asyncio.gather(*(urls(hosting, bench.file()) for _ in range(5)), return_exceptions=True)
    assert {(type(end), end.message, end.remedy) for end in ends} == {
        (FileRefused, "0.png is not hosted: no such type", "change it")
    }
    assert len(bench.host.names) == REFUSALS
    assert bench.gate.stops == ()
    assert await urls(hosting, bench.file(1))


async def test_a_refusal_is_not_believed_the_first_time(bench: Bench):
    bench.host.answers = [FileRefused("no"), ReadFailed("busy"), FileRefused("no")]
    assert await urls(bench.run(), bench.file()) == ["https://files.example/4"]
    assert bench.clock.elapsed > 0


async def test_a_closed_gate_ends_the_waiting_for_another_try(bench: Bench):
    bench.host.answers = [ReadFailed("busy", retry_after_s=300)] * 3
    hosting = bench.run()
    asking = asyncio.create_task(urls(hosting, bench.file()))
    await until(lambda: bool(bench.host.names))
    bench.gate.close(Stop(StopReason.INTERRUPTED, "stop"))
    with pytest.raises(GateClosed):
        await asking
    assert len(bench.host.names) == 1


async def test_a_changed_file_is_never_uploaded(bench: Bench):
    file = bench.file()
    bench.contents["0.png"] = b"another picture"
    with pytest.raises(GateClosed):
        await urls(bench.run(), file)
    assert bench.gate.stops[0].reason is StopReason.INPUT_CHANGED
    assert bench.host.names == []
