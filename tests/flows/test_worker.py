"""Runs that a worker starts, as people start them in the UI; the sandbox's charge log judges what was bought."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.desk import CliRig, ended
from support.prefect_server import ENDED, ROOT, PrefectServer, Worker, until
from support.s3_server import BUCKET, S3Server
from support.shop import campaign_text
from support.wire import Wire, laid_wire

from adloom.orchestration.automations import watch_runs

ROWS = 30
ANSWERS_AFTER_S = 0.25
FIRES_IN_S = 20
"""Until then the server's scheduler has looked for new schedules."""

pytestmark = pytest.mark.timeout(900)  # a server, a worker and eight runs start up within the first test


def write(desk: CliRig, name: str, rows: int = 3, in_flight: int = 1) -> str:
    """A campaign whose prompts hold its name; one call at a time, so that there is time to interfere."""
    colours = ", ".join(f"colour{number}" for number in range(rows))
    job = f"  - {{id: cup, prompt: 'a {{{{ colour }}}} {name}', variants: 1, matrix: {{colour: [{colours}]}}}}\n"
    text = campaign_text(job, budget="{usd: 5}", more=f"limits: {{in_flight: {in_flight}}}\n")
    return desk.write(text.replace("campaign: test", f"campaign: {name}"), f"{name}.yaml")


def totals(s3: S3Server, name: str, edition: str = "main") -> dict[str, int]:
    found = s3.client().get_object(Bucket=BUCKET, Key=f"archive/{name}/{edition}/manifest.json")
    return dict(json.loads(found["Body"].read())["totals"])


def scheduled(prefect_server: PrefectServer, deployment: str) -> list[dict[str, object]]:
    """The runs of a deployment that its schedules started and that have ended."""
    runs = prefect_server.ask(
        "flow_runs/filter",
        deployments={"id": {"any_": [deployment]}},
        flow_runs={"state": {"type": {"any_": sorted(ENDED)}}},
    )
    return [run for run in runs if run["auto_scheduled"]]


@pytest.fixture(scope="module")
def fired(prefect_server: PrefectServer, desk: CliRig, worker: Worker) -> str:
    """The date of a moment to come, and of another one for a busy server, that two schedules are set for."""
    moment = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(seconds=FIRES_IN_S)
    later = moment + timedelta(minutes=4)
    cron = f"{moment.minute},{later.minute} {moment.hour},{later.hour} * * * {moment.second}"
    deployment = prefect_server.get("deployments/name/campaign/weekly")["id"]
    for slug in ("one", "two"):
        schedule = {"cron": cron, "timezone": "Europe/Berlin"}
        parameters = {"other_campaign": write(desk, "fired")}
        body = [{"active": True, "schedule": schedule, "parameters": parameters, "slug": slug}]
        prefect_server.ask(f"deployments/{deployment}/schedules", body)
    return moment.date().isoformat()


@pytest.fixture(scope="module")
def pressed(prefect_server: PrefectServer, desk: CliRig, worker: Worker) -> dict[str, str]:
    """Runs that the first tests look at, started at once.

    A run takes seconds of a processor to start, and with too many of them the server's database stays locked; so there
    are groups. A worker's ``--limit`` is no way out: with it, Prefect 3.8.8 ends when a suspended run comes back.
    """
    run = prefect_server.press_run
    plates = "id,prompt,colour\na,a {{ colour }} plate,red\nb,a {{ colour }} plate,blue\n"
    csv = {"csv_text": plates, "name": "plates", "size": "1:1", "quality": "1K", "dry_run": False}
    return {
        "dry": run("campaign/by-hand", other_campaign=write(desk, "dry", 9 * ROWS), budget_usd=100000),
        "first": run("csv/bulk", **csv),
        "second": run("csv/bulk", **csv),
    }


@pytest.fixture(scope="module")
def asked(prefect_server: PrefectServer, desk: CliRig, worker: Worker) -> dict[str, str]:
    """Runs that need another one, or a word of somebody's."""
    run = prefect_server.press_run
    by_hand = "campaign/by-hand"
    saucers = desk.write("id,c\n" + "".join(f"r{n},no {n}\n" for n in range(ROWS)), "saucers.csv")
    csv = {
        "csv_file": saucers,
        "name": "saucers",
        "prompt": "{{ c }} saucer",
        "size": "1:1",
        "quality": "1K",
        "dry_run": False,
    }
    return {
        "shared": run("csv/bulk", **csv, runs=2),
        "yes": run(by_hand, other_campaign=write(desk, "yes"), dry_run=False, approve_above_usd=0.01),
    }


