"""One poller for all tasks of a process: when it reads, what it believes, and when it gives up."""

import asyncio
from collections import Counter
from random import Random
from statistics import mean

import pytest
from support.fakes import ManualClock, ScriptedApi, completed, until
from support.polling import INTERVAL_S, failed, running

from adloom.collect.completion import Unreachable
from adloom.collect.poller import ABSENT_INTERVALS, PATIENCE_INTERVALS, STUCK_INTERVALS, TASKS_PER_READ, Poller
from adloom.core.errors import AccountStopped, ReadFailed
from adloom.core.exits import StopReason
from adloom.core.task import Task, TaskState
from adloom.guards.gate import Gate


def processing(task_id: str) -> Task:
    return Task(task_id, TaskState.PROCESSING, word="processing")


def ends_after(seconds: float, clock: ManualClock):
    start = clock.monotonic()
    return lambda task: completed(task, "u") if clock.monotonic() - start >= seconds else processing(task)


async def test_the_first_poll_of_a_new_task_comes_after_one_interval(poller, api, clock):
    task = await poller.watch("t", clock.now())
    assert task.state is TaskState.COMPLETED
    assert [at for at, _ in api.reads] == [INTERVAL_S]


async def test_a_task_of_an_earlier_run_is_read_at_once(poller, api, clock):
    await poller.watch("t", clock.now() - 100)
    assert [at for at, _ in api.reads] == [0]


async def test_a_task_is_asked_about_until_it_ends(poller, api, clock):
    api.state_of = ends_after(120, clock)
    assert (await poller.watch("t", clock.now())).results == ("u",)
    waits = [later - earlier for (earlier, _), (later, _) in zip(api.reads, api.reads[1:], strict=False)]
    assert all(0.8 * 0.6 * INTERVAL_S <= wait <= 1.2 * 5 * INTERVAL_S for wait in waits)


KIND = ("model", "2K", 5)


async def test_tasks_of_a_kind_wait_for_what_a_few_of_them_tell(poller, api, clock):
    api.state_of = ends_after(10, clock)
    await asyncio.gather(*(poller.watch(f"t{n}", clock.now(), KIND) for n in range(40)))
    readings = Counter(task for _, ids in api.reads for task in ids)
    assert sorted(readings.values())[:37] == [1] * 37
    assert clock.elapsed < 10 + INTERVAL_S


async def test_a_later_task_of_a_kind_is_read_when_most_of_its_kind_had_ended(poller, api, clock):
    api.state_of = ends_after(10, clock)
    await poller.watch("t1", clock.now(), KIND)
    took_s, api.reads = clock.elapsed, []
    api.state_of = ends_after(10, clock)
    await poller.watch("t2", clock.now(), KIND)
    assert api.reads[0][0] - took_s > 2 * INTERVAL_S
    assert len(api.reads) <= 2


async def test_the_first_reading_follows_the_tasks_as_they_get_quicker(poller, api, clock):
    """Each reading costs a request, each second too late leaves a finished image waiting."""
    first_reading_s = []
    for number in range(60):
        began, api.reads = clock.elapsed, []
        api.state_of = ends_after(5 if number else 30, clock)
        await poller.watch(f"t{number}", clock.now(), KIND)
        first_reading_s.append(api.reads[0][0] - began)
    assert first_reading_s[-1] < first_reading_s[1] - 5


async def test_where_a_task_had_ended_by_its_first_reading_the_next_is_read_at_half_that_age(poller, api, clock):
    await poller.watch("t1", clock.now(), KIND)
    await poller.watch("t2", clock.now(), KIND)
    assert [at for at, _ in api.reads] == [INTERVAL_S, 1.5 * INTERVAL_S]


async def lateness_s(*, is_scarce: bool) -> float:
    """How long after their ends tasks of 12 to 30 s are seen to have ended, on average, with 20 places."""
    clock, took = ManualClock(), Random(2)
    api, ends, late = ScriptedApi(clock), {}, []
    api.state_of = lambda task: completed(task, "u") if clock.monotonic() >= ends[task] else processing(task)
    poller = Poller(
        api=api, gate=Gate(), clock=clock, random=Random(1), interval_s=INTERVAL_S, is_scarce=lambda: is_scarce
    )

    async def one_after_the_other(place: int) -> None:
        for number in range(30):
            task = f"t{place}-{number}"
            ends[task] = clock.monotonic() + took.uniform(12, 30)
            await poller.watch(task, clock.now(), KIND)
            late.append(clock.monotonic() - ends[task])

    async with running(poller):
        await asyncio.gather(*(one_after_the_other(place) for place in range(20)))
    return mean(late)


