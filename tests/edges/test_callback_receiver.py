"""Callbacks settle purchases whose answers were lost: a real receiver in a process of its own, and the real sandbox."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.desk import CliRig
from support.receiver import SECRET, receiver
from support.shop import campaign_text

from adloom.core.callbacks import Secret, token

ROWS = "  - {id: mugs, prompt: 'a {{ c }} mug', variants: 2, matrix: {c: [red, blue, white, green]}}\n"


def run(desk: CliRig, url: str | None, rows: str = ROWS) -> "subprocess.CompletedProcess[str]":
    more = f"callback_url: {url}/hooks\n" if url else ""
    return desk.run("run", desk.write(campaign_text(rows, more=more)), "--json", ADLOOM_CALLBACK_SECRET=SECRET)


def totals(done: "subprocess.CompletedProcess[str]") -> dict[str, int]:
    return dict(json.loads(done.stdout.splitlines()[-1])["totals"])


def test_an_answer_that_was_lost_is_told_by_the_callback(desk: CliRig):
    desk.change(lose_reply_rate=0.5, seed=3, allow_loopback_callbacks=True)
    with receiver(desk) as url:
        run(desk, url)
        desk.change(lose_reply_rate=0)
        run(desk, url)
        done = run(desk, url)
    found = totals(done)
    assert done.returncode == 0, done.stderr
    charges = desk.charges()
    assert sum(int(str(charge["made"])) for charge in charges) == 8 == found["archived"]
    assert len(charges) == 4
    told = [path.read_text() for path in desk.edition.glob("ledger/*/a*-accepted*") if '"callback"' in path.read_text()]
    assert told
    shown = (desk.edition / "manifest.json").read_text() + (desk.edition / "gallery.html").read_text() + done.stderr
    assert "/hooks/" not in shown


def test_without_callbacks_such_an_answer_stays_held(desk: CliRig):
    desk.change(lose_reply_rate=1.0)
    one = ROWS.replace("[red, blue, white, green]", "[red]")
    assert totals(run(desk, None, one))["held"] == 2


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an attempt at a receiver, and the folder where what comes is written down."""
    desk = CliRig(tmp_path_factory.mktemp("inbox"), "http://127.0.0.1:9")
    with receiver(desk) as url:
        sealed = token(Secret(SECRET.encode()), "test/main/", "c-1", 1)
        yield f"{url}/hooks/test/main/c-1/1/{sealed}", desk.folder / "archive" / "_callbacks" / "test" / "main" / "c-1"


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}


def test_a_callback_that_comes_a_hundred_times_is_one_record(inbox: tuple[str, Path]):
    address, folder = inbox
    with ThreadPoolExecutor(20) as pool:
        codes = set(pool.map(lambda _: httpx.post(address, json={"id": "task-1"}).status_code, range(100)))
    assert codes == {200}
    assert "a1.task-1.json" in kept(folder)


@pytest.mark.parametrize(
    "changed",
    [
        lambda address: address[:-1] + ("0" if address[-1] != "0" else "1"),
        lambda address: address.replace("/c-1/", "/c-2/"),
        lambda address: address.replace("/1/", "/2/"),
        lambda address: address.replace("/main/", "/other/"),
        lambda address: address + "?x=1",
        lambda address: address.rpartition("/")[0],
    ],
)
def test_a_wrong_address_is_answered_alike_and_leaves_nothing(inbox: tuple[str, Path], changed):
    address, folder = inbox
    before = kept(folder)
    answer = httpx.post(changed(address), json={"id": "task-9"})
    assert (answer.status_code, answer.text) == (404, "404: Not Found")
    assert httpx.get(address).text == answer.text
    assert kept(folder) == before
    assert len(kept(folder.parent)) <= 1


@pytest.mark.parametrize(
    ("content", "headers", "code"),
    [
        (b'{"id": "' + b"x" * 70_000 + b'"}', {}, 413),
        (b"[" * 5000 + b"]" * 5000, {}, 400),
        (b"{", {}, 400),
        (b'{"id": "../../x"}', {}, 400),
        (b'{"id": {"a": 1}}', {}, 400),
        (b"{}", {}, 400),
        (b'{"id": "task-7"}', {"Content-Type": "text/plain"}, 415),
        (b'{"id": "task-7"}', {"Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_body_that_is_no_callback_is_refused(
    inbox: tuple[str, Path], content: bytes, headers: dict[str, str], code: int
):
    address, folder = inbox
    before = kept(folder)
    answer = httpx.post(address, content=content, headers={"Content-Type": "application/json"} | headers)
    assert answer.status_code == code
    assert kept(folder) == before


def test_a_task_that_the_api_does_not_know_settles_nothing(desk: CliRig):
    desk.change(lose_reply_rate=1.0, callback_lost_rate=1.0, allow_loopback_callbacks=True)
    one = ROWS.replace("[red, blue, white, green]", "[red]")
    with receiver(desk) as url:
        assert totals(run(desk, url, one))["held"] == 2
        [intent] = desk.edition.glob("ledger/*/a1-intent.json")
        address = json.loads(json.loads(intent.read_text())["body"])["callback_url"]
        assert httpx.post(address, json={"id": "task-unified-1-forged"}).status_code == 200
        assert totals(run(desk, url, one))["held"] == 2
        assert httpx.post(address, json={"id": str(desk.charges()[0]["task_id"])}).status_code == 200
        assert totals(run(desk, url, one))["archived"] == 2
    assert len(desk.charges()) == 1


def test_a_task_of_the_account_that_is_another_purchase_settles_nothing(desk: CliRig):
    desk.change(lose_reply_rate=1.0, callback_lost_rate=1.0, allow_loopback_callbacks=True)
    one = ROWS.replace("[red, blue, white, green]", "[red]")
    with receiver(desk) as url:
        assert totals(run(desk, url, one))["held"] == 2
        desk.change(lose_reply_rate=0)
        [intent] = desk.edition.glob("ledger/*/a1-intent.json")
        request = json.loads(json.loads(intent.read_text())["body"])
        address = request.pop("callback_url")
        bought = httpx.post(
            f"{desk.base_url}/v1/images/generations",
            json=request | {"model": "doubao-seedream-4.5", "quality": "2K"},
            headers={"Authorization": "Bearer sk-test-canary"},
        )
        assert bought.status_code == 200, bought.text
        assert httpx.post(address, json={"id": bought.json()["id"]}).status_code == 200
        assert totals(run(desk, url, one))["held"] == 2
        own = str(desk.charges()[0]["task_id"])
        assert httpx.post(address, json={"id": own}).status_code == 200
        assert totals(run(desk, url, one))["archived"] == 2
    accepted = [json.loads(path.read_text())["task"] for path in desk.edition.glob("ledger/*/a1-accepted*")]
    assert accepted == [own]


def test_a_receiver_without_a_secret_does_not_start(desk: CliRig):
    done = desk.run("receive")
    assert done.returncode == 2
    assert "ADLOOM_CALLBACK_SECRET" in done.stderr
    short = desk.run("receive", ADLOOM_CALLBACK_SECRET="abc")
    assert short.returncode == 2
    assert "32" in short.stderr
