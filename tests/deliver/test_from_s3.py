"""Masters in a bucket: delivered, refused, proved and repaired as those of a folder are."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.desk import CliRig, open_desk
from support.masters import opened
from support.s3_server import BUCKET, S3Server, fetch_all

CAMPAIGN = """
campaign: test
budget: {usd: 5}
defaults: {size: "1:1", quality: 1K}
references: {logo: {url: "https://example.com/logo.png", rights: {owner: ACME, valid_until: 2020-01-31}}}
rights: {owner: Mugs Ltd, licence: all media, channels: [banner, tile]}
channels: {banner: {pixels: 300x100, max_bytes: 60000}, tile: {pixels: 200x200}, poster: {pixels: 400x400}}
jobs:
  - {id: mug, prompt: a mug, variants: 2, deliver: [banner, tile, poster]}
  - {id: logo, prompt: a logo, references: [logo], deliver: [tile]}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[CliRig]:
    """The campaign bought into a bucket."""
    with open_desk(tmp_path_factory.mktemp("s3")) as desk:
        desk.environment |= {**s3.environment(), "ADLOOM_ARCHIVE": f"s3://{BUCKET}/{uuid4()}"}
        done = desk.run("run", desk.write(CAMPAIGN))
        assert done.returncode == 0, done.stderr
        yield desk


def _fetched(desk: CliRig, s3: S3Server) -> Path:
    """A copy of the delivery that is in the bucket."""
    folder = desk.folder / f"fetched-{uuid4()}"
    prefix = desk.environment["ADLOOM_ARCHIVE"].removeprefix(f"s3://{BUCKET}/")
    fetch_all(s3, f"{prefix}/test/main/delivery/", folder)
    return folder


def test_masters_in_a_bucket_are_delivered_where_their_rights_allow_it(desk: CliRig, s3: S3Server):
    address = f"{desk.environment['ADLOOM_ARCHIVE']}/test/main"
    done = desk.run("deliver", address, "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["made"], told["refused"]) == (3, 4, 3)
    assert told["address"] == f"{address}/delivery"
    assert "refused   poster: 2 images (mug-a-mug-v1, …): the rights of images are for banner, tile only" in done.stderr
    assert "refused   tile: logo-a-logo-v1: the rights of logo ended on 2020-01-31" in done.stderr
    folder = _fetched(desk, s3)
    lines = [json.loads(line) for line in (folder / "delivery.jsonl").read_text().splitlines()]
    sizes = {"banner": (300, 100), "tile": (200, 200)}
    for line in lines:
        if line["status"] == "delivered":
            assert opened((folder / line["key"]).read_bytes()).size == sizes[line["channel"]]
    assert (folder / "delivery.html").exists()


def test_the_campaign_file_delivers_the_same_and_nothing_is_written_twice(desk: CliRig, s3: S3Server):
    desk.run("deliver", f"{desk.environment['ADLOOM_ARCHIVE']}/test/main")
    before = {path.name: path.read_bytes() for path in _fetched(desk, s3).rglob("*.*")}
    done = desk.run("deliver", "campaign.yaml")
    assert "0 files made, 4 already there, 3 refused" in done.stdout
    assert {path.name: path.read_bytes() for path in _fetched(desk, s3).rglob("*.*")} == before


def test_verify_reads_a_delivery_in_a_bucket_and_the_next_one_repairs_it(desk: CliRig, s3: S3Server):
    address = f"{desk.environment['ADLOOM_ARCHIVE']}/test/main"
    desk.run("deliver", address)
    assert desk.run("verify", address).returncode == 0
    prefix = f"{address.removeprefix(f's3://{BUCKET}/')}/delivery"
    content = s3.client().get_object(Bucket=BUCKET, Key=f"{prefix}/tile/mug-a-mug-v1.jpg")["Body"].read()
    s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}/tile/mug-a-mug-v2.jpg", Body=content)
    s3.client().delete_object(Bucket=BUCKET, Key=f"{prefix}/banner/mug-a-mug-v1.jpg")
    done = desk.run("verify", address)
    assert done.returncode == 3
    assert "delivery/tile/mug-a-mug-v2.jpg: changed" in done.stdout
    assert "delivery/banner/mug-a-mug-v1.jpg: missing" in done.stdout
    assert "2 files made, 2 already there" in desk.run("deliver", address).stdout
    assert desk.run("verify", address).returncode == 0


def test_a_bucket_delivers_to_a_folder(desk: CliRig):
    done = desk.run("deliver", f"{desk.environment['ADLOOM_ARCHIVE']}/test/main", "--to", "out")
    assert "4 files made" in done.stdout
    assert {path.name for path in (desk.folder / "out" / "banner").iterdir()} == {
        "mug-a-mug-v1.jpg", "mug-a-mug-v2.jpg",
    }  # fmt: skip