async def test_an_end_is_seen_sooner_where_it_makes_room_for_a_purchase():
    assert await lateness_s(is_scarce=True) < 0.6 * await lateness_s(is_scarce=False)


async def test_failures_tell_nothing_of_how_long_others_take_and_one_more_goes_ahead(poller, api, clock):
    fails = {"t0", "t1", "t2"}
    slow = ends_after(10, clock)
    api.state_of = lambda task: failed(task) if task in fails else slow(task)
    ended = await asyncio.gather(*(poller.watch(f"t{n}", clock.now(), KIND) for n in range(8)))
    assert [task.state for task in ended] == [TaskState.FAILED] * 3 + [TaskState.COMPLETED] * 5
    assert clock.elapsed < 10 + 1.5 * INTERVAL_S


async def test_where_no_scout_ends_the_others_are_read_all_the_same(poller, api, clock):
    api.state_of = lambda task: processing(task) if task in {"t0", "t1", "t2"} else completed(task, "u")
    watching = [asyncio.create_task(poller.watch(f"t{n}", clock.now(), KIND)) for n in range(6)]
    assert [task.task_id for task in await asyncio.gather(*watching[3:])] == ["t3", "t4", "t5"]
    for scout in watching[:3]:
        scout.cancel()


@pytest.mark.parametrize("heard_at_s", [0.5, 1, 2])
async def test_who_hears_of_an_end_reads_at_once_and_believes_the_reading_alone(poller, api, clock, heard_at_s):
    api.state_of = ends_after(2, clock)
    watching = asyncio.create_task(poller.watch("t", clock.now(), KIND))
    await asyncio.sleep(0)
    clock.advance(heard_at_s)
    poller.hear("t")
    poller.hear("a task that nobody waits for")
    assert (await watching).state is TaskState.COMPLETED
    assert api.reads[0][0] == heard_at_s
    assert clock.elapsed >= 2


async def test_the_one_task_that_was_heard_of_is_read_before_all_others(poller, api, clock):
    watching = [asyncio.create_task(poller.watch(f"t{n}", clock.now(), KIND)) for n in range(6)]
    await asyncio.sleep(0)
    clock.advance(1)
    poller.hear("t5")
    await asyncio.gather(*watching)
    assert api.reads[0] == (1, ("t5",))


async def test_a_callback_does_not_hurry_the_second_reading_of_a_task(poller, api, clock):
    """Money depends on it, so it must not come right after the first."""
    reading = asyncio.create_task(poller.look_again("t", 9, alone=True))
    await asyncio.sleep(0)
    clock.advance(1)
    poller.hear("t")
    await reading
    assert api.reads == [(9, ("t",))]


async def test_two_that_ask_for_one_task_at_the_same_moment_both_hear_of_it(poller, api, clock):
    """The call that it was made for, and another one for the same images, before it buys them again."""
    again = [poller.look_again("t", INTERVAL_S) for _ in range(2)]
    told = await asyncio.gather(poller.watch("t", clock.now(), KIND), *again)
    assert [task.state for task in told] == [TaskState.COMPLETED] * 3


async def test_what_is_due_within_a_quarter_of_an_interval_is_read_in_the_same_request(poller, api, clock):
    due_s = {"a": 3.0, "b": 3.0 + INTERVAL_S / 4, "c": 3.0 + INTERVAL_S / 2}
    await asyncio.gather(*(poller.look_again(task, wait_s) for task, wait_s in due_s.items()))
    assert api.reads == [(3.0, ("a", "b")), (4.5, ("c",))]


async def test_many_tasks_are_read_together_fifty_at_a_time(poller, api, clock):
    api.state_of = ends_after(30, clock)
    tasks = await asyncio.gather(*(poller.watch(f"t{n}", clock.now()) for n in range(120)))
    assert {task.task_id for task in tasks} == {f"t{n}" for n in range(120)}
    assert [len(ids) for _, ids in api.reads[:3]] == [50, 50, 20]
    assert max(len(ids) for _, ids in api.reads) == TASKS_PER_READ == 50
    assert all(len(set(ids)) == len(ids) for _, ids in api.reads)
    assert len(api.reads) < 120


async def test_each_watcher_gets_its_own_task(poller, api, clock):
    api.state_of = lambda task: completed(task, f"link-of-{task}")
    tasks = await asyncio.gather(*(poller.watch(f"t{n}", clock.now()) for n in range(7)))
    assert [task.results for task in tasks] == [(f"link-of-t{n}",) for n in range(7)]


