"""The client against the stand-in for the API, end to end."""

import asyncio
import json
from decimal import Decimal

import pytest

from adloom.core.errors import (
    AccountStopped,
    KeyConflict,
    LinkExpired,
    ModerationRefused,
    OutcomeUnknown,
    ReadFailed,
    RequestRefused,
    Throttled,
)
from adloom.core.task import TaskState
from adloom.edges.evolink.client import EvoLink
from adloom.edges.pictures import PictureDecoder
from adloom.edges.settings import read_settings
from adloom.sandbox import SandboxSettings, running_sandbox


@pytest.fixture
async def sandbox():
    async with running_sandbox(SandboxSettings(task_seconds=0.02, fast_pictures=True), port=0) as sandbox:
        yield sandbox


@pytest.fixture
async def api(sandbox):
    environ = {"EVOLINK_API_KEY": "sk-evo-canary-0123456789", "EVOLINK_BASE_URL": sandbox.base_url}
    async with EvoLink(read_settings(environ)) as api:
        yield api


def body(n=1, **fields) -> bytes:
    prompt = f"Generate {n} different images: a red mug" if n > 1 else "a red mug"
    return json.dumps({"model": "doubao-seedream-4.0", "prompt": prompt, "n": n, **fields}).encode()


def key(number=0) -> str:
    return f"run_{number:032x}"


async def finished(api, *task_ids):
    for _ in range(200):
        found = await api.tasks(task_ids)
        if all(found[task_id].state.is_final for task_id in task_ids):
            return found
        await asyncio.sleep(0.02)
    pytest.fail("the tasks do not end")


async def test_images_are_bought_collected_downloaded_and_decoded(sandbox, api):
    bought = [await api.submit(body(n=2, size="1:1", quality="1K"), key(number)) for number in range(2)]
    assert all(each.credits_reserved and not each.replayed for each in bought)
    tasks = await finished(api, *(each.task_id for each in bought))
    assert [len(task.results) for task in tasks.values()] == [2, 2]
    decoder = PictureDecoder()
    for task in tasks.values():
        for link in task.results:
            picture = await decoder.decode((await api.download(link)).content)
            assert (picture.media_type, picture.width_px, picture.height_px) == ("image/jpeg", 1024, 1024)
    await decoder.aclose()
    state = sandbox.state()
    assert state["violation_count"] == 0
    assert len(sandbox.charges()) == 2


async def test_the_list_and_the_credits_are_read(api):
    before = await api.credits()
    bought = await api.submit(body(), key())
    listed = await api.list_tasks(0)
    assert [task.task_id for task in listed] == [bought.task_id]
    await finished(api, bought.task_id)
    after = await api.credits()
    assert before.account_remaining - after.account_remaining in (Decimal("1.53"), Decimal(0))


async def test_refusals_are_told_apart(sandbox, api):
    with pytest.raises(RequestRefused, match="size"):
        await api.submit(body(size="7:7"), key())
    for status, code, error in (
        (429, "", Throttled),
        (401, "", AccountStopped),
        (402, "insufficient_user_quota", AccountStopped),
        (400, "content_policy_violation", ModerationRefused),
        (503, "", OutcomeUnknown),
    ):
        sandbox.script(route="submit", fault="status", status=status, code=code)
        with pytest.raises(error):
            await api.submit(body(), key())
    assert sandbox.charges() == []


@pytest.mark.parametrize("fault", ["drop", "partial", "broken_json", "status"])
async def test_a_lost_answer_is_unknown_although_the_task_exists(sandbox, api, fault):
    sandbox.script(route="submit", fault=fault, after=fault in ("drop", "status"), status=502, html=True)
    with pytest.raises(OutcomeUnknown):
        await api.submit(body(), key())
    assert len(sandbox.charges()) == 1


async def test_replay_and_conflict_are_recognised(sandbox, api):
    sandbox.change(idempotency="honoured")
    first = await api.submit(body(), key())
    again = await api.submit(body(), key())
    assert again.task_id == first.task_id
    assert again.replayed
    with pytest.raises(KeyConflict):
        await api.submit(body(size="1:1"), key())
    assert len(sandbox.charges()) == 1


async def test_reads_fail_and_recover(sandbox, api):
    bought = await api.submit(body(), key())
    for fault in ("partial", "broken_json", "status"):
        sandbox.script(route="task", fault=fault)
        with pytest.raises(ReadFailed):
            await api.tasks([bought.task_id])
    assert (await finished(api, bought.task_id))[bought.task_id].state is TaskState.COMPLETED


async def test_a_link_dies_after_a_day(sandbox, api):
    bought = await api.submit(body(), key())
    (link,) = (await finished(api, bought.task_id))[bought.task_id].results
    sandbox.advance(25 * 3600)
    with pytest.raises(LinkExpired):
        await api.download(link)