@pytest.fixture(scope="module")
def wired(prefect_server: PrefectServer, desk: CliRig) -> "Iterator[dict[str, subprocess.Popen[str]]]":
    """Runs of the command line that the tests at the end look at: a server that is slow, and one that is gone."""

    def run(name: str, wire: Wire) -> "subprocess.Popen[str]":
        return desk.start("run", write(desk, name, ROWS), PREFECT_API_URL=f"http://127.0.0.1:{wire.port}/api")

    port = prefect_server.port
    with laid_wire(port, delay_s=ANSWERS_AFTER_S) as slow, laid_wire(port) as cut:
        yield {"slow": run("slow", slow), "gone": cut_in_the_middle(desk, run("gone", cut), cut)}


def cut_in_the_middle(desk: CliRig, process: "subprocess.Popen[str]", wire: Wire) -> "subprocess.Popen[str]":
    until(lambda: desk.sent("gone") >= 3)
    wire.cut()
    assert desk.sent("gone") < ROWS
    return process


def test_a_dry_run_shows_the_price_and_the_ceiling_of_the_worker_and_sends_nothing(
    prefect_server: PrefectServer,
    desk: CliRig,
    pressed: dict[str, str],
    wired: "dict[str, subprocess.Popen[str]]",  # takes half a minute, so it begins here
):
    run = prefect_server.ended(pressed["dry"])
    assert (run["name"], run["state"]["name"]) == ("dry-main", "Planned")
    assert "to buy    270 images in 270 calls" in run["state"]["message"]
    assert "budget    sandbox $6.00" in run["state"]["message"]
    assert "short; a run would buy nothing" in run["state"]["message"]
    assert "price" in prefect_server.artifacts(run)["dry-plan"]["data"]
    assert not desk.sent("dry")


def test_a_pasted_csv_started_twice_at_once_is_bought_once(
    prefect_server: PrefectServer, desk: CliRig, pressed: dict[str, str]
):
    runs = [prefect_server.ended(pressed[name]) for name in ("first", "second")]
    assert [run["state"]["name"] for run in runs] == ["Completed"] * 2
    assert desk.bought("plate") == desk.sent("plate") == 2


def test_a_csv_that_two_runs_share_is_bought_once_by_both(
    prefect_server: PrefectServer, desk: CliRig, asked: dict[str, str]
):
    [part] = shares_of(prefect_server, "saucers.csv")
    runs = [prefect_server.ended(run) for run in (asked["shared"], str(part["id"]))]
    assert [run["state"]["name"] for run in runs] == ["Completed"] * 2
    assert desk.bought("saucer") == desk.sent("saucer") == ROWS


def test_above_the_sum_a_run_waits_for_a_yes_before_it_buys(
    prefect_server: PrefectServer, desk: CliRig, asked: dict[str, str]
):
    until(lambda: prefect_server.get(f"flow_runs/{asked['yes']}")["state"]["name"] == "Suspended")
    assert not desk.sent("yes")
    prefect_server.ask(f"flow_runs/{asked['yes']}/resume", run_input={"approve": True})
    assert prefect_server.ended(asked["yes"])["state"]["name"] == "Completed"
    assert desk.bought("yes") == desk.sent("yes") == 3


def test_a_second_round_above_the_sum_waits_for_a_yes_as_the_first_does(
    prefect_server: PrefectServer, desk: CliRig, worker: Worker, fired: str, s3: S3Server
):
    source, archive = write(desk, "round"), {"ADLOOM_ARCHIVE": f"s3://{BUCKET}/archive", **s3.environment()}
    assert desk.run("run", source, "--direct", **archive).returncode == 0
    found = s3.client().get_object(Bucket=BUCKET, Key="archive/round/main/assets.jsonl")
    row = json.loads(found["Body"].read().splitlines()[0])["row"]
    review = desk.write(f"job,row,variant,take,decision,change\ncup,{row},1,1,rejected,on ice\n", "round.csv")
    assert desk.run("review", source, "--apply", review, **archive).returncode == 0
    asked = {"other_campaign": source, "dry_run": False, "only": "rejected", "approve_above_usd": 0.01}
    run = prefect_server.press_run("campaign/by-hand", **asked)
    until(lambda: prefect_server.get(f"flow_runs/{run}")["state"]["name"] == "Suspended")
    assert not desk.sent("on ice")
    prefect_server.ask(f"flow_runs/{run}/resume", run_input={"approve": True})
    assert prefect_server.ended(run)["state"]["name"] == "Completed"
    assert desk.bought("on ice") == desk.sent("on ice") == 1