async def test_a_read_that_fails_is_tried_again(poller, api, clock):
    api.read_faults = [ReadFailed("503"), ReadFailed("timeout"), ReadFailed("503")]
    assert (await poller.watch("t", clock.now())).state is TaskState.COMPLETED
    assert len(api.reads) == 4
    waits = [later - earlier for (earlier, _), (later, _) in zip(api.reads, api.reads[1:], strict=False)]
    assert min(waits) >= INTERVAL_S


async def test_reads_that_go_on_failing_are_tried_less_and_less_often(poller, api, clock):
    api.read_faults = [ReadFailed("503") for _ in range(9)]
    await poller.watch("t", clock.now())
    waits = [later - earlier for (earlier, _), (later, _) in zip(api.reads, api.reads[1:], strict=False)]
    assert waits[0] == INTERVAL_S
    assert max(waits) >= 5 * INTERVAL_S


async def test_the_waits_after_failed_reads_double_from_half_a_second_and_begin_anew_after_a_good_one(api, gate, clock):
    class Highest(Random):
        def random(self) -> float:
            return 1.0

    poller = Poller(api=api, gate=gate, clock=clock, random=Highest(), interval_s=0.1)
    async with running(poller):
        for task in ("t1", "t2"):
            api.reads, api.read_faults = [], [ReadFailed("503") for _ in range(3)]
            await poller.watch(task, clock.now())
            waits = [later - earlier for (earlier, _), (later, _) in zip(api.reads, api.reads[1:], strict=False)]
            assert waits == pytest.approx([0.5, 1, 2])


async def test_when_a_scout_fails_another_task_of_its_kind_goes_ahead(poller, api, clock):
    """Nobody of another kind does: that has scouts of its own."""
    other = ("another model", "2K", 5)
    api.state_of = lambda task: (
        Task(task, TaskState.FAILED, word="failed") if task == "f0" else ends_after(100, clock)(task)
    )
    watching = [asyncio.create_task(poller.watch(f"f{n}", clock.now(), KIND)) for n in range(5)]
    watching += [asyncio.create_task(poller.watch(f"a{n}", clock.now(), other)) for n in range(5)]
    await until(lambda: clock.elapsed >= 2.5 * INTERVAL_S)
    seen = {task for _, ids in api.reads for task in ids}
    assert seen == {"f0", "f1", "f2", "f3", "a0", "a1", "a2"}
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def test_a_servers_advice_is_heeded_between_reads(poller, api, clock):
    api.read_faults = [ReadFailed("429", retry_after_s=42)]
    await poller.watch("t", clock.now())
    assert [at for at, _ in api.reads] == [INTERVAL_S, INTERVAL_S + 42]


async def test_what_a_failed_read_did_bring_counts(poller, api, clock):
    fault = ReadFailed("one of two failed")
    fault.read = {"t1": completed("t1", "u")}
    api.read_faults = [fault]
    ended = await asyncio.gather(poller.watch("t1", clock.now()), poller.watch("t2", clock.now()))
    assert [task.task_id for task in ended] == ["t1", "t2"]
    assert [set(ids) for _, ids in api.reads] == [{"t1", "t2"}, {"t2"}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReadFailed("503", remedy="Wait."), StopReason.OUTAGE),
        (AccountStopped("401", remedy="New key."), StopReason.ACCOUNT),
    ],
)
async def test_after_long_silence_the_api_counts_as_out_of_reach(poller, api, gate, clock, error, reason):
    api.read_faults = [error] * 10_000
    watching = [asyncio.create_task(poller.watch(f"t{n}", clock.now())) for n in range(60)]
    ended = await asyncio.gather(*watching, return_exceptions=True)
    assert {type(end) for end in ended} == {Unreachable}
    assert [(stop.reason, stop.remedy) for stop in gate.stops] == [(reason, error.remedy)]
    assert PATIENCE_INTERVALS * INTERVAL_S <= clock.elapsed < 2 * PATIENCE_INTERVALS * INTERVAL_S


async def test_what_is_asked_after_an_outage_is_waited_for_like_anything_else(poller, api, clock):
    api.read_faults = [ReadFailed("503")] * 10_000
    watching = [asyncio.create_task(poller.watch(f"t{n}", clock.now())) for n in range(60)]
    await asyncio.gather(*watching, return_exceptions=True)
    api.read_faults = [ReadFailed("503")]
    assert (await poller.watch("new", clock.now())).state is TaskState.COMPLETED


