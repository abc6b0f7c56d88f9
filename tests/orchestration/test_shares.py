"""How many runs share an edition, and what becomes of a share that cannot be started."""

import pytest
from support.fakes import FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, look_at

from adloom.core.campaign import Pace
from adloom.core.outcomes import Status
from adloom.core.selection import Selection
from adloom.orchestration import shares
from adloom.orchestration.shares import DEPLOYMENT, shares_of, start_others
from adloom.plan.assessment import Wish
from adloom.targets import RunRequest


@pytest.mark.parametrize(
    ("runs", "pace", "rows", "shared_by"),
    [
        (4, Pace(in_flight=16), 10, 4),
        (4, Pace(in_flight=2), 10, 2),
        (4, Pace(in_flight=16, submits_per_minute=3), 10, 3),
        (4, Pace(in_flight=16), 2, 2),
        (4, Pace(in_flight=16), 0, 1),  # whoever finds nothing to buy still finishes the edition
        (0, Pace(in_flight=16), 10, 1),
    ],
)
async def test_each_run_has_a_call_to_buy_and_its_part_of_the_limits(runs: int, pace: Pace, rows: int, shared_by: int):
    clock = ManualClock()
    source = FakeSource([a_row(f"row-{number}") for number in range(rows)], pace=pace)
    assessment = await look_at(a_world(MemoryStore(), clock, ScriptedApi(clock)), source)
    assert shares_of(assessment, runs) == shared_by


async def test_the_others_are_started_with_the_same_wish_and_their_own_number(monkeypatch: pytest.MonkeyPatch):
    started = []

    async def arun_deployment(name, *, parameters, timeout):  # noqa: ASYNC109 - Prefect's own name
        started.append((name, parameters, timeout))

    monkeypatch.setattr(shares, "arun_deployment", arun_deployment)
    again = frozenset({"set", "banner"})
    wish = Wish(only=frozenset({Status.SHORT}), refresh=again, selection=Selection(first=10, jobs=("hero", "detail")))
    await start_others(RunRequest("mugs.yaml", edition="june", wish=wish), 3)
    assert [(name, given["number"], given["runs"], timeout) for name, given, timeout in started] == [
        (DEPLOYMENT, 1, 3, 0),
        (DEPLOYMENT, 2, 3, 0),
    ]
    given = started[0][1]
    assert (given["campaign"], given["edition"], given["only"]) == ("mugs.yaml", "june", "short")
    assert (given["first_rows"], given["job"], given["refresh"]) == (10, "hero,detail", "banner,set")


async def test_a_share_that_cannot_be_started_is_left_to_the_others(monkeypatch: pytest.MonkeyPatch):
    asked, said = [], []

    async def arun_deployment(name, *, parameters, timeout):  # noqa: ASYNC109
        asked.append(parameters["number"])
        if parameters["number"] == 1:
            raise OSError("the server is away")

    class Log:
        def warning(self, text: str, *values: object) -> None:
            said.append(text % values)

    monkeypatch.setattr(shares, "arun_deployment", arun_deployment)
    monkeypatch.setattr(shares, "get_run_logger", Log)
    await start_others(RunRequest("mugs.yaml"), 3)
    assert asked == [1, 2]
    assert said == ["share 1 was not started (OSError); the other runs buy its part"]
