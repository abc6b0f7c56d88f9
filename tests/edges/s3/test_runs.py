"""The command line with its archive in S3: a real server, a real sandbox, and the charge log as judge."""

import io
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from PIL import Image
from support.desk import CliRig, ended
from support.s3_proxy import Proxy, running_proxy
from support.s3_server import BUCKET, S3Server, running_s3_server
from support.shop import campaign_text

MUGS = "  - {id: mugs, prompt: 'a {{ colour }} mug', variants: 2, matrix: {colour: [red, green, blue, white]}}\n"
WANTED = 8
TWO_CALLS = MUGS.replace(", blue, white", "")


@pytest.fixture
def s3_desk(desk: CliRig, s3: S3Server) -> CliRig:
    return _with_archive(desk, s3)


def _with_archive(desk: CliRig, server: S3Server, **environment: str) -> CliRig:
    desk.environment |= server.environment() | {"ADLOOM_ARCHIVE": f"s3://{BUCKET}/{uuid4()}"} | environment
    return desk


@pytest.fixture
def through_proxy(desk: CliRig, s3: S3Server) -> Iterator[tuple[CliRig, Proxy]]:
    with running_proxy(s3.endpoint) as proxy:
        yield _with_archive(desk, s3, AWS_ENDPOINT_URL_S3=proxy.url), proxy


def _made(desk: CliRig) -> int:
    return sum(int(str(charge["made"])) for charge in desk.charges())


def _archived(desk: CliRig, server: S3Server) -> int:
    bucket, _, prefix = desk.environment["ADLOOM_ARCHIVE"].removeprefix("s3://").partition("/")
    found = server.client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/test/main/assets/")
    return len(found.get("Contents", ()))


def test_a_campaign_in_s3_is_bought_once_and_proved_from_its_address_alone(
    s3_desk: CliRig, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
):
    done = s3_desk.run("run", s3_desk.write(campaign_text(MUGS)), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["totals"]["archived"] == WANTED == _made(s3_desk) == _archived(s3_desk, s3)
    edition = s3_desk.environment["ADLOOM_ARCHIVE"] + "/test/main"
    assert said["manifest"] == f"{edition}/manifest.json"
    posts = s3_desk.state()["posts_received"]
    assert s3_desk.run("run", "campaign.yaml").returncode == 0
    assert s3_desk.state()["posts_received"] == posts

    elsewhere = CliRig(tmp_path_factory.mktemp("elsewhere"), s3_desk.base_url)
    elsewhere.environment |= s3.environment()
    assert f"{WANTED} archived" in elsewhere.run("status", edition).stdout
    assert elsewhere.run("verify", edition).returncode == 0
    victim = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=edition.removeprefix(f"s3://{BUCKET}/") + "/assets/")
    s3.client().put_object(Bucket=BUCKET, Key=victim["Contents"][0]["Key"], Body=b"another")
    assert elsewhere.run("verify", edition).returncode == 3


def test_the_page_in_s3_leads_to_its_images_by_relative_links(s3_desk: CliRig, s3: S3Server):
    s3_desk.run("run", s3_desk.write(campaign_text(MUGS)))
    prefix = s3_desk.environment["ADLOOM_ARCHIVE"].removeprefix(f"s3://{BUCKET}/") + "/test/main/"
    page = s3.client().get_object(Bucket=BUCKET, Key=f"{prefix}gallery.html")
    assert page["ContentType"] == "text/html; charset=utf-8"
    text = page["Body"].read().decode()
    assert "s3://" not in text
    assert "127.0.0.1" not in text
    lines = s3.client().get_object(Bucket=BUCKET, Key=f"{prefix}assets.jsonl")["Body"].read().decode().splitlines()
    for key in (json.loads(line)["key"] for line in lines):
        assert f'"{key}"' in text
        assert s3.client().head_object(Bucket=BUCKET, Key=prefix + key)["ContentType"] == "image/jpeg"


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"ADLOOM_ARCHIVE": f"s3://{BUCKET}/../x"}, 2, "not an S3 address"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 2, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "stranger"}, 2, "AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, 7, "AWS_ENDPOINT_URL_S3"),
        ({"AWS_ENDPOINT_URL_S3": "http://s3.example.com"}, 2, "in the clear"),
        ({"ADLOOM_S3_SSE": "rot13"}, 2, "ADLOOM_S3_SSE"),
    ],
)
def test_an_archive_that_cannot_be_used_is_found_before_the_first_purchase(
    s3_desk: CliRig, environment: dict[str, str], code: int, said: str
):
    done = s3_desk.run("run", s3_desk.write(campaign_text(MUGS)), **environment)
    assert done.returncode == code
    assert said in done.stderr
    assert s3_desk.state()["posts_received"] == 0


