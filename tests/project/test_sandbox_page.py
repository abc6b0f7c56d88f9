"""docs/sandbox.md lists every switch of the sandbox with its default, and every kind of damage and code."""

import json
import re
from pathlib import Path
from typing import get_args

from adloom.sandbox.faults import Route, WireFault
from adloom.sandbox.settings import FINAL_CODES, TRANSIENT_CODES, PictureDamage, SandboxSettings

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
SWITCHES = PAGE.partition("\n## Switches\n")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", SWITCHES, re.MULTILINE))
DEFAULTS = SandboxSettings().model_dump(mode="json")
ELSEWHERE = "see [codes](#codes)"


def test_every_switch_has_a_row_with_its_default():
    shown = {name: f"`{json.dumps(value)}`" for name, value in DEFAULTS.items()}
    shown |= dict.fromkeys(("transient_codes", "final_codes"), ELSEWHERE)
    assert shown == ROWS


def test_every_default_can_be_given_as_it_is_shown():
    given = {name: json.loads(text.strip("`")) for name, text in ROWS.items() if text != ELSEWHERE}
    assert SandboxSettings.model_validate(given) == SandboxSettings()


def test_every_code_route_fault_and_damage_is_there():
    words = {*TRANSIENT_CODES, *FINAL_CODES, *get_args(Route), *get_args(WireFault), *get_args(PictureDamage)}
    assert words - set(re.findall(r"`([^`\n]+)`", PAGE)) == set()
