"""How commands end for a machine: every answer says whether a request to buy left, and whether money may have moved."""

import json
import socket
import subprocess
from types import SimpleNamespace

import pytest
import typer
from support.desk import CliRig
from support.shop import one_row

import adloom.run
from adloom.cli.ending import end
from adloom.cli.run import watched
from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.core.exits import Sent, Stop, StopReason
from adloom.guards.gate import Gate

NOTHING, FREE, MAYBE = (False, False), (True, False), (True, True)


def told(done: "subprocess.CompletedProcess[str]") -> tuple[bool, bool]:
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["request_left"], answer["money_may_have_moved"]


@pytest.mark.parametrize(
    ("script", "exit_code", "says"),
    [
        (None, 0, MAYBE),
        ({"route": "submit", "fault": "drop", "after": True}, 6, MAYBE),
        ({"route": "submit", "fault": "status", "status": 400}, 3, FREE),
        ({"route": "submit", "fault": "status", "status": 401}, 5, FREE),
    ],
)
def test_a_run_says_what_its_answers_prove(desk: CliRig, script: object, exit_code: int, says: tuple[bool, bool]):
    if script:
        desk.post("script", script)
    done = desk.run("run", desk.write(one_row(2)), "--json")
    assert (done.returncode, told(done)) == (exit_code, says)


def test_a_request_that_cannot_leave_has_not_left(desk: CliRig):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = desk.run("run", desk.write(one_row(2)), "--json", EVOLINK_BASE_URL=nowhere)
    assert (done.returncode, told(done)) == (7, NOTHING)


def test_a_run_that_finds_all_done_sends_nothing(desk: CliRig):
    source = desk.write(one_row(2))
    assert desk.run("run", source).returncode == 0
    assert told(desk.run("run", source, "--json")) == NOTHING


def test_what_is_wrong_before_a_purchase_says_that_nothing_left(desk: CliRig):
    source = desk.write(one_row(2))
    for arguments in (
        ("run", source, "--budget-usd", "much"),
        ("run", source, "--budget", "1"),  # no such option
        ("buy", source),  # no such command
        ("status", "nowhere"),
        ("plan", "nowhere.yaml"),
    ):
        done = desk.run(*arguments, "--json")
        assert done.returncode == 2
        assert told(done) == NOTHING


def test_an_error_after_purchases_says_that_money_may_have_moved(desk: CliRig, monkeypatch: pytest.MonkeyPatch):
    async def refuse(*_everything: object) -> None:
        raise StoreRefused("the archive is read-only now", remedy="Make it writable.")

    monkeypatch.setattr(adloom.run.run, "publish", refuse)
    done = desk.run("run", desk.write(one_row(2)), "--json")
    assert (done.returncode, told(done)) == (2, MAYBE)
    assert json.loads(done.stdout)["error"] == "the archive is read-only now"


def test_a_probe_counts_what_it_buys(desk: CliRig):
    desk.post("script", {"route": "submit", "fault": "drop", "after": True, "times": 9})
    done = desk.run("doctor", "--probe", "--yes", "--json")
    assert done.returncode == 6
    assert told(done) == MAYBE
    assert told(desk.run("doctor", "--json")) == NOTHING


@pytest.mark.parametrize(("error", "exit_code"), [(RuntimeError("odd"), 1), (KeyboardInterrupt(), 130)])
def test_what_nobody_expected_ends_with_an_answer_too(capsys, error: BaseException, exit_code: int):
    async def work() -> int:
        raise error

    with pytest.raises(BaseException):  # noqa: B017, PT011 - the exit, or the error itself for its traceback
        end(work, as_json=True, sent=[Sent(2, 0), Sent(1, 1)])
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == exit_code
    assert (answer["request_left"], answer["money_may_have_moved"]) == MAYBE


@pytest.mark.parametrize(("is_interrupted", "exit_code"), [(True, 130), (False, 7)])
def test_a_run_that_somebody_stopped_is_interrupted_even_if_its_archive_is_away(capsys, is_interrupted, exit_code):
    async def work(started):
        run = SimpleNamespace(gate=Gate(), sent=Sent(1, 1))
        started(run)
        if is_interrupted:
            run.gate.close(Stop(StopReason.INTERRUPTED, "interrupted", "Run the same command again to continue."))
        raise StoreUnavailable("the archive is away", remedy="Start it.")

    sent: list[Sent] = []
    with pytest.raises(typer.Exit) as caught:
        end(lambda: watched(work, sent), as_json=True, sent=sent)
    answer = json.loads(capsys.readouterr().out)
    assert caught.value.exit_code == answer["exit_code"] == exit_code
    assert (answer["error"], answer["remedy"], answer["money_may_have_moved"]) == (
        "the archive is away",
        "Start it.",
        True,
    )