def test_a_schedule_that_fires_twice_buys_the_edition_of_its_date_once(
    prefect_server: PrefectServer, desk: CliRig, fired: str, s3: S3Server
):
    """With SQLAlchemy 2.1, which Prefect's own requirements allow, a server never starts a scheduled run."""
    deployment = prefect_server.get("deployments/name/campaign/weekly")["id"]
    until(lambda: len(scheduled(prefect_server, deployment)) >= 2)
    for schedule in prefect_server.get(f"deployments/{deployment}/schedules"):
        prefect_server.delete(f"deployments/{deployment}/schedules/{schedule['id']}")
    runs = scheduled(prefect_server, deployment)
    assert {(run["name"], run["state"]["name"]) for run in runs} == {(f"fired-{fired}", "Completed")}
    assert desk.bought("fired") == desk.sent("fired") == 3
    assert totals(s3, "fired", fired)["archived"] == 3


def test_cancel_collects_what_is_paid_and_retry_buys_the_rest_once(
    prefect_server: PrefectServer, desk: CliRig, s3: S3Server
):
    source = write(desk, "stopped", ROWS)
    run = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    until(lambda: desk.sent("stopped") >= 3)
    prefect_server.set_state(run, "CANCELLING", "Cancelling")
    state = prefect_server.ended(run)["state"]
    assert state["type"] == "CANCELLED", state
    paid = desk.sent("stopped")
    assert totals(s3, "stopped")["archived"] == paid < ROWS
    # The worker's own word about the cancellation may come after Retry was pressed, and between two readings.
    state = prefect_server.ended(run, but={"CANCELLED"})["state"]
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed"), state
    assert desk.bought("stopped") == desk.sent("stopped") == ROWS


@pytest.fixture(scope="module")
def limited(prefect_server: PrefectServer, desk: CliRig, worker: Worker) -> dict[str, str]:
    """Runs that ask for more than their worker leaves to a form, after those above have ended."""
    run = prefect_server.press_run
    by_hand = "campaign/by-hand"
    return {
        "dear": run(by_hand, other_campaign=write(desk, "dear", 5 * ROWS), dry_run=False, approve_above_usd=0, runs=16),
        "secret": run(by_hand, other_campaign=secrets(desk), dry_run=False),
        "nobody's": run("share/share", campaign=str(desk.folder / "dry.yaml"), edition="main", number=0, runs=1),
    }


def secrets(desk: CliRig) -> str:
    """A file that the worker may read and the people at its forms may not."""
    folder = desk.folder.parent / f"{desk.folder.name}-secrets"
    folder.mkdir()
    (folder / "passwords.yaml").write_text('db_password: "CANARY-hunter2"\n  x: y\n')
    (desk.folder / "linked.yaml").symlink_to(folder / "passwords.yaml")
    return str(desk.folder / "linked.yaml")


def test_above_the_sum_of_the_worker_a_form_does_not_buy_without_a_yes_and_a_no_ends_it(
    prefect_server: PrefectServer, desk: CliRig, limited: dict[str, str]
):
    until(lambda: prefect_server.get(f"flow_runs/{limited['dear']}")["state"]["name"] == "Suspended")
    prefect_server.ask(f"flow_runs/{limited['dear']}/resume", run_input={"approve": False})
    assert prefect_server.ended(limited["dear"])["state"]["name"] == "Declined"
    assert not desk.sent("dear")


def test_a_form_reads_no_file_that_the_worker_does_not_leave_to_it(
    prefect_server: PrefectServer, desk: CliRig, limited: dict[str, str]
):
    run = prefect_server.ended(limited["secret"])
    assert run["state"]["name"] == "BadInput"
    assert "linked.yaml' is not in a folder that a form may read" in run["state"]["message"]
    assert "CANARY" not in json.dumps([run, prefect_server.artifacts(run)])


def test_a_share_is_not_for_people(prefect_server: PrefectServer, desk: CliRig, limited: dict[str, str]):
    state = prefect_server.ended(limited["nobody's"])["state"]
    assert state["name"] == "BadInput"
    assert "which asks for approval first" in state["message"]
    assert not desk.sent("dry")


@pytest.fixture(scope="module")
def killed(prefect_server: PrefectServer, desk: CliRig, worker: Worker) -> tuple[str, str]:
    """A run that died with its worker in the middle, and one that was started after it."""
    source = write(desk, "killed", ROWS)
    victim = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    watch_closely(prefect_server, victim)
    until(lambda: desk.sent("killed") >= 3)
    assert worker.process is not None
    pid = worker.process_of(victim)
    worker.process.kill()
    os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    worker.start()
    return victim, prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)


