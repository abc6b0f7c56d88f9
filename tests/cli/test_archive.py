"""status, verify, resolve and doctor, as a person uses them."""

import json
import re
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest
from support.desk import CliRig, ended
from support.shop import one_row

from adloom.cli.archive import examine
from adloom.core.check import Check
from adloom.edges.health import Reach
from adloom.targets import WallClock


def answer_of(done: object) -> dict[str, object]:
    return dict(json.loads(done.stdout.splitlines()[-1]))


def lose_one_answer(desk: CliRig) -> str:
    """A campaign whose only purchase is unknown: the call's id."""
    desk.post("script", {"route": "submit", "fault": "drop", "after": True})
    done = desk.run("run", desk.write(one_row(2)))
    assert done.returncode == 6
    assert f"settle them with `adloom resolve {desk.edition}`" in done.stdout
    (call,) = answer_of(desk.run("resolve", str(desk.edition), "--json"))["held"]
    return str(call["call"])


def age(desk: CliRig, seconds: float) -> None:
    """Make every record of the ledger older, as if it had been written so long ago."""
    for path in (desk.edition / "ledger").rglob("*.json"):
        record = json.loads(path.read_text())
        then = datetime.fromisoformat(record["time"]).timestamp() - seconds
        record["time"] = datetime.fromtimestamp(then).astimezone().isoformat()
        path.write_text(json.dumps(record))


def test_status_shows_progress_and_money_of_one_edition_and_of_all(desk: CliRig):
    desk.run("run", desk.write(one_row(2)))
    one = answer_of(desk.run("status", str(desk.edition), "--json"))
    assert one["totals"]["archived"] == 2
    assert one["totals"]["credits_charged"] == 3.06
    every = answer_of(desk.run("status", "--json"))
    assert [edition["campaign"] for edition in every["editions"]] == ["test"]
    assert "$0.04" in desk.run("status").stdout


def test_a_held_purchase_is_shown_with_its_age_and_the_money_at_risk(desk: CliRig):
    lose_one_answer(desk)
    done = desk.run("resolve", str(desk.edition), "--json")
    (held,) = answer_of(done)["held"]
    assert held["credits_at_risk"] == 3.06
    assert held["images"] == 2
    assert 0 <= held["age_s"] < 60
    assert "$0.04" in desk.run("resolve", str(desk.edition)).stdout
    assert "held" in desk.run("status", str(desk.edition)).stdout


def test_an_adopted_task_is_collected_by_the_next_run(desk: CliRig):
    call = lose_one_answer(desk)
    task = str(desk.charges()[0]["task_id"])
    assert desk.run("resolve", str(desk.edition), call, "--adopt", "task-unified-1-nowhere0").returncode == 2
    unset = desk.run("resolve", str(desk.edition), call, "--adopt", "")
    assert (unset.returncode, "--adopt needs a task" in unset.stderr) == (2, True)
    assert desk.run("resolve", str(desk.edition), call, "--adopt", task).returncode == 0
    assert desk.run("verify", str(desk.edition)).returncode == 0
    assert desk.run("run", str(desk.folder / "campaign.yaml")).returncode == 0
    assert len(desk.charges()) == 1
    assert desk.manifest()["totals"]["archived"] == 2


def test_a_release_is_refused_early_needs_a_reason_and_lets_the_call_be_bought_again(desk: CliRig):
    call = lose_one_answer(desk)
    early = desk.run("resolve", str(desk.edition), call, "--release", "--reason", "not in the console")
    assert early.returncode == 2
    assert "can be released from" in early.stderr
    age(desk, 16 * 60)
    for lacking in ((), ("--reason", ""), ("--reason", "   ")):
        assert desk.run("resolve", str(desk.edition), call, "--release", *lacking).returncode == 2
    bare = desk.run("resolve", str(desk.edition), call, "--reason", "not there")
    assert (bare.returncode, "Add --release" in bare.stderr) == (2, True)
    assert desk.run("resolve", str(desk.edition), call, "--release", "--reason", "not there").returncode == 0
    (settled,) = (desk.edition / "ledger").rglob("a1-settled.json")
    assert json.loads(settled.read_text())["reason"] == "not there"
    assert desk.run("run", str(desk.folder / "campaign.yaml")).returncode == 0
    assert len(desk.charges()) == 2


