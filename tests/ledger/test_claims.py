"""One task id that the API answers several purchases with: one of them has it, each other one has another task."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from support.fakes import EDITION, MemoryStore
from support.s3_server import BUCKET, S3Server, fetch_all
from support.shop import SandboxRig, campaign_text

from adloom.core.task import Task, TaskState
from adloom.ledger.claims import SCHEMA, claims_of, is_claimed_for, is_free_for
from adloom.ledger.edition import Edition
from adloom.publish.checksums import verify
from adloom.spend.held import adopt, held_calls
from adloom.targets import new_ledger, open_store

ROWS = "".join(f"  - {{id: row-{number}, prompt: 'mug {number}', variants: 2}}\n" for number in range(4))
ONE_BY_ONE = "limits: {in_flight: 1}\n"


@pytest.fixture(params=["folder", "s3"])
def anywhere(request: pytest.FixtureRequest, shop: SandboxRig, monkeypatch: pytest.MonkeyPatch) -> SandboxRig:
    """A shop with its archive in a folder or in a bucket, and an API that answers four POSTs with one id."""
    shop.sandbox.change(fast_pictures=False, posts_an_id=4)
    if request.param == "folder":
        return shop
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return shop.with_settings(archive=f"s3://{BUCKET}/{shop.folder.name}")


def look_into(shop: SandboxRig, request: pytest.FixtureRequest) -> SandboxRig:
    """The same shop with its archive as a folder."""
    if not shop.settings.archive.startswith("s3"):
        return shop
    folder = shop.folder / "fetched"
    shutil.rmtree(folder, ignore_errors=True)
    prefix = shop.settings.archive.removeprefix(f"s3://{BUCKET}/")
    fetch_all(request.getfixturevalue("s3"), f"{prefix}/", folder)
    return shop.with_settings(archive=str(folder))


def pictures(shop: SandboxRig) -> dict[object, set[object]]:
    """The archived pictures of each row."""
    found: dict[object, set[object]] = {}
    for line in shop.lines():
        if line["status"] == "archived":
            found.setdefault(line["job"], set()).add(line["sha256"])
    return found


async def test_a_key_of_ones_own_finds_the_true_tasks_behind_a_repeated_id(
    anywhere: SandboxRig, request: pytest.FixtureRequest
):
    anywhere = anywhere.with_settings(dedicated_key=True)
    anywhere.write(campaign_text(ROWS, more=ONE_BY_ONE))
    assert (await anywhere.run()).exit_code == 0
    archive = look_into(anywhere, request)
    rows = pictures(archive)
    assert {row: len(shown) for row, shown in rows.items()} == {f"row-{number}": 2 for number in range(4)}
    assert len(set.union(*rows.values())) == anywhere.bought() == 8
    for charge in anywhere.sandbox.charges():
        claim = json.loads((Path(archive.settings.archive) / "tasks" / f"{charge.task_id}.json").read_bytes())
        (line, _) = [line for line in archive.lines() if line["prompt"] == charge.prompt.partition(": ")[2]]
        assert (claim["edition"], claim["call"], claim["attempt"]) == ("test/main/", line["call"], 1)
    store, edition = open_store(anywhere.settings.archive), Edition("test", "main")
    assert not (await verify(store, edition, new_ledger(store, edition))).findings


async def test_what_nothing_can_settle_is_held_and_waits_for_the_word_of_a_person(
    anywhere: SandboxRig, request: pytest.FixtureRequest
):
    anywhere.write(campaign_text(ROWS, more=ONE_BY_ONE))
    result = await anywhere.run()
    lines = look_into(anywhere, request).lines()
    assert Counter(line["status"] for line in lines) == {"archived": 2, "held": 6}
    anywhere.sandbox.advance(60)  # the run does not wait for the tasks that it does not know
    assert anywhere.bought() == 8
    assert result.published.manifest["totals"]["credits_at_risk"] == pytest.approx(6 * 1.53)
    first = anywhere.sandbox.charges()[0].task_id
    for line in lines:  # both that were answered with the id say so
        if line["status"] == "held":
            assert first in str(line["reason"])
        else:
            assert "the API answered call" in str(line["reason"])
    assert (await anywhere.run()).exit_code == 6
    assert len(anywhere.sandbox.charges()) == 4

    store, edition = open_store(anywhere.settings.archive), Edition("test", "main")
    ledger = new_ledger(store, edition)
    await ledger.load()
    tasks = {charge.prompt.partition(": ")[2]: charge.task_id for charge in anywhere.sandbox.charges()}
    prompts = {line["call"]: str(line["prompt"]) for line in lines}
    assert len(held_calls(ledger, 0)) == 3
    for held in held_calls(ledger, 0):
        assert first in held.reason
        api = OneAccount(tasks.values())
        await adopt(ledger, store, api, held.call, tasks[prompts[held.call]], "a person")  # type: ignore[arg-type]
    assert (await anywhere.run()).exit_code == 0
    assert len(set.union(*pictures(look_into(anywhere, request)).values())) == 8
    assert len(anywhere.sandbox.charges()) == 4


class OneAccount:
    """As much of an API as an adoption asks: which tasks it knows."""

    def __init__(self, known: object) -> None:
        self._known = set(known)  # type: ignore[call-overload]

    async def tasks(self, ids: list[str]) -> dict[str, Task]:
        return {task: Task(task, TaskState.COMPLETED) for task in ids if task in self._known}


async def test_an_archive_without_claims_keeps_its_tasks_from_later_purchases(shop: SandboxRig):
    shop.sandbox.change(fast_pictures=False)
    shop.write(campaign_text(ROWS.splitlines(keepends=True)[0]))
    await shop.run()
    shutil.rmtree(Path(shop.settings.archive) / "tasks")  # as a version left it that claimed none
    shop.sandbox.change(posts_an_id=2)
    shop.write(campaign_text("".join(ROWS.splitlines(keepends=True)[:2])))
    assert (await shop.run()).exit_code == 6
    assert Counter(line["status"] for line in shop.lines()) == {"archived": 2, "held": 2}
    assert (await shop.run()).exit_code == 6
    assert len(shop.sandbox.charges()) == 2


MINE = ("test/main/", "c-1", 1)


def a_claim(**fields: object) -> bytes:
    mine = dict(zip(("edition", "call", "attempt"), MINE, strict=True))
    return json.dumps({"schema": SCHEMA, **mine, **fields}).encode()


@pytest.mark.parametrize(
    ("claim", "is_free", "is_mine"),
    [
        pytest.param(None, True, False, id="none"),
        pytest.param(a_claim(), True, True, id="its own"),
        pytest.param(a_claim(call="c-2"), False, False, id="another call's"),
        pytest.param(a_claim(attempt=2), False, False, id="another attempt's"),
        pytest.param(a_claim(attempt=None), False, False, id="one whose attempt is lost"),
        pytest.param(json.dumps({"edition": "test/main/", "call": "c-1"}).encode(), False, False, id="one cut short"),
        pytest.param(b"{", False, False, id="a damaged one"),
    ],
)
async def test_a_task_is_a_purchases_by_its_claim_alone_and_free_while_there_is_none(
    store: MemoryStore,
    claim: bytes | None,
    is_free: bool,  # noqa: FBT001
    is_mine: bool,  # noqa: FBT001
):
    if claim is not None:
        store.objects["tasks/task-1.json"] = claim
    assert await is_free_for(store, MINE, "task-1") == is_free
    assert await is_claimed_for(store, MINE, "task-1") == is_mine


async def test_a_damaged_claim_keeps_its_task_from_everybody_and_says_nobodys_name(store: MemoryStore):
    store.objects |= {"tasks/task-1.json": b"{", "tasks/task-2.json": a_claim()}
    found = await claims_of(store, [], {"task-1", "task-2", "task-3"})
    assert found.tasks == {"task-1", "task-2"}
    assert found.dangling == {"task-2": MINE}


@pytest.mark.parametrize("is_claimed", [False, True])
async def test_a_task_that_an_open_edition_has_accepted_belongs_to_it_and_is_left_to_nobody(
    store: MemoryStore,
    is_claimed: bool,  # noqa: FBT001
):
    store.objects[EDITION.key("ledger/c-1/a1-accepted.task-1.json")] = b"{}"
    if is_claimed:
        store.objects["tasks/task-1.json"] = a_claim()
    found = await claims_of(store, [EDITION], {"task-1", "task-2"})
    assert (found.tasks, found.dangling) == ({"task-1"}, {})
