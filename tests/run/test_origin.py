"""Whose edition it is: an edition goes on with the API that it was bought from, and says where its money is none."""

import json
import shutil
from pathlib import Path

import pytest
from support.desk import CliRig, open_desk
from support.shop import SandboxRig, one_row

from adloom.core.errors import PlanRefused
from adloom.core.origin import SANDBOX, UNKNOWN, Buying, Origin
from adloom.edges.settings import read_settings
from adloom.ledger.edition import Edition
from adloom.plan.assessment import Wish, assess
from adloom.plan.revision import read_newest
from adloom.targets import RunRequest, WallClock, open_source, open_store
from adloom.wiring import execute

REAL = Origin("https://api.evolink.ai")
MOVED = Origin("https://api.evolink.example")
HERE = Origin("http://127.0.0.1:8099", is_stand_in=True)
THERE = Origin("http://127.0.0.1:9000", is_stand_in=True)
EMBEDDED = Origin(SANDBOX, is_stand_in=True)
OLD_SANDBOX = Origin(is_stand_in=True)


@pytest.fixture
def other(tmp_path: Path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with open_desk(folder) as desk:
        yield desk


def test_an_edition_of_one_stand_in_is_refused_at_another_and_nothing_is_sent(desk: CliRig, other: CliRig):
    source = desk.write(one_row(2))
    assert desk.run("run", source).returncode == 0
    desk.write(one_row(5))
    done = desk.run("run", source, "--json", EVOLINK_BASE_URL=other.base_url)
    assert done.returncode == 2
    assert f"bought from the stand-in at {desk.base_url}" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2
    assert other.state()["posts_received"] == 0
    planned = desk.run("plan", source, EVOLINK_BASE_URL=other.base_url)
    assert planned.returncode == 0
    assert "a run would be refused" in planned.stdout
    assert desk.run("run", source, "--same-api", "moved", EVOLINK_BASE_URL=other.base_url).returncode == 2
    assert desk.run("run", source).returncode == 0
    assert desk.bought("table") == 5


def test_what_a_probe_has_proven_of_one_api_is_no_proof_for_another_on_the_same_host(desk: CliRig, other: CliRig):
    other.change(idempotency="honoured")
    assert desk.run("doctor", "--probe", "--yes", EVOLINK_BASE_URL=other.base_url).returncode == 0
    desk.post("script", {"route": "submit", "fault": "drop", "after": True})
    assert desk.run("run", desk.write(one_row(2))).returncode == 6
    assert desk.sent("table") == 1


def test_sandbox_is_said_wherever_money_is_shown(desk: CliRig):
    source = desk.write(one_row(2))
    desk.post("script", {"route": "submit", "fault": "drop", "after": True})
    planned = desk.run("plan", source, "--json")
    done = desk.run("run", source, "--json")
    status = desk.run("status", source, "--json")
    resolved = desk.run("resolve", source, "--json")
    doctor = desk.run("doctor")
    for shown in (planned.stderr, done.stderr, status.stderr, resolved.stderr, doctor.stdout):
        money = [line for line in shown.splitlines() if "$" in line or "credits" in line]
        assert money
        assert [line for line in money if "sandbox" not in line] == []
    for answer in (planned, done, status, resolved):
        data = json.loads(answer.stdout.splitlines()[-1])
        assert (data["sandbox"], data["origin"]) == (True, desk.base_url)
    manifest = desk.manifest()
    assert (manifest["sandbox"], manifest["origin"]) == (True, desk.base_url)


def test_the_sandbox_that_a_run_starts_has_the_same_origin_at_every_port(desk: CliRig):
    source = desk.write(one_row(2))
    for _ in range(2):
        done = desk.run("run", source, "--sandbox", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["origin"] == "sandbox"
    assert not (desk.edition / "plan-r2.json").exists()
    assert desk.run("run", source).returncode == 2
    assert desk.state()["posts_received"] == 0


@pytest.mark.parametrize(
    ("bought_from", "now", "asked", "same_api", "goes_on"),
    [
        (REAL, REAL, False, "", True),
        (REAL, MOVED, False, "", False),
        (REAL, MOVED, False, "they have a new name", True),
        (REAL, HERE, False, "they have a new name", False),
        (HERE, REAL, False, "they have a new name", False),
        (HERE, THERE, False, "", False),
        (HERE, THERE, False, "the port is new", False),
        (HERE, EMBEDDED, True, "", False),
        (EMBEDDED, EMBEDDED, True, "", True),
        (EMBEDDED, REAL, False, "", False),
        (OLD_SANDBOX, EMBEDDED, True, "", True),
        (OLD_SANDBOX, REAL, False, "why", False),
        (UNKNOWN, REAL, False, "", True),
        (UNKNOWN, HERE, False, "", True),
        (UNKNOWN, EMBEDDED, False, "", True),
        (UNKNOWN, EMBEDDED, True, "", False),
    ],
)
def test_an_edition_goes_on_with_its_own_api_alone(bought_from, now, asked, same_api, goes_on):
    refusal = Buying(now, sandbox=asked, same_api=same_api).refusal(bought_from, has_bought=True)
    assert (refusal == "") is goes_on


@pytest.mark.parametrize(
    ("planned_for", "now", "goes_on"),
    [(HERE, THERE, True), (REAL, MOVED, True), (HERE, REAL, False), (REAL, HERE, False), (OLD_SANDBOX, REAL, False)],
)
def test_an_edition_that_has_bought_nothing_may_have_had_a_wrong_address(planned_for, now, goes_on):
    assert (Buying(now).refusal(planned_for, has_bought=False) == "") is goes_on


def test_an_api_is_known_by_its_scheme_host_and_port():
    def origin(**variables: str) -> Origin:
        return read_settings(variables).origin

    assert origin() == REAL
    assert origin(EVOLINK_BASE_URL="https://API.evolink.ai/v2/") == REAL
    assert origin(EVOLINK_BASE_URL="http://127.0.0.1:8099", EVOLINK_FILES_URL="http://127.0.0.1:8099") == HERE
    assert origin(EVOLINK_BASE_URL="http://127.0.0.1:9", ADLOOM_EMBEDDED_SANDBOX="1") == EMBEDDED


async def _run(shop: SandboxRig, origin: Origin, **wish: object):
    """A run that takes the sandbox for another API, so that no stranger's server is needed."""
    store = open_store(shop.settings.archive)
    source = open_source(RunRequest(str(shop.campaign)), shop.settings)
    assessment = await assess(store, WallClock(), source, Edition("test", "main"), Wish(origin=origin, **wish))
    return await execute(shop.settings, store, assessment)


async def test_an_api_that_has_moved_is_recorded_with_its_reason(shop: SandboxRig):
    shop.write(one_row(2))
    assert (await _run(shop, REAL)).exit_code == 0
    with pytest.raises(PlanRefused, match=r"bought from https://api\.evolink\.ai"):
        await _run(shop, MOVED)
    assert (await _run(shop, MOVED, same_api="they have a new name")).exit_code == 0
    plan = json.loads((shop.edition() / "plan-r2.json").read_text())
    assert plan["same_api"] == {"was": REAL.address, "reason": "they have a new name"}
    assert (await _run(shop, MOVED)).exit_code == 0
    with pytest.raises(PlanRefused):
        await _run(shop, REAL)
    assert shop.bought() == 2


async def test_an_edition_without_an_origin_takes_the_one_of_the_run_that_makes_its_next_plan(shop: SandboxRig):
    shop.write(one_row(2))
    assert (await _run(shop, UNKNOWN)).exit_code == 0
    assert "origin" not in json.loads((shop.edition() / "manifest.json").read_text())
    before = (shop.edition() / "plan-r1.json").read_bytes()
    assert (await shop.run()).exit_code == 0
    assert (shop.edition() / "plan-r1.json").read_bytes() == before
    assert not (shop.edition() / "plan-r2.json").exists()
    shop.write(one_row(3))
    assert (await shop.run()).exit_code == 0
    newest = await read_newest(open_store(shop.settings.archive), Edition("test", "main"))
    assert newest is not None
    assert newest.origin == shop.settings.origin
    assert shop.bought() == 3


async def test_a_copy_of_an_edition_keeps_its_origin(shop: SandboxRig, tmp_path: Path):
    shop.write(one_row(2))
    assert (await _run(shop, REAL)).exit_code == 0
    shutil.copytree(shop.settings.archive, tmp_path / "copy")
    copy = shop.with_settings(archive=str(tmp_path / "copy"))
    copy.campaign = shop.campaign
    with pytest.raises(PlanRefused):
        await copy.run()
    assert shop.bought() == 2
