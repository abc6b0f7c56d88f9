"""An API with limits that it tells nobody, a run that buys from it, and a clock that is moved."""

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field

import pytest
from support.fakes import ManualClock, settle

from adloom.core.campaign import Pace
from adloom.guards.ceilings import AT_ONCE
from adloom.guards.gate import Gate
from adloom.guards.pace import Throttle

ANSWER_S = 0.1
TASK_S = 12.0


@dataclass
class LimitedApi:
    """Refuses a submit while too many tasks run, or after too many within a minute."""

    clock: ManualClock
    running_tasks: float = float("inf")
    a_minute: float = float("inf")
    retry_after_s: float = 60.0
    running: int = 0
    refused: int = 0
    accepted: list[float] = field(default_factory=list)

    def takes(self) -> bool:
        now = self.clock.monotonic()
        recent = len(self.accepted) - bisect_right(self.accepted, now - 60)
        if self.running >= self.running_tasks or recent >= self.a_minute:
            self.refused += 1
            return False
        self.accepted.append(now)
        self.running += 1
        return True

    async def buy(self, throttle: Throttle) -> None:
        """One purchase as a run makes it: a place, a turn, an answer, and the end of the task."""
        async with throttle.place():
            await throttle.turn()
            while True:
                await self.clock.sleep(ANSWER_S)
                if self.takes():
                    break
                throttle.slow_down(self.retry_after_s)
                await self.clock.sleep(self.retry_after_s)
                await throttle.turn()
            await throttle.speed_up()
            await self.clock.sleep(TASK_S)
            self.running -= 1

    def used(self) -> float:
        """The part of what it allows that was used, from the time when the first pause is over to the last submit."""
        since, until = 100.0, self.accepted[-1]
        if self.running_tasks < float("inf"):
            busy = sum(min(at + TASK_S, until) - max(at, since) for at in self.accepted if at + TASK_S > since)
            return busy / (self.running_tasks * (until - since))
        return sum(at > since for at in self.accepted) / (self.a_minute * (until - since) / 60)


async def _bought(api: LimitedApi, tasks: int, in_flight: int = 50) -> Throttle:
    throttle = Throttle(Pace(in_flight=in_flight), Gate(), api.clock)
    assert not throttle.is_bound_by_tasks
    left = iter(range(tasks))

    async def one_after_the_other() -> None:
        for _ in left:
            await api.buy(throttle)

    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight + 2)))
    return throttle


@pytest.mark.parametrize("limit", [5, 20])
async def test_an_api_with_a_limit_of_tasks_is_used_to_the_full_and_hardly_refuses(limit: int):
    api = LimitedApi(ManualClock(), running_tasks=limit)
    tasks = 60 * limit
    assert (await _bought(api, tasks)).is_bound_by_tasks
    assert len(api.accepted) == tasks
    assert api.refused <= tasks * 0.02
    assert api.used() >= 0.95


@pytest.mark.parametrize(("limit", "tasks"), [(60, 300), (300, 3000)])
async def test_an_api_with_a_limit_of_submits_a_minute_is_used_to_the_full_and_hardly_refuses(limit: int, tasks: int):
    api = LimitedApi(ManualClock(), a_minute=limit)
    await _bought(api, tasks, in_flight=100)
    assert len(api.accepted) == tasks
    assert api.refused <= tasks * 0.02
    assert api.used() >= 0.95


async def test_a_limit_that_is_lifted_is_found_out():
    api = LimitedApi(ManualClock(), running_tasks=4, retry_after_s=1)
    buying = asyncio.create_task(_bought(api, 2000, in_flight=32))
    await api.clock.sleep(120)
    assert api.running <= 4
    api.running_tasks = 16
    await api.clock.sleep(1200)
    assert api.running == 16
    buying.cancel()
    await asyncio.gather(buying, return_exceptions=True)


async def test_a_limit_that_falls_is_kept_to():
    api = LimitedApi(ManualClock(), running_tasks=20)
    buying = asyncio.create_task(_bought(api, 4000))
    await api.clock.sleep(600)
    api.running_tasks, before = 5, api.refused
    await api.clock.sleep(1800)
    assert api.running == 5
    assert api.refused - before <= 15
    buying.cancel()
    await asyncio.gather(buying, return_exceptions=True)


async def test_a_burst_of_refusals_that_has_nothing_to_do_with_the_run_is_gotten_over():
    api = LimitedApi(ManualClock(), retry_after_s=1)
    buying = asyncio.create_task(_bought(api, 8000, in_flight=40))
    await api.clock.sleep(300)
    api.a_minute = 0
    await api.clock.sleep(30)
    api.a_minute = float("inf")
    await api.clock.sleep(900)
    assert api.running >= 38
    buying.cancel()
    await asyncio.gather(buying, return_exceptions=True)


async def test_what_is_refused_first_is_a_few_submits_and_not_all_that_were_to_be_sent():
    api = LimitedApi(ManualClock(), running_tasks=7)
    await _bought(api, 40)
    assert api.refused <= AT_ONCE


async def test_a_purchase_that_has_its_turn_and_does_not_submit_keeps_nobody_waiting():
    throttle = Throttle(Pace(in_flight=50), Gate(), ManualClock())

    async def one() -> None:
        async with throttle.place():
            await throttle.turn()
            throttle.give_back()
            await asyncio.Event().wait()

    others = [asyncio.create_task(one()) for _ in range(2 * AT_ONCE)]
    await settle()
    async with asyncio.timeout(5), throttle.place():
        await throttle.turn()
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
