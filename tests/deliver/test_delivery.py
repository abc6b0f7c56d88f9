"""A delivery from an archive: every file as its channel takes it, recorded, and nothing done twice."""

import csv
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.desk import CliRig, open_desk
from support.masters import exiftool, needs_exiftool, opened, picture, saved
from support.s3_server import BUCKET, S3Server

from adloom.channels.shipped import shipped_channels
from adloom.core.file_name import safe
from adloom.deliver.encode import MEDIA_TYPES

CAMPAIGN = """
campaign: test
budget: {usd: 5}
defaults: {size: "1:1", quality: 2K}
jobs:
  - id: hero
    prompt: "{{ colour }} mug"
    matrix: {colour: [red, "=blue"]}
    variants: 2
  - id: small
    prompt: "a tiny mug"
    quality: 1K
"""
CHANNELS = ("--channel", "meta-feed-square", "--channel", "google-landscape")


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a small campaign."""
    folder = tmp_path_factory.mktemp("bought")
    with open_desk(folder) as desk:
        done = desk.run("run", desk.write(CAMPAIGN))
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def desk(bought: Path, tmp_path: Path) -> Iterator[CliRig]:
    shutil.copytree(bought, tmp_path, dirs_exist_ok=True)
    desk = CliRig(tmp_path, "http://127.0.0.1:9")
    yield desk
    desk.client.close()


def _lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "delivery.jsonl").read_text().splitlines()]


def _stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_is_what_its_channel_takes_and_is_recorded(desk: CliRig):
    done = desk.run("deliver", str(desk.edition), *CHANNELS, "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["made"], told["refused"]) == (3, 8, 2)  # the 1K masters are smaller than both
    assert "nobody has decided on any image yet, so all are delivered" in done.stderr
    folder = desk.edition / "delivery"
    lines = _lines(folder)
    assert [line["status"] for line in lines].count("delivered") == 8
    for line in lines:
        if line["status"] == "refused":
            assert "cannot be cut from it without enlarging" in line["reason"]
            continue
        content = (folder / str(line["key"])).read_bytes()
        channel = shipped_channels()[str(line["channel"])]
        assert opened(content).size == (channel.width_px, channel.height_px) == (line["width_px"], line["height_px"])
        assert line["media_type"] == MEDIA_TYPES[channel.written_as]
        assert len(content) == line["size_bytes"] <= channel.max_bytes
        assert hashlib.sha256(content).hexdigest() == line["sha256"] == line["unsigned_sha256"]
        assert line["marks"] == {"xmp": True, "c2pa": "none"}
        master = (desk.edition / line["master"]["key"]).read_bytes()
        assert hashlib.sha256(master).hexdigest() == line["master"]["sha256"]
    assert lines[0]["key"] == "meta-feed-square/hero-red-v1.jpg"
    head = json.loads((folder / "delivery.json").read_text())
    assert head["counts"]["channels"] == {"google-landscape": 4, "meta-feed-square": 4}
    for name, about in head["files"].items():
        content = (folder / name).read_bytes()
        assert (about["sha256"], about["lines"]) == (hashlib.sha256(content).hexdigest(), len(lines))
    with (folder / "delivery.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [line["key"] or "" for line in lines]
    assert {row["ai_disclosure"] for row in rows} == {"trainedAlgorithmicMedia"}
    assert desk.run("verify", str(desk.edition)).returncode == 0


def test_the_same_delivery_again_writes_nothing(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    before = _stamps(desk.edition / "delivery")
    done = desk.run("deliver", str(desk.edition), *CHANNELS)
    assert "0 files made, 8 already there, 2 refused" in done.stdout
    assert _stamps(desk.edition / "delivery") == before


def test_what_is_gone_or_damaged_is_made_again_and_nothing_else(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    folder = desk.edition / "delivery"
    before = _stamps(folder)
    gone, damaged = (folder / str(line["key"]) for line in _lines(folder)[:2])
    gone.unlink()
    damaged.write_bytes(b"nonsense")
    assert "2 files made, 6 already there" in desk.run("deliver", str(desk.edition), *CHANNELS).stdout
    after = _stamps(folder)
    assert {name: content for name, (_, content) in after.items()} == {n: content for n, (_, content) in before.items()}
    assert sum(after[name][0] != before[name][0] for name in after) == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"former": 5}'])
def test_a_record_that_is_damaged_is_made_again(desk: CliRig, content: bytes):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    folder = desk.edition / "delivery"
    before = {name: found for name, (_, found) in _stamps(folder).items()}
    for path in (folder / "delivery.json", folder / "delivery.jsonl"):
        path.write_bytes(content)
    verified = desk.run("verify", str(desk.edition))
    assert verified.returncode == 3
    assert "`adloom deliver` makes it again" in verified.stdout
    assert "0 files made, 8 already there" in desk.run("deliver", str(desk.edition), *CHANNELS).stdout
    assert {name: found for name, (_, found) in _stamps(folder).items()} == before
    assert desk.run("verify", str(desk.edition)).returncode == 0


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_files_whose_record_is_damaged_are_made_again(desk: CliRig, content: bytes):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    folder = desk.edition / "delivery"
    before = {name: found for name, (_, found) in _stamps(folder).items()}
    files = next(folder.glob("records/*.json"))
    made = sum(line["key"] is not None for line in json.loads(files.read_text())["lines"].values())
    files.write_bytes(content)
    assert f"{made} files made, {8 - made} already there" in desk.run("deliver", str(desk.edition), *CHANNELS).stdout
    assert {name: found for name, (_, found) in _stamps(folder).items()} == before


def test_a_repair_does_not_call_a_damaged_delivery_in_order(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    (desk.edition / "delivery" / "delivery.json").write_bytes(b"{")
    (desk.edition / "assets.csv").write_bytes(b"nonsense")
    repaired = desk.run("verify", str(desk.edition), "--repair")
    assert (repaired.returncode, "in order" in repaired.stdout) == (3, False)
    assert "repaired: assets.csv" in repaired.stdout
    (desk.edition / "assets.csv").write_bytes(b"nonsense")
    desk.run("deliver", str(desk.edition), *CHANNELS)
    assert "everything is in order now" in desk.run("verify", str(desk.edition), "--repair").stdout


def test_a_master_that_is_damaged_refuses_its_files_until_it_is_back(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    line = _lines(desk.edition / "delivery")[0]
    master = desk.edition / line["master"]["key"]
    content = master.read_bytes()
    master.write_bytes(content[:-1])
    (desk.edition / "delivery" / str(line["key"])).unlink()
    assert "the master is missing or damaged" in desk.run("deliver", str(desk.edition), *CHANNELS).stdout
    master.write_bytes(content)
    assert "1 file made, 7 already there" in desk.run("deliver", str(desk.edition), *CHANNELS).stdout


def test_a_delivery_that_is_killed_goes_on_where_it_was(desk: CliRig):
    folder = desk.folder / "out"
    names = [name for name, channel in shipped_channels().items() if max(channel.width_px, channel.height_px) < 1300]
    options = [part for name in names for part in ("--channel", name)]
    process = desk.start("deliver", str(desk.edition), "--to", str(folder), "--workers", "1", *options)
    while not list(folder.glob("records/*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "delivery.json").exists()
    recorded = [json.loads(path.read_text())["lines"] for path in folder.glob("records/*.json")]
    keys = [line["key"] for lines in recorded for line in lines.values() if line["key"]]
    before = {key: (folder / key).stat().st_mtime_ns for key in keys}
    assert before
    done = desk.run("deliver", str(desk.edition), "--to", str(folder), *options, "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kept"] == len(before)
    assert told["made"] + told["kept"] == told["files"]
    assert {key: (folder / key).stat().st_mtime_ns for key in before} == before
    for line in _lines(folder):
        if line["key"]:
            assert hashlib.sha256((folder / str(line["key"])).read_bytes()).hexdigest() == line["sha256"]


@pytest.mark.parametrize("place", ["ledger", "assets", "", "link"])
def test_nothing_is_delivered_among_an_editions_own_records(desk: CliRig, place: str):
    (desk.folder / "link").symlink_to(desk.edition / "plan")
    folder = desk.folder / "link" if place == "link" else desk.edition / place
    before = sorted(desk.edition.rglob("*"))
    done = desk.run("deliver", str(desk.edition), *CHANNELS, "--to", str(folder))
    assert (done.returncode, "among its own records" in done.stderr) == (2, True)
    assert sorted(desk.edition.rglob("*")) == before


def test_a_folder_holds_the_delivery_of_one_edition(desk: CliRig):
    out = desk.folder / "out"
    arguments = ("deliver", str(desk.edition), "--channel", "original", "--to", str(out))
    assert desk.run(*arguments).returncode == 0
    shutil.copytree(desk.edition, desk.edition.with_name("second"))
    before = _stamps(out)
    done = desk.run("deliver", str(desk.edition.with_name("second")), *arguments[2:])
    assert done.returncode == 2
    assert "holds the delivery of test, edition main" in done.stderr
    assert _stamps(out) == before
    assert desk.run(*arguments).returncode == 0
    moved = desk.edition.rename(desk.edition.with_name("moved"))  # with the delivery in its own folder
    assert desk.run("deliver", str(moved), "--channel", "original").returncode == 0
    renamed = moved.rename(moved.with_name("renamed"))
    assert desk.run("deliver", str(renamed), "--channel", "original").returncode == 0


def test_a_folder_that_cannot_be_delivered_to_is_not_called_the_archive(desk: CliRig):
    (desk.folder / "out").write_text("a file")
    done = desk.run("deliver", str(desk.edition), "--channel", "original", "--to", str(desk.folder / "out"))
    assert done.returncode == 2
    assert "the delivery's folder cannot be used" in done.stderr
    assert "--archive" not in done.stderr


def test_names_follow_a_template_and_two_of_one_name_are_refused_before_anything_is_written(desk: CliRig):
    arguments = ("deliver", str(desk.edition), "--channel", "meta-feed-square", "--to", str(desk.folder / "out"))
    done = desk.run(*arguments, "--name", "{{ job }}-{{ variant }}")
    assert done.returncode == 2
    assert "two images would be delivered as meta-feed-square/hero-1: hero/" in done.stderr
    done = desk.run(*arguments, "--name", "{{ nothing }}")
    assert (done.returncode, "--name" in done.stderr) == (2, True)
    assert not (desk.folder / "out").exists()
    assert desk.run(*arguments, "--name", "{{ creative }} für {{ channel }}").returncode == 3
    names = {path.name for path in (desk.folder / "out" / "meta-feed-square").iterdir()}
    assert "hero-red-v1-f-r-meta-feed-square.jpg" in names


@pytest.mark.parametrize(("text", "name"), [("CON", "CON-"), ("nul.x", "nul-.x"), ("Com1", "Com1-"), ("cone", "cone")])
def test_no_file_is_called_as_a_device_of_windows(text: str, name: str):
    assert safe(text) == name


def test_the_campaign_s_own_names_are_the_default_also_of_originals(desk: CliRig):
    named = CAMPAIGN.replace(
        "quality: 2K}", "quality: 2K, name: \"{{ job }} {{ variant }} {{ colour|default('-') }}\"}"
    )
    source = desk.write(named)
    before = sorted(path.name for path in (desk.edition / "assets").rglob("*.*"))
    assert desk.run("deliver", source, "--channel", "original", "--channel", "meta-feed-square").returncode in (0, 3)
    for channel in ("original", "meta-feed-square"):
        names = {path.stem for path in (desk.edition / "delivery" / channel).iterdir()}
        assert "hero-1-red" in names
        assert all(name.startswith(("hero-1-", "hero-2-", "small-1")) for name in names)
    assert sorted(path.name for path in (desk.edition / "assets").rglob("*.*")) == before
    done = desk.run("deliver", source, "--channel", "original", "--name", "x-{{ creative }}", "--to", "out")
    assert done.returncode == 0, done.stderr
    assert all(path.name.startswith("x-") for path in (desk.folder / "out" / "original").iterdir())


def test_an_unknown_channel_and_a_delivery_to_nowhere_are_bad_input(desk: CliRig):
    done = desk.run("deliver", str(desk.edition), "--channel", "meta-strory")
    assert (done.returncode, "meta-strory" in done.stderr, "adloom channels" in done.stderr) == (2, True, True)
    done = desk.run("deliver", str(desk.edition))
    assert (done.returncode, "no row says where its images go" in done.stderr) == (2, True)
    assert not (desk.edition / "delivery").exists()


def test_originals_are_copied_byte_for_byte(desk: CliRig):
    assert desk.run("deliver", str(desk.edition), "--channel", "original").returncode == 0
    for line in _lines(desk.edition / "delivery"):
        copied = (desk.edition / "delivery" / str(line["key"])).read_bytes()
        assert copied == (desk.edition / line["master"]["key"]).read_bytes()


def test_channels_one_by_one_add_up_and_what_is_left_over_is_said(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS[:2])
    desk.run("deliver", str(desk.edition), *CHANNELS[2:])
    assert {line["channel"] for line in _lines(desk.edition / "delivery")} == {"meta-feed-square", "google-landscape"}
    done = desk.run("deliver", str(desk.edition), *CHANNELS, "--name", "x-{{ creative }}")
    assert "files of earlier deliveries that are no part of this one: 8" in done.stdout


@needs_exiftool
def test_a_stranger_s_reader_finds_what_was_written(desk: CliRig):
    desk.run("deliver", str(desk.edition), "--channel", "meta-feed-square")
    line = _lines(desk.edition / "delivery")[0]
    found = exiftool((desk.edition / "delivery" / str(line["key"])).read_bytes(), desk.folder, "read.jpg")
    assert str(found["XMP-iptcExt:DigitalSourceType"]).endswith("trainedAlgorithmicMedia")
    assert found["XMP-iptcExt:AISystemUsed"] == "doubao-seedream-4.0"
    assert found["XMP-dc:Identifier"] == line["creative"] == "hero-red-v1"


def test_a_delivery_to_a_bucket_is_the_one_to_a_folder(desk: CliRig, s3: S3Server):
    prefix = f"delivered/{uuid4()}"
    desk.run("deliver", str(desk.edition), *CHANNELS, "--to", str(desk.folder / "out"))
    arguments = ("deliver", str(desk.edition), *CHANNELS, "--to", f"s3://{BUCKET}/{prefix}")
    assert "8 files made" in desk.run(*arguments, **s3.environment()).stdout
    assert "0 files made, 8 already there" in desk.run(*arguments, **s3.environment()).stdout
    client = s3.client()
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]]
    for path in (desk.folder / "out").rglob("*.*"):
        name = str(path.relative_to(desk.folder / "out"))
        found = client.get_object(Bucket=BUCKET, Key=f"{prefix}/{name}")
        assert found["Body"].read() == path.read_bytes()
        keys.remove(f"{prefix}/{name}")
        if path.suffix == ".jpg":
            assert found["ContentType"] == "image/jpeg"
    assert keys == []


def _forge(folder: Path, change: dict[str, object]) -> None:
    """Rewrite the first line of the table, and all hashes that vouch for it."""
    lines = _lines(folder)
    lines[0] |= change
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()
    (folder / "delivery.jsonl").write_bytes(text)
    head = json.loads((folder / "delivery.json").read_text())
    head["files"]["delivery.jsonl"]["sha256"] = hashlib.sha256(text).hexdigest()
    (folder / "delivery.json").write_text(json.dumps(head))


def _verified(desk: CliRig) -> list[str]:
    done = desk.run("verify", str(desk.edition), "--json")
    found = json.loads(done.stdout.splitlines()[-1])["findings"]
    assert done.returncode == (3 if found else 0)
    return [f"{each['key']}: {each['damage']} {each['detail']}" for each in found]


def test_verify_finds_what_was_done_to_a_delivery(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    folder = desk.edition / "delivery"
    first, second, third = (folder / str(line["key"]) for line in _lines(folder)[:3])
    assert _verified(desk) == []
    flipped, swapped = bytearray(first.read_bytes()), second.read_bytes()
    flipped[-20] ^= 1
    first.write_bytes(flipped)
    second.write_bytes(third.read_bytes())
    third.unlink()
    (folder / "meta-feed-square" / "smuggled.jpg").write_bytes(swapped)
    found = _verified(desk)
    for name, damage in ((first, "changed"), (second, "changed"), (third, "missing")):
        assert f"delivery/{name.relative_to(folder)}: {damage} `adloom deliver` makes it again" in found
    assert "delivery/meta-feed-square/smuggled.jpg: added " in found
    assert len(found) == 4
    (folder / "meta-feed-square" / "smuggled.jpg").unlink()
    desk.run("deliver", str(desk.edition), *CHANNELS)
    assert _verified(desk) == []


def test_verify_finds_a_file_whose_record_was_forged_with_it(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    folder = desk.edition / "delivery"
    path = folder / str(_lines(folder)[0]["key"])
    honest = path.read_bytes()
    for forged, said in (
        (saved(opened(honest), quality=90), "its marks are gone"),
        (saved(picture(1080, 1080), quality=90, xmp=opened(honest).info["xmp"]), "its master does not make it"),
    ):
        path.write_bytes(forged)
        sha256 = hashlib.sha256(forged).hexdigest()
        _forge(folder, {"sha256": sha256, "unsigned_sha256": sha256, "size_bytes": len(forged)})
        (found,) = _verified(desk)
        assert said in found


def test_verify_finds_a_table_that_was_changed(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    table = desk.edition / "delivery" / "delivery.csv"
    table.write_bytes(table.read_bytes() + b"more\r\n")
    assert [found.split()[0] for found in _verified(desk)] == ["delivery/delivery.csv:"]


def test_the_page_shows_each_image_with_its_files_and_why_some_are_refused(desk: CliRig):
    desk.run("deliver", str(desk.edition), *CHANNELS)
    page = (desk.edition / "delivery" / "delivery.html").read_text()
    assert (
        '<a class="frame" href="meta-feed-square/hero-red-v1.jpg"><img src="meta-feed-square/hero-red-v1.jpg"' in page
    )
    assert "google-landscape: 1200×628, " in page
    assert "cannot be cut from it without enlarging" in page
    assert 'style="top:10.0%;bottom:10.0%;left:10.0%;right:10.0%"' in page
    assert page.count("<section>") == 5


MERGED = """
campaign: test
duplicates: merge
budget: {usd: 5}
defaults: {size: "1:1", quality: 2K}
jobs:
  - {id: feed, prompt: "a mug", deliver: [meta-feed-square]}
  - {id: wide, prompt: "a mug", deliver: [google-landscape]}
"""


def test_jobs_that_share_an_image_each_keep_their_files(tmp_path: Path):
    with open_desk(tmp_path) as desk:
        source = desk.write(MERGED)
        assert desk.run("run", source).returncode == 0
        assert "2 files made" in desk.run("deliver", source).stdout
        before = _stamps(desk.edition / "delivery")
        assert "0 files made, 2 already there" in desk.run("deliver", source).stdout
        assert _stamps(desk.edition / "delivery") == before
