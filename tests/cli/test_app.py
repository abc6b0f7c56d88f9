"""The command line as people and schedules use it: a real sandbox, exit codes, and processes where they matter."""

import errno
import json
import signal
import socket
import subprocess
import sys
import time

import pytest
from support.desk import ADLOOM, CliRig, ended
from support.shop import campaign_text, one_row
from typer.testing import CliRunner

from adloom.cli.app import app
from adloom.cli.listening import explained
from adloom.core.errors import SettingInvalid

LETTERS = ", ".join("abcdefghijklmnop")
MANY = "  - {id: many, prompt: 'mug {{ n }}', variants: 1, matrix: {n: [" + LETTERS + "]}}\n"


def test_a_run_ends_with_one_json_object_about_the_manifest(desk: CliRig):
    done = ended(desk.start("run", desk.write(one_row(3)), "--json"))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["totals"]["archived"] == 3
    assert answer["exit_reason"] == "all archived"
    assert answer["totals"] == desk.manifest()["totals"]
    assert "sk-test-canary" not in done.stdout + done.stderr


def test_a_csv_is_a_campaign_by_itself(desk: CliRig):
    source = desk.write("id,prompt,variants\na,red mug,2\nb,blue mug,1\n", "mugs.csv")
    done = desk.run("run", source, "--budget-usd", "1", "--size", "1:1", "--quality", "1K", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["totals"]["archived"] == 3


def test_a_plan_needs_neither_key_nor_budget_and_sends_nothing(desk: CliRig):
    text = one_row(31, references=10).replace("budget: {usd: 50}\n", "")
    done = desk.run("plan", desk.write(text), "--json", EVOLINK_API_KEY=None)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["images"], answer["calls"], answer["calls_floor"]) == (31, 7, 7)
    assert answer["credits"] == pytest.approx(31 * 1.53)
    assert desk.state()["posts_received"] == 0
    assert not (desk.folder / "archive").exists()


def test_a_plan_over_its_budget_warns_and_exits_0(desk: CliRig):
    source = desk.write(campaign_text("  - {id: mug, prompt: a mug, variants: 9}\n", budget="{usd: 0.1}"))
    done = desk.run("plan", source)
    assert done.returncode == 0
    assert "WARNING" in done.stdout


def test_a_plan_says_what_is_archived_already(desk: CliRig):
    source = desk.write(one_row(2))
    assert desk.run("run", source).returncode == 0
    desk.write(one_row(5))
    assert "already   2 archived" in desk.run("plan", source).stdout


def test_everything_that_is_missing_is_in_one_report(desk: CliRig):
    text = one_row(1).replace("budget: {usd: 50}\n", "").replace("1:1", "7:9")
    done = desk.run("run", desk.write(text), EVOLINK_API_KEY=None)
    assert done.returncode == 2
    assert "EVOLINK_API_KEY" in done.stderr
    assert "--budget-usd" in done.stderr
    assert "7:9" in done.stderr
    assert desk.state()["posts_received"] == 0


@pytest.mark.parametrize("option", [("--budget-usd", "much"), ("--only", "blue"), ("--edition", "../up")])
def test_an_option_that_cannot_be_used_is_refused_with_what_to_write(desk: CliRig, option: tuple[str, str]):
    done = desk.run("run", desk.write(one_row(1)), *option)
    assert done.returncode == 2
    assert option[1] in done.stderr
    assert "Use" in done.stderr or "Write" in done.stderr
    assert desk.state()["posts_received"] == 0


@pytest.mark.parametrize("command", ["plan", "run"])
def test_defaults_for_a_csv_are_refused_with_a_yaml_file(desk: CliRig, command: str):
    done = desk.run(command, desk.write(one_row(1)), "--size", "9:16", "--variants", "3")
    assert done.returncode == 2
    assert "--size, --variants" in done.stderr
    assert "in the file" in done.stderr
    assert desk.state()["posts_received"] == 0


def test_a_rejected_key_exits_5_with_what_to_do(desk: CliRig):
    desk.change(key_states={"sk-test-canary": "revoked"})
    done = desk.run("run", desk.write(one_row(1)))
    assert done.returncode == 5
    assert "key" in done.stdout.lower()
    assert desk.charges() == []


def test_a_budget_that_is_too_small_exits_4_and_sends_nothing(desk: CliRig):
    done = desk.run("run", desk.write(one_row(9)), "--budget-usd", "0.05")
    assert done.returncode == 4
    assert "Raise the budget" in done.stdout
    assert desk.state()["posts_received"] == 0


def test_an_archive_that_cannot_be_written_exits_2_and_sends_nothing(desk: CliRig):
    (desk.folder / "taken").write_text("a file where the folder should be")
    done = desk.run("run", desk.write(one_row(1)), "--archive", str(desk.folder / "taken"))
    assert done.returncode == 2
    assert "taken" in done.stderr
    assert desk.state()["posts_received"] == 0


