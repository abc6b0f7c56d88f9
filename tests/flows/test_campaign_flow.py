"""The campaign as a flow, against a real Prefect server: what is bought, what state the run ends in, what is seen."""

import json
import signal
import subprocess
import time

import pytest
import sqlalchemy
from desk import ADLOOM, Desk
from shop import campaign_text

JOBS = "  - {id: cup, prompt: 'a {{ colour }} cup', variants: 2, matrix: {colour: [red, blue, green]}}\n"


def campaign(name: str, jobs: str = JOBS, budget: str = "{usd: 5}") -> str:
    return campaign_text(jobs, budget=budget).replace("campaign: test", f"campaign: {name}")


def test_a_campaign_runs_as_a_flow_with_its_name_its_tasks_and_its_result(desk: Desk, prefect_server):
    source = desk.write(campaign("spring"), "spring.yaml")
    done = desk.run("run", source, "--json")
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
    assert shown["spring-progress"]["description"].startswith("6/6 images archived · 3 calls · 0 in flight · $0.1")
    sheet = shown["spring-contact-sheet"]["data"]
    assert sheet.startswith("![contact sheet](data:image/jpeg;base64,")
    assert len(sheet) < 130_000
    assert "spring-failures" not in shown
    assert "sk-test-canary" not in json.dumps([run, tasks, shown])
    bought = len(desk.charges())
    again = desk.run("run", source)
    assert again.returncode == 0
    assert len(desk.charges()) == bought == 3


@pytest.mark.parametrize(
    ("name", "budget", "switches", "exit_code", "state"),
    [
        ("poor", "{usd: 0.01}", {}, 4, "OverBudget"),
        ("banned", "{usd: 5}", {"moderated_at_submit": ["cup"]}, 3, "Refused"),
        ("locked", "{usd: 5}", {"key_states": {"sk-test-canary": "revoked"}}, 5, "AccountStopped"),
    ],
)
def test_a_run_that_falls_short_ends_in_a_state_that_says_so(
    desk: Desk, prefect_server, name: str, budget: str, switches: dict, exit_code: int, state: str
):
    desk.change(**switches)
    done = desk.run("run", desk.write(campaign(name, budget=budget), f"{name}.yaml"))
    desk.change(moderated_at_submit=[], key_states={})
    assert done.returncode == exit_code, done.stdout + done.stderr
    run = prefect_server.flow_run(f"{name}-main")
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", state)
    assert "0 of 6 images archived" in run["state"]["message"]
    failures = prefect_server.artifacts(run).get(f"{name}-failures")
    rows = json.loads(failures["data"]) if failures else []
    assert [row["status"] for row in rows] == (["refused"] * 6 if exit_code == 3 else [])
    assert all(row["reason"] for row in rows)


def test_a_signal_drains_the_flow_and_the_next_one_goes_on(desk: Desk):
    desk.change(task_seconds=0.5)
    before = len(desk.charges())
    source = desk.write(campaign("drained"), "drained.yaml")
    process = desk.start("run", source, "--in-flight", "1")
    while len(desk.charges()) == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    desk.change(task_seconds=0.05)
    assert process.returncode == 130, err
    assert desk.run("run", source).returncode == 0
    assert len(desk.charges()) - before == 3


def test_a_server_that_is_not_there_sends_nothing(desk: Desk):
    before = len(desk.charges())
    done = desk.run(
        "run", desk.write(campaign("lonely"), "lonely.yaml"), "--prefect", PREFECT_API_URL="http://127.0.0.1:9/api"
    )
    assert done.returncode != 0
    assert "--direct" in done.stdout + done.stderr
    assert len(desk.charges()) == before


def test_a_process_whose_prefect_is_gone_ends_with_its_code_and_all_its_words():
    """Prefect's client drains its queues at exit, into a server that is not there for minutes."""
    code = (
        "import threading; from adloom.flows.in_process import leave_within\n"
        "threading._register_atexit(threading.Event().wait)\n"
        "leave_within(0.1, 3)\nprint('all words', end='')"
    )
    python = str(ADLOOM.with_name("python"))
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, "all words")


def test_the_server_imports_and_its_scheduler_has_the_sqlalchemy_that_it_works_with():
    """An unpinned set resolves to a server that does not import, or that never starts a scheduled run."""

    python = ADLOOM.with_name("python")
    subprocess.run([str(python), "-c", "import prefect.server.api.server"], check=True, timeout=60)
    assert sqlalchemy.__version__.startswith("2.0.")