def test_verify_says_what_is_damaged_and_repairs_what_it_can(desk: CliRig):
    desk.run("run", desk.write(one_row(2)))
    assert desk.run("verify", str(desk.edition)).returncode == 0
    image = next(Path(desk.edition / "assets").rglob("*.jpg"))
    image.write_bytes(image.read_bytes()[:-9])
    done = desk.run("verify", str(desk.edition))
    assert done.returncode == 3
    assert image.name in done.stdout
    assert desk.run("verify", str(desk.edition), "--repair").returncode == 0
    assert desk.run("verify", str(desk.edition), "--sample", "10%").returncode == 0
    assert desk.run("verify", str(desk.edition), "--sample", "lots").returncode == 2


@pytest.mark.parametrize("command", ["status", "verify"])
def test_an_edition_that_was_never_run_is_bad_input_and_those_that_were_are_named(desk: CliRig, command: str):
    source = desk.write(one_row(1))
    first = desk.run(command, source)
    assert (first.returncode, "contains no plan yet" in first.stderr) == (2, True)
    desk.run("run", source)
    desk.run("run", source, "--edition", "autumn")
    misspelled = desk.run(command, source, "--edition", "mian")
    assert misspelled.returncode == 2
    assert "/test/mian/ contains no plan yet" in misspelled.stderr
    assert "Run the campaign first, or name one of its other editions: autumn, main." in misspelled.stderr


def test_an_edition_that_was_deleted_is_damage(desk: CliRig):
    source = desk.write(one_row(1))
    desk.run("run", source)
    shutil.rmtree(desk.edition)
    assert desk.run("verify", source).returncode == 3


def test_doctor_says_what_works_and_what_to_do(desk: CliRig):
    good = answer_of(desk.run("doctor", "--json"))
    assert all(check["works"] for check in good["checks"])
    done = desk.run("doctor", EVOLINK_API_KEY=None, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert "EVOLINK_API_KEY is not set" in done.stdout
    assert "FAIL prefect" in done.stdout


async def test_an_archive_that_is_slow_makes_no_clock_wrong(monkeypatch, tmp_path, capsys):
    began, waited = time.time(), []

    async def slow(store, token):
        waited.append(token)
        return Check("archive", works=True, found="it takes its time")

    async def answers(base_url):
        return Reach(reached=True, time=began)

    monkeypatch.setenv("ADLOOM_ARCHIVE", str(tmp_path))
    monkeypatch.delenv("EVOLINK_API_KEY", raising=False)
    monkeypatch.setattr("adloom.run.doctor.check_archive", slow)
    monkeypatch.setattr("adloom.edges.health.reach", answers)
    monkeypatch.setattr(WallClock, "now", lambda _: began + 100 * len(waited))
    await examine(None, [], buy=False, yes=False, as_json=True)
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])["checks"]
    assert [check["works"] for check in checks if check["name"] == "clock"] == [True]


def test_a_probe_buys_at_most_two_images_and_records_what_it_saw(desk: CliRig):
    assert "was not run" in desk.run("doctor", "--probe").stderr
    assert desk.charges() == []
    assert desk.run("doctor", "--probe", "--yes").returncode == 0
    assert len(desk.charges()) == 2
    recorded = json.loads((desk.folder / "archive" / "capabilities.json").read_text())
    assert [entry["replays_keys"] for entry in recorded["accounts"].values()] == [False]
    desk.change(idempotency="honoured")
    desk.run("doctor", "--probe", "--yes")
    assert len(desk.charges()) == 3
    desk.post("script", {"route": "submit", "fault": "drop", "after": True})
    assert desk.run("run", desk.write(one_row(2))).returncode == 0
    assert len(desk.charges()) == 4


def spare_the_first(desk: CliRig, **fault: object) -> None:
    """Let the first purchase go well and a fault strike the second one."""
    desk.post("script", {"route": "submit", "fault": "slow", "seconds": 0})
    desk.post("script", {"route": "submit", **fault})


def probe_edition(desk: CliRig) -> Path:
    (found,) = (path.parent for path in (desk.folder / "archive" / "adloom-probe").rglob("manifest.json"))
    return found