def test_an_api_that_is_not_there_exits_7_with_nothing_held(desk: CliRig):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = desk.run("run", desk.write(one_row(1)), EVOLINK_BASE_URL=nowhere)
    assert done.returncode == 7, done.stdout + done.stderr
    assert desk.manifest()["totals"]["held"] == 0
    assert desk.run("run", desk.write(one_row(1))).returncode == 0
    assert len(desk.charges()) == 1


def test_killed_in_the_middle_a_run_resumes_and_buys_nothing_twice(desk: CliRig):
    desk.change(task_seconds=[0.2, 0.6])
    source = desk.write(campaign_text(MANY.replace("variants: 1", "variants: 3")))
    process = desk.start("run", source, "--in-flight", "4")
    while len(desk.charges()) < 6:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    bought_before = len(desk.charges())
    done = desk.run("run", source, "--json")
    totals = json.loads(done.stdout.splitlines()[-1])["totals"]
    assert totals["archived"] + totals["held"] == totals["wanted"] == 48
    assert 6 <= bought_before < len(desk.charges()) <= 16
    prompts = [charge["prompt"] for charge in desk.charges()]
    assert len(prompts) == len(set(prompts))
    assert done.returncode == (6 if totals["held"] else 0)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_buying_and_keeps_what_is_in_flight(desk: CliRig, signal_number: int):
    desk.change(task_seconds=0.5)
    source = desk.write(campaign_text(MANY))
    process = desk.start("run", source, "--in-flight", "2", "--json")
    while not desk.charges():
        time.sleep(0.01)
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    totals = json.loads(out.splitlines()[-1])["totals"]
    assert totals["archived"] == len(desk.charges()) <= 3
    assert totals["held"] == 0
    desk.change(task_seconds=0.05)
    assert desk.run("run", source).returncode == 0
    assert len(desk.charges()) == 16


def test_help_and_plan_and_direct_runs_never_import_prefect_and_help_not_pandas_either(desk: CliRig):
    source = desk.write(one_row(1))
    probe = (
        "import sys; from adloom.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('prefect', 'pandas', 'httpx', 'PIL') if name in sys.modules])"
    )
    seen = {}
    for arguments in (("--help",), ("plan", source), ("run", source, "--direct", "--yes")):
        command = [sys.executable, "-c", probe, *arguments]
        done = subprocess.run(command, env=desk.environment, capture_output=True, text=True, check=True, timeout=240)
        seen[arguments[0]] = done.stdout.splitlines()[-1]
    assert seen["--help"] == "[]"
    assert "prefect" not in seen["plan"] + seen["run"]
    assert "pandas" not in seen["run"]
    assert len(desk.charges()) == 1


def test_every_command_has_help_with_an_example_and_answers_machines():
    listing = subprocess.run([str(ADLOOM), "--help"], capture_output=True, text=True, check=True).stdout
    commands = [line.split()[0] for line in listing.split("Commands:")[1].splitlines() if line.strip()]
    assert {"plan", "run", "sandbox"} <= set(commands)
    for command in commands:
        text = CliRunner().invoke(app, [command, "--help"]).stdout
        assert f"Example: adloom {command}" in " ".join(text.split())
        assert "--json" in text, command


@pytest.mark.parametrize("command", ["sandbox", "receive"])
def test_a_server_tells_machines_its_address_in_one_object(desk: CliRig, command: str):
    process = desk.start(command, "--port", "0", "--json", ADLOOM_CALLBACK_SECRET="0123456789abcdef" * 2)
    try:
        assert json.loads(process.stdout.readline())["url"].startswith("http://127.0.0.1:")
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("command", [("sandbox",), ("receive",), ("review", "--serve")])
def test_a_server_whose_port_is_taken_says_so_and_what_to_do(desk: CliRig, command: tuple[str, ...]):
    target = [desk.write(one_row(1))] if "review" in command else []
    if target:
        assert desk.run("run", *target).returncode == 0
    port = desk.base_url.rpartition(":")[2]
    done = desk.run(*command, *target, "--port", port, "--json", ADLOOM_CALLBACK_SECRET="0123456789abcdef" * 2)
    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be used: another program listens there" in done.stderr
    failure = json.loads(done.stdout.splitlines()[-1])
    assert (failure["exit_code"], "choose another --port" in failure["remedy"]) == (2, True)


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid"])
def test_a_receiver_at_an_address_that_is_not_this_machines_says_so(desk: CliRig, host: str):
    done = desk.run("receive", "--host", host, "--port", "0", ADLOOM_CALLBACK_SECRET="0123456789abcdef" * 2)
    assert done.returncode == 2
    assert f"{host}:0 cannot be used: this machine does not have that address" in done.stderr


def test_what_else_fails_in_a_server_is_no_matter_of_its_port():
    with pytest.raises(BrokenPipeError), explained("127.0.0.1", 80):
        raise BrokenPipeError(errno.EPIPE, "the reader has gone")
    with pytest.raises(SettingInvalid, match="may not use that port"), explained("127.0.0.1", 80):
        raise PermissionError(errno.EACCES, "no")
