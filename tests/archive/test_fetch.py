"""Results that waver after their task's end, judged by the sandbox's charge log: bought once, and nothing given up."""

from collections import Counter

import pytest
from support.shop import Hurried, SandboxRig, campaign_text, hurry, one_row

from adloom.core.outcomes import Status
from adloom.ledger.edition import Edition
from adloom.publish.checksums import verify
from adloom.publish.repair import repair
from adloom.run.sweep import sweep
from adloom.targets import new_ledger, open_store
from adloom.wiring import open_world

EDITION = Edition("test", "main")
FAILED = frozenset({Status.FAILED, Status.SHORT})
EIGHTY = campaign_text(
    "  - {id: cup, prompt: 'a {{ x }} cup', variants: 8, matrix: {x: [red, blue, green, gray, pink, teal, gold, jade, "
    "rose, lime]}}\n"
)
BRIEF = [
    {"young_link_tries": 1, "young_link_status": 403},
    {"young_link_tries": 3, "young_link_status": 404},
    {"young_link_s": 1, "young_link_status": 410},
    {"young_picture_tries": 4, "young_picture_damage": "html"},
    {"young_picture_tries": 4, "young_picture_damage": "empty"},
    {"young_picture_s": 1, "young_picture_damage": "corrupt"},
    {"renewed_link_life_s": 0.3},
]
FOR_EVER = [
    {"young_link_s": 99999, "young_link_status": 403},
    {"young_link_s": 99999, "young_link_status": 404},
    {"young_picture_s": 99999, "young_picture_damage": "html"},
    {"young_picture_s": 99999, "young_picture_damage": "empty"},
    {"young_picture_s": 99999, "young_picture_damage": "corrupt"},
    {"renewed_link_life_s": 0.000001},
]
OFF = {"young_link_tries": 0, "young_link_s": 0, "young_picture_tries": 0, "young_picture_s": 0}
OFF |= {"renewed_link_life_s": 0}


@pytest.fixture(params=[0.2, 3.0])
def slow_shop(request: pytest.FixtureRequest, shop: SandboxRig, monkeypatch: pytest.MonkeyPatch) -> SandboxRig:
    """A shop at an interval that people use, on a clock that runs fast."""
    hurry(monkeypatch, 10 if request.param < 1 else 100)
    return shop.with_settings(poll_interval_s=request.param)


def later(hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hurried, "ahead_s", hours * 3600)


def posts(shop: SandboxRig) -> int:
    return int(str(shop.sandbox.state()["posts_received"]))


def totals(shop: SandboxRig, result) -> tuple[int, ...]:
    found = result.published.manifest["totals"]
    return tuple(found[name] for name in ("archived", "short", "refused", "failed", "held", "open"))


@pytest.mark.parametrize("switches", BRIEF, ids=str)
async def test_what_passes_within_a_second_costs_no_image(slow_shop: SandboxRig, switches: dict[str, object]):
    slow_shop.write(one_row(6))
    slow_shop.sandbox.change(**switches)
    runs = 1
    while (result := await slow_shop.run()).exit_code == 7 and runs < 5:
        runs += 1
    assert result.exit_code == 0
    assert runs == 1 or not any(name.endswith("_tries") for name in switches)
    assert totals(slow_shop, result) == (6, 0, 0, 0, 0, 0)
    assert (posts(slow_shop), slow_shop.bought()) == (1, 6)


@pytest.mark.parametrize("switches", FOR_EVER, ids=str)
async def test_what_lasts_for_a_run_leaves_its_images_open_for_the_next(
    slow_shop: SandboxRig, switches: dict[str, object]
):
    slow_shop.write(one_row(4))
    slow_shop.sandbox.change(**switches)
    first = await slow_shop.run()
    assert first.exit_code == 7
    assert totals(slow_shop, first) == (0, 0, 0, 0, 0, 4)
    assert {line["reason"] for line in slow_shop.lines()} == {"paid, not fetched yet"}
    slow_shop.sandbox.change(**OFF)
    second = await slow_shop.run()
    assert totals(slow_shop, second) == (4, 0, 0, 0, 0, 0)
    assert (second.exit_code, posts(slow_shop), slow_shop.bought()) == (0, 1, 4)


@pytest.mark.parametrize("slow_shop", [0.2], indirect=True)
async def test_eighty_images_behind_a_firewall_are_all_collected_by_a_later_run(slow_shop: SandboxRig):
    shop = slow_shop
    Hurried.speed *= 10
    shop.write(EIGHTY)
    shop.sandbox.change(young_link_s=99999, young_link_status=403)
    first = await shop.run()
    assert first.exit_code == 7
    assert totals(shop, first) == (0, 0, 0, 0, 0, 80)
    bought = posts(shop)
    assert shop.bought() == 80
    assert (await shop.run(only=FAILED)).exit_code == 7
    store = open_store(shop.settings.archive)
    verdict = await verify(store, EDITION, new_ledger(store, EDITION))
    async with open_world(shop.settings, open_store(shop.settings.archive)) as world:
        await repair(store, EDITION, new_ledger(store, EDITION), verdict, nothing, world.decoder)
    assert posts(shop) == bought
    shop.sandbox.change(young_link_s=0)
    last = await shop.run()
    assert (last.exit_code, totals(shop, last)) == (0, (80, 0, 0, 0, 0, 0))
    assert (posts(shop), shop.bought()) == (bought, 80)