@pytest.mark.parametrize("refusal", ["403 AccessDenied", "403 RequestTimeTooSkewed", "400 ExpiredToken"])
def test_a_refusal_to_write_is_found_before_the_first_purchase(through_proxy: tuple[CliRig, Proxy], refusal: str):
    desk, proxy = through_proxy
    proxy.rule = lambda method, _: refusal if method == "PUT" else None
    done = desk.run("run", desk.write(campaign_text(MUGS)))
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert desk.state()["posts_received"] == 0


def test_a_token_that_ends_in_the_middle_stops_the_buying_and_loses_nothing(
    through_proxy: tuple[CliRig, Proxy], s3: S3Server
):
    desk, proxy = through_proxy

    def rule(method: str, path: str) -> str | None:
        """From the second image on nothing is taken but the word on a purchase that is out, which a run waits for."""
        images = [known for asked, known in proxy.seen if asked == "PUT" and "/assets/" in known]
        return "400 ExpiredToken" if method == "PUT" and len(images) > 1 and "-accepted." not in path else None

    proxy.rule = rule
    first = desk.run("run", desk.write(campaign_text(MUGS)), "--in-flight", "1", ADLOOM_POLL_INTERVAL_S="0.01")
    assert first.returncode == 7
    assert "log in again" in first.stderr
    assert 0 < _made(desk) < WANTED
    proxy.rule = lambda *_: None
    assert desk.run("run", "campaign.yaml").returncode == 0
    assert _made(desk) == WANTED == _archived(desk, s3)


def test_a_throttled_archive_loses_nothing_and_buys_nothing_twice(through_proxy: tuple[CliRig, Proxy], s3: S3Server):
    desk, proxy = through_proxy
    proxy.rule = lambda *_: "503 SlowDown" if len(proxy.seen) % 3 == 0 else None
    assert desk.run("run", desk.write(campaign_text(TWO_CALLS))).returncode == 0
    assert _made(desk) == 4 == _archived(desk, s3)


def test_replies_of_the_archive_that_get_lost_cost_nothing(through_proxy: tuple[CliRig, Proxy], s3: S3Server):
    desk, proxy = through_proxy
    proxy.rule = lambda *_: "lose" if len(proxy.seen) % 4 == 0 else None
    assert desk.run("run", desk.write(campaign_text(TWO_CALLS))).returncode == 0
    assert _made(desk) == 4 == _archived(desk, s3)
    assert desk.run("verify", "campaign.yaml").returncode == 0


def test_a_server_that_dies_in_the_middle_and_comes_back_is_waited_for(desk: CliRig, tmp_path: Path):
    with running_s3_server(tmp_path / "s3") as server:
        _with_archive(desk, server)
        process = desk.start("run", desk.write(campaign_text(MUGS)), "--in-flight", "1", "--json")
        while _made(desk) < 2:
            time.sleep(0.02)
        server.kill()
        made_at_the_kill = _made(desk)
        restart = threading.Timer(3, server.start)
        restart.start()
        out, err = process.communicate(timeout=240)
        restart.join()
        assert process.returncode == 0, err
        assert json.loads(out.splitlines()[-1])["totals"]["archived"] == WANTED
        assert made_at_the_kill < WANTED == _made(desk) == _archived(desk, server)


SPRING = """\
campaign: test
budget: {usd: 50}
defaults: {size: '1:1', quality: 1K}
references: {bottle: {file: references/bottle.png}}
jobs:
  - {id: mugs, prompt: "a {{ colour }} mug", rows: tables/mugs.csv, references: [bottle]}
  - {id: vase, prompt: "a {{ shape }} vase", matrix: axes.csv}
"""