async def test_one_good_read_starts_the_patience_anew(poller, api, gate, clock):
    api.state_of = processing
    watching = asyncio.create_task(poller.watch("t", clock.now()))
    for _ in range(3):
        api.read_faults = [ReadFailed("503")] * 10_000
        silent_until = clock.elapsed + 0.6 * PATIENCE_INTERVALS * INTERVAL_S
        await until(lambda end=silent_until: clock.elapsed >= end)
        api.read_faults = []
        reads = len(api.reads)
        await until(lambda reads=reads: len(api.reads) > reads + 1)
    assert gate.stops == ()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_hours_without_a_task_to_read_are_no_silence_of_the_api(poller, api, gate, clock):
    await poller.watch("t1", clock.now())
    clock.advance(2 * PATIENCE_INTERVALS * INTERVAL_S)
    api.read_faults = [ReadFailed("503")]
    assert (await poller.watch("t2", clock.now())).state is TaskState.COMPLETED
    assert gate.is_open


async def test_a_surprise_in_the_reading_does_not_leave_its_watchers_waiting_for_ever(api, gate, clock):
    poller = Poller(api=api, gate=gate, clock=clock, random=Random(1), interval_s=INTERVAL_S)
    api.read_faults = [RuntimeError("nobody expected this")]
    async with running(poller):
        with pytest.raises((Unreachable, RuntimeError)):
            await asyncio.wait_for(poller.watch("t", clock.now()), 60)


async def test_a_task_that_the_api_does_not_know_is_given_up_after_a_while_only(poller, api, clock):
    api.state_of = lambda _: None
    assert await poller.watch("t", clock.now()) is None
    waited = clock.elapsed - INTERVAL_S
    assert ABSENT_INTERVALS * INTERVAL_S <= waited <= (ABSENT_INTERVALS + 25) * INTERVAL_S


async def test_a_task_that_appears_late_is_collected(poller, api, clock):
    api.state_of = lambda task: None if clock.elapsed < 300 else completed(task, "u")
    assert (await poller.watch("t", clock.now())).results == ("u",)


async def test_being_unknown_now_and_then_does_not_add_up(poller, api, clock):
    api.state_of = lambda task: (
        completed(task, "u") if clock.elapsed > 2000 else None if int(clock.elapsed / 200) % 2 else processing(task)
    )
    assert (await poller.watch("t", clock.now())).results == ("u",)


@pytest.mark.parametrize("state", [TaskState.PROCESSING, TaskState.PENDING, TaskState.OTHER])
async def test_a_task_that_does_not_end_is_given_up_after_two_hours(poller, api, clock, state):
    api.state_of = lambda task: Task(task, state, word=str(state))
    assert await poller.watch("t", clock.now()) is None
    assert STUCK_INTERVALS * INTERVAL_S <= clock.elapsed <= (STUCK_INTERVALS + 130) * INTERVAL_S


async def test_a_state_in_a_word_that_nobody_knows_is_said_and_no_other_is(poller, api, clock, caplog):
    words = {"t": ["queued", "marinating", "processing"], "u": ["processing"]}

    def next_word(task: str) -> Task:
        if not words[task]:
            return completed(task, "u")
        word = words[task].pop(0)
        return Task(task, TaskState.PROCESSING if word == "processing" else TaskState.OTHER, word=word)

    api.state_of = next_word
    await asyncio.gather(*(poller.watch(task, clock.now()) for task in words))
    assert [text for text in caplog.messages if "state" in text] == [
        "task t has an unknown state: 'queued'",
        "task t has an unknown state: 'marinating'",
    ]


async def test_a_stuck_task_is_looked_at_again_by_a_later_run(poller, api, clock):
    long_ago = clock.now() - 3 * 3600
    api.states["stuck"] = processing("stuck")
    assert await poller.watch("stuck", long_ago) is None
    assert (await poller.watch("ended", long_ago)).state is TaskState.COMPLETED
    assert len(api.reads) == 2


async def test_a_watcher_that_left_is_not_asked_for_any_more(poller, api, clock):
    api.state_of = processing
    watching = asyncio.create_task(poller.watch("t", clock.now()))
    await until(lambda: bool(api.reads))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    reads = len(api.reads)
    await clock.sleep(600)
    assert len(api.reads) == reads


async def test_a_new_task_does_not_wait_for_the_next_poll_of_an_old_one(poller, api, clock):
    old = clock.now() - 7000
    api.states["old"] = processing("old")
    watching = asyncio.create_task(poller.watch("old", old))
    await until(lambda: bool(api.reads))
    start = clock.elapsed
    await poller.watch("new", clock.now())
    assert clock.elapsed - start == pytest.approx(INTERVAL_S)
    watching.cancel()
