"""Runs that a worker starts, as people start them in the UI; the sandbox's charge log judges what was bought."""

import json
import os
import signal
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from desk import Desk
from prefect_server import ENDED, PrefectServer, Worker, until
from shop import campaign_text

ROWS = 30

pytestmark = pytest.mark.timeout(300)  # a server, a worker and eight runs start up within the first test


def write(desk: Desk, name: str, rows: int = 3, in_flight: int = 1) -> str:
    """A campaign whose prompts hold its name; one call at a time, so that there is time to interfere."""
    colours = ", ".join(f"colour{number}" for number in range(rows))
    job = f"  - {{id: cup, prompt: 'a {{{{ colour }}}} {name}', variants: 1, matrix: {{colour: [{colours}]}}}}\n"
    text = campaign_text(job, budget="{usd: 5}", more=f"limits: {{in_flight: {in_flight}}}\n")
    return desk.write(text.replace("campaign: test", f"campaign: {name}"), f"{name}.yaml")


def bought(desk: Desk, name: str) -> int:
    """Images that were made, and paid, for the prompts of a campaign."""
    return sum(int(str(charge["made"])) for charge in desk.charges() if str(charge["prompt"]).endswith(name))


def sent(desk: Desk, name: str) -> int:
    return len([charge for charge in desk.charges() if str(charge["prompt"]).endswith(name)])


def totals(desk: Desk, name: str, edition: str = "main") -> dict[str, int]:
    path = desk.folder / "archive" / name / edition / "manifest.json"
    return dict(json.loads(path.read_text())["totals"])


def scheduled(prefect_server: PrefectServer, deployment: str) -> list[dict[str, object]]:
    """The runs of a deployment that its schedules started and that have ended."""
    runs = prefect_server.ask(
        "flow_runs/filter",
        deployments={"id": {"any_": [deployment]}},
        flow_runs={"state": {"type": {"any_": sorted(ENDED)}}},
    )
    return [run for run in runs if run["auto_scheduled"]]


@pytest.fixture(scope="module")
def pressed(prefect_server: PrefectServer, desk: Desk, worker: Worker) -> dict[str, str]:
    """Runs that the tests below look at, all started at once: a worker takes seconds for each."""
    run = prefect_server.press_run
    by_hand = "campaign/by-hand"
    csv = {"csv_text": "id,prompt,colour\na,a {{ colour }} plate,red\nb,a {{ colour }} plate,blue\n", "name": "plates"}
    return {
        "dry": run(by_hand, other_campaign=write(desk, "dry")),
        "first": run(by_hand, other_campaign=write(desk, "twice"), dry_run=False),
        "second": run(by_hand, other_campaign=write(desk, "twice"), dry_run=False),
        "csv": run("csv/bulk", **csv, size="1:1", quality="1K", dry_run=False),
        "yes": run(by_hand, other_campaign=write(desk, "yes"), dry_run=False, approve_above_usd=0.01),
        "no": run(by_hand, other_campaign=write(desk, "no"), dry_run=False, approve_above_usd=0.01),
        "wrong": run(by_hand, other_campaign="nowhere.yaml", dry_run=False),
    }


def test_a_dry_run_shows_the_price_and_sends_nothing(
    prefect_server: PrefectServer, desk: Desk, pressed: dict[str, str]
):
    run = prefect_server.ended(pressed["dry"])
    assert (run["name"], run["state"]["name"]) == ("dry-main", "Planned")
    assert "to buy    3 images in 3 calls" in run["state"]["message"]
    assert "price" in prefect_server.artifacts(run)["dry-plan"]["data"]
    assert not sent(desk, "dry")


def test_the_same_edition_triggered_twice_at_once_is_bought_once(
    prefect_server: PrefectServer, desk: Desk, pressed: dict[str, str]
):
    for name in ("first", "second"):
        assert prefect_server.ended(pressed[name])["state"]["type"] == "COMPLETED"
    assert bought(desk, "twice") == sent(desk, "twice") == 3


def test_a_pasted_csv_is_bought_and_pasted_again_buys_nothing(
    prefect_server: PrefectServer, desk: Desk, pressed: dict[str, str]
):
    run = prefect_server.ended(pressed["csv"])
    assert (run["name"], run["state"]["name"]) == ("plates-main", "Completed"), run["state"]
    assert bought(desk, "plate") == 2
    again = prefect_server.ended(prefect_server.press_run("csv/bulk", **run["parameters"]))
    assert again["state"]["name"] == "Completed"
    assert sent(desk, "plate") == 2


def test_above_the_sum_a_run_waits_for_a_yes_before_it_buys_and_a_no_ends_it(
    prefect_server: PrefectServer, desk: Desk, pressed: dict[str, str]
):
    for name, approve in (("yes", True), ("no", False)):
        until(lambda name=name: prefect_server.get(f"flow_runs/{pressed[name]}")["state"]["name"] == "Suspended")
        assert not sent(desk, name)
        prefect_server.ask(f"flow_runs/{pressed[name]}/resume", run_input={"approve": approve})
    assert prefect_server.ended(pressed["yes"])["state"]["name"] == "Completed"
    assert prefect_server.ended(pressed["no"])["state"]["name"] == "Declined"
    assert (bought(desk, "yes"), sent(desk, "no")) == (3, 0)


