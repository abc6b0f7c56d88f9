"""The whole way as a user goes it: four channels planned, bought, chosen, delivered, proved and read by strangers."""

import csv
import json
from collections.abc import Iterator

import pytest
from support.desk import CliRig, open_desk
from support.masters import exiftool, needs_exiftool, opened

from adloom.channels.shipped import shipped_channels

CHANNELS = ("meta-feed-square", "meta-feed-portrait", "google-landscape", "meta-story")
CAMPAIGN = f"""
campaign: mugs
budget: {{usd: 5}}
marking: {{creator: ACME, credit: ACME Studio}}
defaults: {{size: fit, quality: 2K, deliver: [{", ".join(CHANNELS)}]}}
jobs:
  - id: hero
    prompt: "{{{{ colour }}}} mug on oak"
    alt: "A {{{{ colour }}}} mug on an oak table"
    matrix: {{colour: [red, blue]}}
"""
SAVING = "deliver   4 channels from 2 masters: 4 images, sandbox $0.09; one image a channel would be sandbox $0.18"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliRig]:
    with open_desk(tmp_path_factory.mktemp("whole")) as desk:
        yield desk


@needs_exiftool
def test_from_a_plan_that_says_what_it_saves_to_files_that_strangers_read(desk: CliRig):
    campaign, edition = desk.write(CAMPAIGN, "mugs.yaml"), desk.folder / "archive" / "mugs" / "main"
    planned = desk.run("plan", campaign)
    assert SAVING in planned.stdout, planned.stdout + planned.stderr
    assert desk.run("run", campaign, "--yes").returncode == 0
    gallery = (edition / "gallery.html").read_text()
    assert "delivery/delivery.html" not in gallery
    images = [json.loads(line) for line in (edition / "assets.jsonl").read_text().splitlines()]
    assert len(images) == 4
    with (desk.folder / "review.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["job", "row", "variant", "take", "decision", "focus"])
        table.writerows([
            [each["job"], each["row"], each["variant"], each["take"], word, focus]
            for each, word, focus in zip(
                images, ("approved", "rejected", "approved", "cleared"), ("0.9 0.2", "", "", ""), strict=True
            )
        ])  # fmt: skip
    assert desk.run("review", campaign, "--apply", "review.csv").returncode == 0
    done = desk.run("deliver", campaign, "--approved")
    assert "only approved images are delivered: 2;" in done.stdout, done.stdout + done.stderr
    folder = edition / "delivery"
    lines = [json.loads(line) for line in (folder / "delivery.jsonl").read_text().splitlines()]
    approved = [images[0]["sha256"], images[2]["sha256"]]
    assert [line["master"]["sha256"] for line in lines] == sorted(
        (line["master"]["sha256"] for line in lines), key=approved.index
    )
    assert {line["master"]["sha256"] for line in lines} == set(approved)
    assert {line["focus_source"] for line in lines if line["master"]["sha256"] == approved[0]} == {"decided"}
    assert {line["focus_source"] for line in lines if line["master"]["sha256"] == approved[1]} == {"default"}
    named = {"delivery.csv", "delivery.html", "delivery.json", "delivery.jsonl", *(line["key"] for line in lines)}
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {name for name in present if not name.startswith("records/")} == named
    for line in lines:
        content, channel = (folder / line["key"]).read_bytes(), shipped_channels()[line["channel"]]
        assert opened(content).size == (channel.width_px, channel.height_px)
        found = exiftool(content, desk.folder, "read.jpg")
        assert str(found["XMP-iptcExt:DigitalSourceType"]).endswith("trainedAlgorithmicMedia")
        assert found["XMP-dc:Creator"] == "ACME"
        assert found["XMP-iptcCore:AltTextAccessibility"] == line["alt"]
        assert found["XMP-dc:Source"] == f"sha256:{line['master']['sha256']}"
        assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"
    told = desk.run("inspect", str(folder / lines[0]["key"])).stdout
    assert "made by   trainedAlgorithmicMedia" in told
    assert "delivery/delivery.html" in (edition / "gallery.html").read_text()
    for target in (campaign, str(edition)):
        verified = desk.run("verify", target)
        assert verified.returncode == 0, verified.stdout
    assert "0 files made" in desk.run("deliver", campaign, "--approved").stdout
