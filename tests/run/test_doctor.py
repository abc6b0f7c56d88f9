"""The checks of ``adloom doctor``: each says what was found, and what to do where something does not work."""

from decimal import Decimal

import pytest
from support.fakes import ManualClock, MemoryStore, ScriptedApi

from adloom.core.errors import AccountStopped, StoreRefused, StoreUnavailable
from adloom.core.origin import SANDBOX, UNKNOWN, Origin
from adloom.core.task import Credits
from adloom.plan.planner import Planner
from adloom.run.doctor import PROBE_PRICE, ProbeSource, check_account, check_archive, check_clock


async def test_a_good_archive_works_and_a_second_look_at_it_does_too(store: MemoryStore):
    assert [(await check_archive(store, token)).works for token in ("one", "two")] == [True, True]


@pytest.mark.parametrize("keeps", ["the first", "the last"])
async def test_an_archive_that_creates_twice_is_found_out_whatever_it_keeps(store: MemoryStore, keeps: str):
    async def create(key, content, **_):
        if keeps == "the last" or key not in store.objects:
            store.objects[key] = content
        return True

    store.create = create
    check = await check_archive(store, "token")
    assert (check.works, "does not create objects only once" in check.found, bool(check.remedy)) == (False, True, True)


async def test_an_archive_that_lists_nothing_or_must_not_be_listed_does_not_work(store: MemoryStore):
    """Every other command lists."""

    async def nothing(prefix):
        return
        yield

    listing = store.list
    store.list = nothing
    assert "does not list what was just written" in (await check_archive(store, "one")).found
    store.list = listing

    def denied(operation, key):
        if operation == "list":
            raise StoreRefused("ListObjectsV2: AccessDenied", remedy="Allow s3:ListBucket.")

    store.fault = denied
    check = await check_archive(store, "two")
    assert (check.works, check.remedy) == (False, "Allow s3:ListBucket.")


async def test_a_full_archive_and_one_that_is_away_are_told_apart(store: MemoryStore):
    async def no_room():
        return False

    store.has_room = no_room
    full = await check_archive(store, "token")

    def away(operation, key):
        raise StoreUnavailable("the archive is away", remedy="Start it.")

    store.fault = away
    gone = await check_archive(store, "token")
    assert [(check.works, check.remedy) for check in (full, gone)] == [(False, "free some space"), (False, "Start it.")]
    assert "nearly full" in full.found


async def test_an_account_shows_what_is_left_and_whose_money_it_is(clock: ManualClock):
    api = ScriptedApi(clock)
    assert (await check_account(api, Origin(SANDBOX, is_stand_in=True))).found.startswith("sandbox 1000 credits left")

    async def limited():
        return Credits(Decimal("2.5"), Decimal(1000))

    api.credits = limited
    found = (await check_account(api, UNKNOWN)).found
    assert found == "1000 credits left on the account, 2.5 credits left on the key"


async def test_a_key_that_is_not_accepted_comes_with_its_remedy(clock: ManualClock):
    api = ScriptedApi(clock)

    async def stopped():
        raise AccountStopped("the key is not accepted", remedy="Set another key.")

    api.credits = stopped
    check = await check_account(api, UNKNOWN)
    assert (check.works, check.remedy) == (False, "Set another key.")


@pytest.mark.parametrize(("off_s", "works"), [(0, True), (60, True), (61, False), (-61, False)])
def test_a_clock_is_off_after_a_minute_in_either_direction(off_s, works):
    check = check_clock(1_790_000_000.0 + off_s, 1_790_000_000.0)
    assert check.works is works
    assert works or f"{off_s:+d} s" in check.found


def test_a_clock_that_nothing_can_be_compared_with_is_no_fault():
    assert check_clock(0, None).works


def test_a_probe_buys_one_of_the_cheapest_images_and_its_budget_holds_the_second_that_may_come():
    source = ProbeSource()
    (planned,) = Planner({}, {}).plan(source.rows())
    assert [len(call.variants) for call in planned.calls] == [1]
    assert source.campaign.budget is not None
    assert source.campaign.budget.credits == 2 * PROBE_PRICE
    assert next(source.rows()) == planned.row