def test_a_wrong_entry_ends_the_run_with_a_sentence(prefect_server: PrefectServer, pressed: dict[str, str]):
    state = prefect_server.ended(pressed["wrong"])["state"]
    assert (state["type"], state["name"]) == ("FAILED", "BadInput")
    assert "nowhere.yaml: this campaign does not exist." in state["message"]


def test_cancel_collects_what_is_paid_and_retry_buys_the_rest_once(
    prefect_server: PrefectServer, desk: Desk, worker: Worker
):
    source = write(desk, "stopped", ROWS)
    run = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    until(lambda: sent(desk, "stopped") >= 3)
    prefect_server.set_state(run, "CANCELLING", "Cancelling")
    state = prefect_server.ended(run)["state"]
    assert state["type"] == "CANCELLED", state
    paid = sent(desk, "stopped")
    assert totals(desk, "stopped")["archived"] == paid < ROWS

    def is_not_cancelled_again() -> bool:
        """Press Retry until it takes: the worker's own word about the cancellation may come after the first press."""
        is_over = prefect_server.ended(run)["state"]["type"] != "CANCELLED"
        if not is_over:
            prefect_server.set_state(run, "SCHEDULED", "AwaitingRetry")
        return is_over

    until(is_not_cancelled_again)
    state = prefect_server.ended(run)["state"]
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed"), state
    assert bought(desk, "stopped") == sent(desk, "stopped") == ROWS


def test_a_worker_and_its_run_killed_in_the_middle_lose_nothing(
    prefect_server: PrefectServer, desk: Desk, worker: Worker
):
    source = write(desk, "killed", ROWS)
    victim = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    until(lambda: sent(desk, "killed") >= 3)
    assert worker.process is not None
    pid = worker.process_of(victim)
    worker.process.kill()
    os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    worker.start()
    heir = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    assert prefect_server.ended(heir)["state"]["type"] == "COMPLETED"
    assert bought(desk, "killed") == sent(desk, "killed") == ROWS
    assert totals(desk, "killed")["archived"] == ROWS


def test_two_workers_share_an_edition_and_one_killed_in_the_middle_leaves_its_share_to_the_other(
    prefect_server: PrefectServer, desk: Desk, worker: Worker
):
    other = Worker(worker.environment, worker.log.with_name("other.log"))
    other.start()
    source = write(desk, "shared", 2 * ROWS, in_flight=2)
    whole = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False, runs=2)
    share = prefect_server.get("deployments/name/share/share")["id"]
    until(lambda: shares_of(prefect_server, share) != [])
    [part] = shares_of(prefect_server, share)
    pid = worker.process_of(str(part["id"]))
    until(lambda: sent(desk, "shared") >= 6)
    assert other.process is not None
    other.process.kill()
    os.kill(pid, signal.SIGKILL)
    other.process.wait()
    assert prefect_server.ended(whole)["state"]["type"] == "COMPLETED"
    assert bought(desk, "shared") == sent(desk, "shared") == 2 * ROWS
    assert totals(desk, "shared")["archived"] == 2 * ROWS


def shares_of(prefect_server: PrefectServer, deployment: str) -> list[dict[str, object]]:
    return list(prefect_server.ask("flow_runs/filter", deployments={"id": {"any_": [deployment]}}))


def test_a_schedule_that_fires_twice_buys_the_edition_of_its_date_once(
    prefect_server: PrefectServer, desk: Desk, worker: Worker
):
    deployment = prefect_server.get("deployments/name/campaign/weekly")["id"]
    every_minute = {"cron": "* * * * *", "timezone": "Europe/Berlin"}
    parameters = {"other_campaign": write(desk, "fired")}
    for slug in ("one", "two"):
        body = [{"active": True, "schedule": every_minute, "parameters": parameters, "slug": slug}]
        prefect_server.ask(f"deployments/{deployment}/schedules", body)
    until(lambda: len(scheduled(prefect_server, deployment)) >= 2, 100)
    runs = scheduled(prefect_server, deployment)[:2]
    today = datetime.now(ZoneInfo("Europe/Berlin")).date().isoformat()
    assert {run["name"] for run in runs} == {f"fired-{today}"}
    assert bought(desk, "fired") == sent(desk, "fired") == 3
    assert totals(desk, "fired", today)["archived"] == 3


def test_a_server_restarted_in_the_middle_costs_nothing_and_every_task_run_ends(
    prefect_server: PrefectServer, desk: Desk, worker: Worker
):
    source = write(desk, "restarted", ROWS)
    run = prefect_server.press_run("campaign/by-hand", other_campaign=source, dry_run=False)
    until(lambda: sent(desk, "restarted") >= 3)
    prefect_server.stop()
    prefect_server.start()
    assert prefect_server.ended(run)["state"]["type"] == "COMPLETED"
    assert bought(desk, "restarted") == sent(desk, "restarted") == ROWS
