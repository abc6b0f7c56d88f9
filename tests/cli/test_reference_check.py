"""``check_references: true``: a reference that the API could not use is found before anything is bought."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image
from support.desk import CliRig

SMALL, NOT_A_PICTURE = "small", "page"


class Host(ThreadingHTTPServer):
    """Serves a good picture under any name, and a bad one under those in ``bad``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.bad: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        name = self.path.removeprefix("/").partition("?")[0]
        self.server.asked.append(name)
        out = io.BytesIO()
        what = self.server.bad.get(name, "")
        Image.new("RGB", (9, 9) if what == SMALL else (64, 64)).save(out, "PNG")
        content = b"<html>" if what == NOT_A_PICTURE else out.getvalue()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    served = Host()
    thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def campaign(desk: CliRig, host: Host, *, check: str = "true", variants: int = 1) -> str:
    desk.change(foreign_references="anywhere")
    (desk.folder / "rows.csv").write_text(
        f"id,references\na,{host.url}/one.png?key=canary\nb,{host.url}/two.png\nc,{host.url}/two.png\n"
    )
    return desk.write(
        f"campaign: test\nbudget: {{usd: 9}}\ncheck_references: {check}\ndefaults: {{variants: {variants}}}\n"
        f"references:\n  logo: {host.url}/logo.png\n"
        "jobs:\n  - {id: table, prompt: the cup, rows: rows.csv}\n"
        "  - {id: named, prompt: the mug, references: [logo]}\n"
        "  - id: axis\n    prompt: the {{ x }}\n    matrix:\n      x: [jug]\n      references:\n"
        f"        - {host.url}/one.png?key=canary\n        - {host.url}/four.png\n"
    )


def test_bad_references_are_errors_with_their_places_and_nothing_is_sent(desk: CliRig, host: Host):
    host.bad = {"one.png": SMALL, "logo.png": NOT_A_PICTURE, "four.png": SMALL}
    done = desk.run("run", campaign(desk, host))
    assert done.returncode == 2
    where = str(desk.folder)
    lines = [line.replace(where + "/", "") for line in done.stderr.splitlines() if "reference" in line]
    assert [line.partition(": the reference")[0] for line in lines] == [
        "campaign.yaml:6:9", "campaign.yaml:16:11", "rows.csv:2:2",
    ]  # fmt: skip
    assert "has 9×9 pixels (at least 15 on each side)" in lines[1]
    assert "is not an image of a known type (one of jpeg, png)" in lines[0]
    assert "canary" not in done.stderr
    assert "nothing was sent" in done.stderr
    assert desk.state()["posts_received"] == 0


def test_each_address_is_looked_at_once_and_good_ones_are_bought_for(desk: CliRig, host: Host):
    done = desk.run("run", campaign(desk, host), "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(host.asked) == ["four.png", "logo.png", "one.png", "two.png"]
    assert desk.state()["posts_received"] == 5


def test_by_default_no_address_is_looked_at(desk: CliRig, host: Host):
    host.bad = {"one.png": SMALL}
    assert desk.run("run", campaign(desk, host, check="false")).returncode == 0
    assert host.asked == []


def test_a_plan_looks_as_well_and_a_selection_at_its_own_alone(desk: CliRig, host: Host):
    host.bad = {"one.png": SMALL}
    source = campaign(desk, host)
    assert 'one.png" has 9×9 pixels' in desk.run("plan", source).stderr
    host.asked.clear()
    assert desk.run("plan", source, "--job", "named").returncode == 0
    assert host.asked == ["logo.png"]


def test_what_is_paid_for_is_collected_although_a_reference_went_bad(desk: CliRig, host: Host):
    assert desk.run("run", campaign(desk, host), "--job", "named").returncode == 0
    for image in (desk.edition / "assets" / "named").iterdir():
        image.unlink()
    next((desk.edition / "ledger").glob("*/a1-archived*")).unlink()  # as if the run had been killed before
    host.bad = {"four.png": SMALL}
    posts = desk.state()["posts_received"]
    done = desk.run("run", campaign(desk, host), "--json")
    assert done.returncode == 2
    assert 'four.png" has 9×9 pixels' in done.stderr
    assert desk.state()["posts_received"] == posts
    assert json.loads(done.stdout.splitlines()[-1])["totals"]["archived"] == 1


def test_what_is_bought_already_is_not_looked_at(desk: CliRig, host: Host):
    source = campaign(desk, host)
    assert desk.run("run", source).returncode == 0
    host.asked.clear()
    host.bad = dict.fromkeys(("one.png", "two.png", "four.png", "logo.png"), SMALL)
    assert desk.run("run", source).returncode == 0
    assert host.asked == []


@pytest.mark.parametrize("value", ["yes", "1", "[true]"])
def test_the_switch_is_true_or_false(desk: CliRig, host: Host, value: str):
    done = desk.run("plan", campaign(desk, host, check=value))
    assert done.returncode == 2
    assert "one of true, false" in done.stderr
