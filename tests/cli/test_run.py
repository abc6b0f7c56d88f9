"""``adloom run`` shows the price and buys only what somebody agreed to: on a terminal, and off one."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.desk import ADLOOM, CliRig, ended
from support.shop import campaign_text, one_row

CUPS = "  - {{id: cup, prompt: 'a {{{{ x }}}} cup', variants: 2, matrix: {{x: [{}]}}}}\n"


def cups(*names: str) -> str:
    return campaign_text(CUPS.format(", ".join(names)))


def unasked(desk: CliRig, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return ended(desk.start_unasked("run", *arguments))


def test_off_a_terminal_nothing_is_bought_before_somebody_says_yes(desk: CliRig):
    source = desk.write(one_row(3))
    done = unasked(desk, source)
    assert done.returncode == 2
    assert "to buy    3 images in 1 call" in done.stdout
    assert "price     sandbox $0.07 (4.59 credits)" in done.stdout
    assert "--yes" in done.stderr
    assert desk.state()["posts_received"] == 0
    assert not (desk.folder / "archive").exists()
    assert desk.run("run", source, "--yes").returncode == 0
    assert desk.bought("table") == 3


def test_the_price_is_shown_to_who_has_said_yes_too(desk: CliRig):
    done = desk.run("run", desk.write(one_row(3)), "--yes", "--json")
    assert "price     sandbox $0.07 (4.59 credits)" in done.stderr
    assert json.loads(done.stdout)["totals"]["archived"] == 3


def test_what_is_paid_is_collected_without_a_yes_and_nothing_is_bought(desk: CliRig):
    desk.change(download_error_rate=1.0)
    source = desk.write(cups("red", "blue"))
    assert desk.run("run", source).returncode == 7
    desk.change(download_error_rate=0.0)
    desk.write(cups("red", "blue", "green"))
    done = unasked(desk, source, "--json")
    assert done.returncode == 2, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["totals"]["archived"], answer["totals"]["posts"]) == (4, 2)
    assert [stop["reason"] for stop in answer["stops"]] == ["unconfirmed"]
    assert "--yes" in answer["stops"][0]["remedy"]
    assert not (desk.edition / "plan-r2.json").exists()  # which would stop a run that buys of the first
    assert len(desk.charges()) == 2
    assert desk.run("run", source, "--yes").returncode == 0
    assert [charge["made"] for charge in desk.charges()] == [2, 2, 2]


def test_what_a_paid_call_did_not_bring_is_not_asked_for_without_a_yes(desk: CliRig):
    desk.change(task_seconds=0.6)
    desk.post("script", {"route": "outcome", "fault": "completed", "images": 1})
    source = desk.write(one_row(2))
    process = desk.start("run", source)
    while not list((desk.edition / "ledger").glob("*/a1-accepted*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = unasked(desk, source)
    assert done.returncode == 2, done.stdout
    assert "request the missing images, and nobody agreed" in done.stdout
    assert (desk.manifest()["totals"]["archived"], desk.state()["posts_received"]) == (1, 1)
    assert desk.run("run", source).returncode == 0
    assert desk.bought("table") == 2


def test_a_run_with_nothing_to_buy_needs_no_yes(desk: CliRig):
    source = desk.write(one_row(2))
    assert desk.run("run", source).returncode == 0
    done = unasked(desk, source)
    assert done.returncode == 0, done.stdout
    assert "to buy    0 images" in done.stdout
    assert len(desk.charges()) == 1


def test_a_plan_over_its_budget_is_told_so_without_a_yes(desk: CliRig):
    done = unasked(desk, desk.write(one_row(9)), "--budget-usd", "0.05")
    assert done.returncode == 4
    assert "Raise the budget" in done.stdout
    assert desk.state()["posts_received"] == 0


class Asked:
    """A run on a terminal that has asked whether to buy."""

    def __init__(self, desk: CliRig, *arguments: str) -> None:
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WITH_KEYS, str(ADLOOM), *arguments],
            env=desk.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=desk.folder,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = b""
        while b"Buy this?" not in self.shown:
            self.shown += os.read(self._terminal, 1000)

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit code, once it has ended; all that it said is in ``shown``."""
        try:
            while select.select([self._terminal], [], [], 60)[0] and (more := os.read(self._terminal, 1000)):
                self.shown += more
        except OSError:  # that is how a terminal tells that nobody holds its other end any more
            pass
        try:
            return self._process.wait(10)
        finally:
            self._process.kill()
            os.close(self._terminal)


_WITH_KEYS = (  # the terminal becomes the process's own, so that its keys become signals
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
CTRL_C, CTRL_D = b"\x03", b"\x04"


@pytest.mark.parametrize(("keys", "exit_code", "bought"), [(b"y\n", 0, 3), (b"n\n", 2, 0), (CTRL_D, 2, 0)])
def test_on_a_terminal_a_run_asks(desk: CliRig, keys: bytes, exit_code: int, bought: int):
    asked = Asked(desk, "run", desk.write(one_row(3)))
    assert b"price     sandbox $0.07" in asked.shown
    assert desk.state()["posts_received"] == 0
    asked.type(keys)
    assert asked.ended() == exit_code
    assert desk.bought("table") == bought


@pytest.mark.parametrize("how", [CTRL_C, signal.SIGTERM])
def test_a_signal_at_the_question_ends_the_run_at_once(desk: CliRig, how: bytes | int):
    asked = Asked(desk, "run", desk.write(one_row(3)), "--json")
    asked.type(how) if isinstance(how, bytes) else asked.signal(how)
    assert asked.ended() == 130, asked.shown
    answer = json.loads(asked.shown.splitlines()[-1])
    assert (answer["exit_reason"], answer["money_may_have_moved"]) == ("interrupted", False)
    assert b"Traceback" not in asked.shown
    assert desk.state()["posts_received"] == 0


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_plan_is_made_is_answered_for_a_machine(desk: CliRig, signal_number: int):
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        job = (
            f"  - {{id: mug, prompt: a mug, references: ['http://127.0.0.1:{never_answers.getsockname()[1]}/a.png']}}\n"
        )
        source = desk.write("check_references: true\n" + campaign_text(job))
        process = desk.start("run", source, "--json")
        with never_answers.accept()[0]:
            process.send_signal(signal_number)
            done = ended(process)
    assert done.returncode == 130, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["exit_reason"] == "interrupted"
    assert "Traceback" not in done.stderr
    assert desk.state()["posts_received"] == 0


def test_a_signal_while_the_command_is_still_being_imported_ends_it_quietly(tmp_path: Path):
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "adloom", "--version"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_flow_without_prefect_installed_is_refused_before_anything_is_sent(desk: CliRig, monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect", None)  # as if it were not installed
    done = desk.run("run", desk.write(one_row(3)), "--prefect")
    assert done.returncode == 2
    assert "pip install 'adloom[prefect]'" in done.stderr
    assert desk.state()["posts_received"] == 0
    assert desk.run("run", desk.write(one_row(3))).returncode == 0
