"""The table of channels: whole, dated, and honest about where its numbers come from."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from support.desk import open_desk
from typer.testing import CliRunner

from adloom.channels.shipped import shipped_channels
from adloom.cli.app import app
from adloom.cli.deliver import _channel_lines
from adloom.core.channel import FORMATS, RESERVED, Evidence, Gate

CHANNELS = list(shipped_channels().values())


def test_the_table_holds_25_channels_each_with_its_source_and_its_day():
    assert len(CHANNELS) == 25
    assert all(channel.source and channel.checked for channel in CHANNELS)
    assert {channel.evidence for channel in CHANNELS} == {Evidence.OFFICIAL, Evidence.MIRROR, Evidence.SECONDARY}


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.id)
def test_a_channel_can_be_delivered_to(channel):
    assert channel.width_px > 0
    assert channel.height_px > 0
    assert set(channel.formats) <= set(FORMATS)
    assert channel.written_as in channel.formats
    assert channel.written_as != "gif"
    assert channel.max_bytes > 10_000
    assert channel.id not in RESERVED
    assert channel.safe.top + channel.safe.bottom < 1
    assert channel.safe.left + channel.safe.right < 1


def test_jpeg_is_written_where_it_is_taken_unless_the_campaign_says_otherwise():
    pinterest = shipped_channels()["pinterest-standard"]
    assert pinterest.formats[0] == "png"
    assert pinterest.written_as == "jpeg"
    assert replace(pinterest, format="png").written_as == "png"
    assert replace(pinterest, formats=("gif", "webp")).written_as == "webp"


def test_only_the_ceiling_of_tiktok_advises():
    assert [channel.id for channel in CHANNELS if channel.gate is Gate.ADVISE] == ["tiktok-vertical"]


def test_a_row_is_stale_after_180_days_and_said_to_be():
    channel = CHANNELS[0]
    assert channel.checked is not None
    last = channel.checked + timedelta(days=180)
    assert not any(line.startswith("warning") for line in _channel_lines(CHANNELS, last))
    (line,) = [line for line in _channel_lines([channel], last + timedelta(days=1)) if line.startswith("warning")]
    assert channel.id in line
    assert not replace(channel, checked=None).is_stale(date(2090, 1, 1))


def test_the_list_says_which_rows_are_not_from_the_platform_itself():
    told = CliRunner().invoke(app, ["channels"]).stdout
    assert "mirror: 7 rows come from a copy of the platform's page on another site, not the platform itself" in told
    assert "secondary: 13 rows come from another party's guide, not the platform itself" in told


def test_the_list_as_data():
    done = CliRunner().invoke(app, ["channels", "--json"])
    rows = {row["id"]: row for row in json.loads(done.stdout.splitlines()[-1])["channels"]}
    assert rows["meta-story"]["safe"] == {"top": 0.14, "bottom": 0.35, "left": 0.06, "right": 0.06}
    assert rows["google-landscape"]["evidence"] == "official"
    assert rows["google-landscape"]["checked"] == "2026-11-24"
    ratios = {name: rows[name]["ratio"] for name in ("google-landscape", "meta-story", "gdn-160x600", "gdn-728x90")}
    assert list(ratios.values()) == ["1.91:1", "9:16", "4:15", "8.09:1"]


CAMPAIGN = """
campaign: test
budget: {usd: 5}
channels:
  shop-hero: {pixels: 2000x800, format: webp, max_bytes: 200000}
  tiktok-vertical: {max_bytes: 500000, safe: {top: 0.1}}
jobs:
  - {id: mug, prompt: "a mug", size: "1:1"}
"""


def test_a_campaign_s_own_channels_are_listed_beside_the_shipped_ones(tmp_path: Path):
    with open_desk(tmp_path) as desk:
        source = desk.write(CAMPAIGN)
        told = desk.run("channels", "campaign.yaml").stdout.splitlines()
        shop = next(line for line in told if line.startswith("shop-hero"))
        assert shop.split()[1:] == ["2000x800", "5:2", "200", "kB", "hard", "webp", "campaign", "campaign.yaml"]
        changed = "ceiling 500 kB instead of 100 kB, safe top 0.1 instead of none"
        assert f"campaign  tiktok-vertical: {changed}" in told
        done = desk.run("channels", source, "--json")
        rows = {row["id"]: row for row in json.loads(done.stdout.splitlines()[-1])["channels"]}
        assert len(rows) == 26
        assert [name for name, row in rows.items() if row["campaign"]] == ["tiktok-vertical", "shop-hero"]
        tiktok = rows["tiktok-vertical"]
        assert (tiktok["max_bytes"], tiktok["evidence"], tiktok["checked"]) == (500_000, "secondary", "2026-11-24")
        assert desk.run("run", source).returncode == 0
        found = desk.run("channels", str(desk.edition), "--json")  # the plan knows them too
        of_plan = json.loads(found.stdout.splitlines()[-1])["channels"]
        assert [{**row, "source": ""} for row in of_plan] == [{**row, "source": ""} for row in rows.values()]
        missing = desk.run("channels", "nothing.yaml")
        assert (missing.returncode, "nothing.yaml" in missing.stderr) == (2, True)