def watch_closely(prefect_server: PrefectServer, flow_run: str) -> None:
    """Have the shipped automations, for one flow run and with less patience: there is one heartbeat in 30 s."""
    text = (ROOT / "automations.yaml").read_text().replace("within: 180", "within: 10")
    file = prefect_server.home / "automations.yaml"
    file.write_text(text.replace("prefect.flow-run.*}", f"prefect.flow-run.{flow_run}}}"))
    assert [watch_runs(file, prefect_server.url, prefect_server.secret) for _ in range(2)] == [2, 0]


def test_a_worker_and_its_run_killed_in_the_middle_lose_nothing(
    prefect_server: PrefectServer, desk: CliRig, killed: tuple[str, str], s3: S3Server
):
    _, heir = killed
    judge_after_a_kill(prefect_server.ended(heir), desk, s3, "killed", ROWS)


def judge_after_a_kill(run: dict[str, Any], desk: CliRig, s3: S3Server, name: str, wanted: int) -> None:
    """A kill between a purchase and its answer leaves that one held; nothing is lost, and nothing bought twice."""
    found = totals(s3, name)
    held = found["held"]
    assert held <= 1
    assert found["archived"] + held == wanted
    assert run["state"]["name"] == ("Held" if held else "Completed")
    assert wanted - held <= desk.bought(name) == desk.sent(name) <= wanted


def test_two_workers_share_an_edition_and_one_killed_in_the_middle_leaves_its_share_to_the_other(
    prefect_server: PrefectServer, desk: CliRig, worker: Worker, s3: S3Server
):
    other = Worker(worker.environment, worker.log.with_name("other.log"))
    other.start()
    source = write(desk, "shared", 2 * ROWS, in_flight=2)
    whole = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False, runs=2)
    [part] = shares_of(prefect_server, "shared.yaml")
    pid = worker.process_of(str(part["id"]))
    until(lambda: desk.sent("shared") >= 6)
    assert other.process is not None
    other.process.kill()
    os.kill(pid, signal.SIGKILL)
    other.process.wait()
    judge_after_a_kill(prefect_server.ended(whole), desk, s3, "shared", 2 * ROWS)


def shares_of(prefect_server: PrefectServer, file: str) -> list[dict[str, object]]:
    """The flow runs that a run of a campaign file has started to share the work, once there are any."""
    share = prefect_server.get("deployments/name/share/share")["id"]
    found: list[dict[str, Any]] = []

    def are_started() -> bool:
        runs = prefect_server.ask("flow_runs/filter", deployments={"id": {"any_": [share]}})
        found[:] = [run for run in runs if run["parameters"]["campaign"].endswith(file)]
        return found != []

    until(are_started)
    return found


def test_a_run_that_died_without_a_word_is_shown_as_crashed(prefect_server: PrefectServer, killed: tuple[str, str]):
    victim, _ = killed
    assert prefect_server.ended(victim)["state"]["name"] == "Crashed"


def test_a_server_restarted_in_the_middle_costs_nothing_and_every_task_run_ends(
    prefect_server: PrefectServer, desk: CliRig, worker: Worker, s3: S3Server
):
    source = write(desk, "restarted", ROWS)
    run = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    until(lambda: desk.sent("restarted") >= 3)
    prefect_server.stop()
    prefect_server.start()
    whole = prefect_server.ended(run)
    assert whole["state"]["type"] == "COMPLETED"
    tasks = prefect_server.task_runs(whole, expected=ROWS)
    assert [task["state"]["type"] for task in tasks] == ["COMPLETED"] * ROWS
    assert desk.bought("restarted") == desk.sent("restarted") == ROWS


@pytest.mark.parametrize(("name", "state"), [("slow", "COMPLETED"), ("gone", "RUNNING")])
def test_a_server_that_is_slow_or_gone_for_good_costs_a_run_nothing_but_what_is_shown_of_it(
    prefect_server: PrefectServer, desk: CliRig, wired: "dict[str, subprocess.Popen[str]]", name: str, state: str
):
    done = ended(wired[name])
    assert done.returncode == 0, done.stderr
    assert desk.bought(name) == desk.sent(name) == ROWS
    manifest = json.loads((desk.folder / "archive" / name / "main" / "manifest.json").read_text())
    assert (manifest["status"], manifest["totals"]["archived"]) == ("complete", ROWS)
    assert prefect_server.flow_run(f"{name}-main")["state"]["type"] == state
    assert ("Prefect did not record how this run ended" in done.stderr) == (name == "gone")
