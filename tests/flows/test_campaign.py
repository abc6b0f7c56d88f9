"""The campaign as a flow, against a real Prefect server: what is bought, what state the run ends in, what is seen."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.desk import ADLOOM, CliRig, ended
from support.prefect_server import PrefectServer, until
from support.shop import campaign_text

DRAINED_CALLS = 20

pytestmark = pytest.mark.timeout(900)  # a server and seven runs start up within the first test


def campaign(name: str, budget: str = "{usd: 5}", variants: int = 2, colours: str = "red, blue, green") -> str:
    """Three calls whose prompts end with the campaign's name."""
    prompt = f"a {{{{ colour }}}} cup {name}"
    job = f"  - {{id: cup, prompt: '{prompt}', variants: {variants}, matrix: {{colour: [{colours}]}}}}\n"
    return campaign_text(job, budget=budget).replace("campaign: test", f"campaign: {name}")


@pytest.fixture(scope="module")
def started(desk: CliRig) -> "Iterator[dict[str, subprocess.Popen[str]]]":
    """Runs that the tests below look at, in two groups: a server that many start at at once locks its database."""
    desk.change(moderated_at_submit=["banned"], key_states={"sk-test-revoked": "revoked"})

    def run(name: str, *options: str, budget: str = "{usd: 5}", **environment: str) -> "subprocess.Popen[str]":
        return desk.start("run", desk.write(campaign(name, budget), f"{name}.yaml"), *options, **environment)

    colours = ", ".join(f"colour{number}" for number in range(DRAINED_CALLS))
    drained = desk.write(campaign("drained", variants=1, colours=colours), "drained.yaml")
    runs = {
        "drained": desk.start("run", drained, "--in-flight", "1"),
        "spring": run("spring", "--json"),
        "lonely": run("lonely", "--prefect", PREFECT_API_URL="http://127.0.0.1:9/api"),
        "stranger": run("stranger", PREFECT_API_AUTH_STRING="adloom:guessed"),
    }
    until(lambda: desk.sent("drained") > 0)
    runs["drained"].send_signal(signal.SIGTERM)
    runs |= {
        "poor": run("poor", budget="{usd: 0.01}"),
        "banned": run("banned"),
        "locked": run("locked", EVOLINK_API_KEY="sk-test-revoked"),
    }
    with ExitStack() as running:
        for process in runs.values():
            running.enter_context(process)
        yield runs


def test_a_campaign_runs_as_a_flow_with_its_name_its_tasks_and_its_result(
    desk: CliRig, prefect_server: PrefectServer, started: "dict[str, subprocess.Popen[str]]"
):
    done = ended(started["spring"])
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["totals"]["archived"] == 6
    run = prefect_server.flow_run("spring-main")
    assert run["state"]["type"] == "COMPLETED"
    assert "6 of 6 images archived; $0.14 charged by the sandbox, no real money." in run["state"]["message"]
    assert {"campaign:spring", "sandbox"} <= set(run["tags"])
    tasks = prefect_server.task_runs(run, expected=3)
    assert [task["state"]["type"] for task in tasks] == ["COMPLETED"] * 3
    assert all("2 images" in task["name"] for task in tasks)
    shown = prefect_server.artifacts(run)
    assert shown["spring-result"]["type"] == "markdown"
    assert "| images archived | 6 |" in shown["spring-result"]["data"]
    assert "| purchases sent | 3 |" in shown["spring-result"]["data"]
    assert "manifest.json" in shown["spring-manifest"]["data"]
    assert "gallery.html" in shown["spring-gallery"]["data"]
    assert "review.html" in shown["spring-review"]["data"]
    assert "6 images wait for a decision" in shown["spring-result"]["data"]
    assert shown["spring-progress"]["description"].startswith("6/6 images archived · 3 calls · 0 in flight · $0.1")
    sheet = shown["spring-contact-sheet"]["data"]
    assert sheet.startswith("![contact sheet](data:image/jpeg;base64,")
    assert len(sheet) < 130_000
    assert "spring-failures" not in shown
    assert "sk-test-canary" not in json.dumps([run, tasks, shown])
    assert desk.sent("spring") == 3


@pytest.mark.parametrize(
    ("name", "exit_code", "state"),
    [("poor", 4, "OverBudget"), ("banned", 3, "Refused"), ("locked", 5, "AccountStopped")],
)
def test_a_run_that_falls_short_ends_in_a_state_that_says_so(
    prefect_server: PrefectServer, started: "dict[str, subprocess.Popen[str]]", name: str, exit_code: int, state: str
):
    done = ended(started[name])
    assert done.returncode == exit_code, done.stdout + done.stderr
    run = prefect_server.flow_run(f"{name}-main")
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", state)
    assert "0 of 6 images archived" in run["state"]["message"]
    failures = prefect_server.artifacts(run).get(f"{name}-failures")
    rows = json.loads(failures["data"]) if failures else []
    assert [row["status"] for row in rows] == (["refused"] * 6 if exit_code == 3 else [])
    assert all(row["reason"] for row in rows)


def test_a_server_that_is_not_there_sends_nothing(desk: CliRig, started: "dict[str, subprocess.Popen[str]]"):
    done = ended(started["lonely"])
    assert done.returncode != 0
    assert "--direct" in done.stdout + done.stderr
    assert not desk.sent("lonely")


def test_a_server_that_wants_another_secret_sends_nothing(desk: CliRig, started: "dict[str, subprocess.Popen[str]]"):
    done = ended(started["stranger"])
    assert done.returncode == 2
    assert "rejects the secret in PREFECT_API_AUTH_STRING" in done.stderr
    assert not desk.sent("stranger")


def test_a_signal_drains_the_flow_and_the_next_one_goes_on(desk: CliRig, started: "dict[str, subprocess.Popen[str]]"):
    done = ended(started["drained"])
    assert done.returncode == 130, done.stderr
    assert desk.sent("drained") < DRAINED_CALLS
    assert desk.run("run", "drained.yaml").returncode == 0
    assert desk.sent("drained") == DRAINED_CALLS


def test_a_process_whose_prefect_is_gone_ends_with_its_code_and_all_its_words():
    """Prefect's client drains its queues at exit, into a server that is not there for minutes."""
    code = (
        "import threading; from adloom.orchestration.in_process import leave_within\n"
        "threading._register_atexit(threading.Event().wait)\n"
        "leave_within(0.1, 3)\nprint('all words', end='')"
    )
    python = str(ADLOOM.with_name("python"))
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, "all words")