async def nothing(_link: str) -> bytes | None:
    return None


async def test_the_sweep_collects_what_a_run_could_not(shop: SandboxRig):
    shop.write(one_row(3))
    shop.sandbox.change(young_link_s=99999)
    assert (await shop.run()).exit_code == 7
    shop.sandbox.change(young_link_s=0)
    async with open_world(shop.settings, open_store(shop.settings.archive)) as world:
        assert (await sweep(world, EDITION)).fetched == 1
    assert (posts(shop), (await shop.run()).exit_code) == (1, 0)


@pytest.mark.parametrize("switches", FOR_EVER[:3:2], ids=str)
async def test_what_never_passes_is_failed_once_its_links_have_had_their_time(
    slow_shop: SandboxRig, switches: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    slow_shop.write(one_row(2))
    slow_shop.sandbox.change(**switches)
    later(0, monkeypatch)
    await slow_shop.run()
    later(23.5, monkeypatch)
    assert (await slow_shop.run()).exit_code == 7
    later(24.5, monkeypatch)
    result = await slow_shop.run()
    assert (result.exit_code, totals(slow_shop, result)) == (3, (0, 0, 0, 2, 0, 0))
    kept = sorted(path.name for path in (slow_shop.edition() / "quarantine").glob("*"))
    reasons = [str(line["reason"]) for line in slow_shop.lines()]
    assert all("lost" in reason or any(name in reason for name in kept) for reason in reasons)
    assert len(kept) == (2 if "young_picture_s" in switches else 0)
    assert posts(slow_shop) == 1
    assert (await slow_shop.run()).exit_code == 3
    assert posts(slow_shop) == 1


@pytest.mark.parametrize("form", ["path", "query", "signature"])
@pytest.mark.parametrize("refused", [1, 2])
async def test_fresh_links_in_another_order_give_every_variant_its_own_picture(
    shop: SandboxRig, form: str, refused: int
):
    shop.write(one_row(6))
    shop.sandbox.change(reverse_later_results=True, link_form=form)
    shop.sandbox.script(route="image", fault="status", status=403, times=refused)
    assert (await shop.run()).exit_code == 0
    assert len({line["sha256"] for line in shop.lines()}) == 6
    assert (posts(shop), shop.bought()) == (1, 6)


async def test_a_link_that_is_refused_is_read_anew_only_after_a_wait(slow_shop: SandboxRig):
    slow_shop.write(one_row(8))
    slow_shop.sandbox.change(young_link_s=99999)
    await slow_shop.run()
    requests = Counter(slow_shop.sandbox.state()["requests"])
    assert requests["image"] == 8 * 8
    assert requests["task"] + requests["batch"] <= 8 * 7 + 4


async def test_an_ordinary_run_asks_for_nothing_more_than_before(shop: SandboxRig):
    shop.write(one_row(6))
    shop.sandbox.change(task_seconds=0)
    assert (await shop.run()).exit_code == 0
    requests = Counter(shop.sandbox.state()["requests"])
    assert (requests["image"], requests["submit"]) == (6, 1)
    assert requests["task"] + requests["batch"] <= 2


@pytest.mark.parametrize("form", ["path", "query", "signature"])
@pytest.mark.parametrize("turned", [False, True])
async def test_late_results_under_new_signatures_are_the_same_images(shop: SandboxRig, form: str, turned: bool):  # noqa: FBT001
    shop.write(one_row(6))
    shop.sandbox.change(late_results_rate=1, late_results="partial", late_results_readings=3)
    shop.sandbox.change(renewed_link_life_s=60, link_form=form, reverse_later_results=turned)
    assert (await shop.run()).exit_code == 0
    lines = shop.lines()
    assert len({line["sha256"] for line in lines}) == 6
    assert (posts(shop), shop.bought()) == (1, 6)
    assert not list((shop.edition() / "extras").glob("*"))


async def test_a_short_set_under_new_signatures_is_topped_up(shop: SandboxRig):
    shop.write(one_row(6))
    shop.sandbox.script(route="outcome", fault="completed", images=4)
    shop.sandbox.change(renewed_link_life_s=60, show_credits_used=False, show_billing=False)
    assert (await shop.run()).exit_code == 0
    assert (posts(shop), shop.bought()) == (2, 6)
    assert len({line["sha256"] for line in shop.lines()}) == 6


async def test_a_result_above_64_mib_is_archived_as_received(shop: SandboxRig):
    shop.write(one_row(1))
    shop.sandbox.change(picture_bytes=66 * 2**20)
    assert (await shop.run()).exit_code == 0
    (line,) = shop.lines()
    assert (shop.edition() / str(line["key"])).stat().st_size == line["size_bytes"] > 64 * 2**20
    assert (posts(shop), shop.bought()) == (1, 1)