@pytest.mark.parametrize(
    "fault",
    [{"fault": "drop"}, {"fault": "status", "status": 503}, {"fault": "status", "status": 502, "html": True}],
    ids=["dropped", "503", "a page"],
)
def test_a_probe_whose_second_answer_is_lost_is_held_with_its_money(desk: CliRig, fault: dict[str, object]):
    spare_the_first(desk, after=True, **fault)
    done = desk.run("doctor", "--probe", "--yes", "--json")
    assert done.returncode == 6
    assert len(desk.charges()) == 2
    edition = str(probe_edition(desk))
    told = next(check for check in answer_of(done)["checks"] if check["name"] == "probe")
    assert not told["works"]
    assert f"adloom resolve {edition}" in told["remedy"]
    assert not (desk.folder / "archive" / "capabilities.json").exists()
    status = answer_of(desk.run("status", edition, "--json"))
    assert (status["status"], status["totals"]["credits_at_risk"]) == ("held", 1.53)
    assert status["totals"]["archived"] == 1
    (held,) = answer_of(desk.run("resolve", edition, "--json"))["held"]
    assert held["credits_at_risk"] == 1.53
    assert (held["model"], held["prompt"]) == (desk.charges()[1]["model"], desk.charges()[1]["prompt"])
    second = str(desk.charges()[1]["task_id"])
    done = desk.run("resolve", edition, held["call"], "--adopt", second, "--json")
    assert (done.returncode, answer_of(done)["held"]) == (0, [])


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_probe_that_is_ended_while_it_waits_has_said_what_may_be_charged(desk: CliRig, number: int, exit_code: int):
    spare_the_first(desk, fault="hang", after=True)
    process = desk.start("doctor", "--probe", "--yes")
    deadline = time.monotonic() + 60
    while len(desk.charges()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    done = ended(process)
    assert done.returncode == exit_code
    edition = str(probe_edition(desk))
    assert (f"adloom resolve {edition}" in done.stderr) == (number == signal.SIGTERM)
    (held,) = answer_of(desk.run("resolve", edition, "--json"))["held"]
    assert held["credits_at_risk"] == 1.53
    assert [one["status"] for one in answer_of(desk.run("status", "--json"))["editions"]] == ["held"]


@pytest.mark.parametrize(
    ("fault", "exit_code", "held"),
    [
        ({"fault": "status", "status": 401}, 5, 0),
        ({"fault": "status", "status": 402}, 5, 0),
        ({"fault": "status", "status": 429}, 7, 0),
        ({"fault": "status", "status": 400}, 2, 0),
        ({"fault": "status", "status": 409, "code": "idempotency_conflict"}, 6, 1),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else "",
)
def test_a_probe_whose_second_purchase_is_refused_ends_as_a_run_would(
    desk: CliRig, fault: dict[str, object], exit_code: int, held: int
):
    spare_the_first(desk, **fault)
    done = desk.run("doctor", "--probe", "--yes", "--json")
    assert done.returncode == exit_code
    assert len(desk.charges()) == 1
    told = next(check for check in answer_of(done)["checks"] if check["name"] == "probe")
    assert ("adloom resolve" in told["found"] + told["remedy"]) == bool(held)
    edition = str(probe_edition(desk))
    assert len(answer_of(desk.run("resolve", edition, "--json"))["held"]) == held
    assert answer_of(desk.run("status", edition, "--json"))["status"] == ("held" if held else "complete")


def test_a_probe_whose_first_purchase_is_refused_ends_as_a_run_would(desk: CliRig):
    desk.post("script", {"route": "submit", "fault": "status", "status": 402})
    done = desk.run("doctor", "--probe", "--yes", "--json")
    assert (done.returncode, desk.charges()) == (5, [])


def test_a_ledger_that_was_deleted_is_told_of_and_given_up_only_with_a_reason(desk: CliRig):
    desk.run("run", desk.write(one_row(2)), "--yes")
    shutil.rmtree(desk.edition / "ledger")
    told = desk.run("verify", str(desk.edition))
    assert told.returncode == 3
    assert "ledger/: older than its manifest (missing: 1 purchase, 3.06 credits charged" in told.stdout
    refused = desk.run("run", desk.write(one_row(2)), "--yes")
    assert refused.returncode == 2
    assert "--accept-loss" in refused.stdout
    assert "older than its manifest" in desk.run("plan", desk.write(one_row(2))).stdout
    assert desk.run("verify", str(desk.edition), "--accept-loss", " ").returncode == 2
    assert len(desk.charges()) == 1
    for key in ("assets", "thumbs", "assets.jsonl", "../../tasks"):
        path = desk.edition / key
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    given_up = answer_of(desk.run("verify", str(desk.edition), "--accept-loss", "it was deleted", "--json"))
    assert "1 purchase, " in str(given_up["given_up"])
    assert {finding["damage"] for finding in given_up["findings"]} == {"missing"}
    assert desk.manifest()["totals"]["credits_charged"] == 3.06
    assert desk.run("run", desk.write(one_row(2)), "--yes").returncode == 0
    assert desk.manifest()["totals"]["credits_charged"] == 6.12
    assert len(desk.charges()) == 2


@pytest.mark.parametrize("record", ["ledger/c-*/a1-intent.json", "plan-r1.json"])
def test_a_damaged_record_is_named_and_nothing_is_bought(desk: CliRig, record: str):
    campaign = desk.write(one_row(2))
    desk.run("run", campaign, "--yes")
    shutil.rmtree(desk.edition / "ledger" / "sealed")
    (path,) = desk.edition.glob(record)
    path.write_bytes(path.read_bytes()[:20])
    done = desk.run("run", campaign, "--yes", "--json")
    assert (done.returncode, len(desk.charges())) == (2, 1)
    answer = answer_of(done)
    told = answer.get("error") or answer["stops"][0]["message"]
    assert f"{path.relative_to(desk.edition.parents[1])} is damaged" in told
    assert (answer["request_left"], answer["money_may_have_moved"]) == (False, False)


@pytest.mark.parametrize("option", [("--repair",), ("--accept-loss", "it was deleted")])
def test_a_ledger_that_was_deleted_is_rebuilt_without_a_purchase(desk: CliRig, option: tuple[str, ...]):
    desk.run("run", desk.write(one_row(2)), "--yes")
    shutil.rmtree(desk.edition / "ledger")
    mended = desk.run("verify", str(desk.edition), *option)
    assert "declared lost:" not in mended.stdout
    assert re.search(r"^rebuilt: [1-9]\d* records of the ledger$", mended.stdout, re.MULTILINE)
    assert "everything is in order now" in mended.stdout
    assert mended.returncode == 0, mended.stdout
    assert desk.run("run", desk.write(one_row(2)), "--yes").returncode == 0
    assert len(desk.charges()) == 1


def test_records_that_come_back_from_a_seal_are_counted(desk: CliRig):
    desk.run("run", desk.write(one_row(2)), "--yes")
    records = 0
    for call in desk.edition.glob("ledger/c-*"):
        records += len(list(call.iterdir()))
        shutil.rmtree(call)
    mended = desk.run("verify", str(desk.edition), "--repair")
    assert f"rebuilt: {records} records of the ledger" in mended.stdout
    assert "everything is in order now" in mended.stdout
    assert mended.returncode == 0


def test_what_is_damaged_comes_with_the_command_that_repairs_it(desk: CliRig):
    source = desk.write(one_row(1))
    desk.run("run", source, "--edition", "autumn")
    edition = desk.edition.with_name("autumn")
    next((edition / "assets").rglob("*.jpg")).unlink()
    done = desk.run("verify", source, "--edition", "autumn")
    command = f"adloom verify {source} --edition autumn --repair"
    assert done.stdout.splitlines()[-1] == f"repair what can be repaired: `{command}`"
    assert "repair what can be repaired" in desk.run("verify", str(edition), "--json").stderr
    assert desk.run("verify", str(edition), "--repair").returncode == 0
    (edition / "assets" / "mine.jpg").write_bytes(b"not of a run")
    assert "repair what can be repaired" not in desk.run("verify", str(edition)).stdout


@pytest.mark.parametrize(("images", "words"), [(1, "its link did not bring it"), (2, "their links did not bring them")])
def test_an_image_that_no_repair_brings_back_comes_with_what_to_do(desk: CliRig, images: int, words: str):
    desk.run("run", desk.write(one_row(images)))
    for image in (desk.edition / "assets").rglob("*.jpg"):
        image.unlink()
    desk.post("clock", {"advance_s": 90_000})
    done = desk.run("verify", str(desk.edition), "--repair")
    assert done.returncode == 3
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{words}: try again within 24 h of")
    assert last.endswith(f"(`adloom review {desk.edition}`, `adloom run SOURCE --only rejected`)")


def test_status_says_what_the_manifest_says_while_that_is_current(desk: CliRig):
    desk.change(key_states={"sk-test-canary": "revoked"})
    source = desk.write(one_row(2))
    assert desk.run("run", source).returncode == 5
    said = json.loads(desk.run("status", source, "--json").stdout)
    assert said["status"] == desk.manifest()["status"] == "stopped"


def test_doctor_tells_an_api_that_is_away_from_a_bad_key(desk: CliRig):
    told = desk.run("doctor", EVOLINK_BASE_URL="http://127.0.0.1:9")
    assert told.returncode == 2
    assert "FAIL api: the stand-in at http://127.0.0.1:9 does not answer. Check EVOLINK_BASE_URL" in told.stdout
    assert "FAIL key: not checked" in told.stdout
    assert "ok   clock: not checked: the API was not reached" in told.stdout
    assert "ok   api: " in desk.run("doctor").stdout