@pytest.fixture
def bucket_campaign(s3: S3Server) -> str:
    """A campaign in a bucket, with its tables and its picture beside it."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    files = {
        "spring.yaml": SPRING.encode(),
        "tables/mugs.csv": b"id,colour\nr,red\nb,blue\n",
        "axes.csv": b"shape\nround\ntall\n",
        "references/bottle.png": picture.getvalue(),
    }
    folder = f"campaigns/{uuid4()}"
    for name, content in files.items():
        s3.client().put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=content)
    return f"s3://{BUCKET}/{folder}/spring.yaml"


def test_a_campaign_in_a_bucket_is_run_with_its_tables_and_pictures(s3_desk: CliRig, bucket_campaign: str):
    done = s3_desk.run("run", bucket_campaign, EVOLINK_FILES_URL=s3_desk.base_url)
    assert done.returncode == 0, done.stderr
    assert _made(s3_desk) == 4
    sent = [charge["references"] for charge in s3_desk.charges() if "mug" in str(charge["prompt"])]
    assert sent == [1, 1]
    assert s3_desk.run("run", bucket_campaign, EVOLINK_FILES_URL=s3_desk.base_url).returncode == 0
    assert _made(s3_desk) == 4
    assert "4 archived" in s3_desk.run("status", bucket_campaign).stdout


def test_what_is_wrong_with_a_campaign_in_a_bucket_is_said_of_its_address(
    s3_desk: CliRig, s3: S3Server, bucket_campaign: str
):
    folder = bucket_campaign.rpartition("/")[0]
    key = folder.removeprefix(f"s3://{BUCKET}/")
    s3.client().put_object(Bucket=BUCKET, Key=f"{key}/tables/mugs.csv", Body=b"id,colour,size\nr,red,7:9\n")
    broken = SPRING.replace("axes.csv", "gone.csv").replace("references: [bottle]", "references: [../x.png]")
    s3.client().put_object(Bucket=BUCKET, Key=f"{key}/spring.yaml", Body=broken.encode())
    done = s3_desk.run("plan", bucket_campaign)
    assert done.returncode == 2
    assert f"{folder}/tables/mugs.csv:2:" in done.stderr
    assert f"{folder}/spring.yaml:7:" in done.stderr
    assert "gone.csv" in done.stderr
    assert 'no file "../x.png" next to the campaign file' in done.stderr
    assert "/tmp" not in done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"s3://{BUCKET}/nowhere/spring.yaml", "does not exist"),
        ("s3://no-such-bucket/spring.yaml", "NoSuchBucket"),
        (f"s3://{BUCKET}/../spring.yaml", "cannot be read"),
        ("ftp://example.com/spring.yaml", "Give a path or s3://"),
    ],
)
def test_a_campaign_that_is_in_no_bucket_is_said_with_its_address(s3_desk: CliRig, source: str, said: str):
    done = s3_desk.run("plan", source)
    assert done.returncode == 2
    assert source in done.stderr
    assert said in done.stderr


def test_an_edition_in_s3_is_chosen_from_by_file_and_on_its_served_page(s3_desk: CliRig):
    source = s3_desk.write(campaign_text(TWO_CALLS))
    assert s3_desk.run("run", source).returncode == 0
    told = json.loads(s3_desk.run("review", source, "--json").stdout.splitlines()[-1])
    assert told["counts"]["waiting"] == told["counts"]["images"] == WANTED // 2
    page = s3_desk.start("review", source, "--serve", "--by", "ann")
    assert page.stdout is not None
    url = page.stdout.readline().strip()
    html = httpx.get(url).text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    image, key = next((each[3], each[5]) for each in json.loads(data)["images"])
    assert httpx.get(url + key).headers["content-type"] == "image/jpeg"
    origin = url.rpartition("/")[0].rpartition("/")[0]
    said = {"id": image, "decision": "rejected", "change": "brighter"}
    assert httpx.post(url + "decide", json=said, headers={"Origin": origin}).status_code == 200
    page.send_signal(signal.SIGINT)
    assert ended(page).returncode == 0
    assert s3_desk.run("run", source, "--only", "rejected").returncode == 0
    assert s3_desk.bought("brighter") == 1
    assert s3_desk.run("verify", source).returncode == 0
