"""The five models side by side, against a server that is strict about each one's rules."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

from support.desk import CliRig

FAMILY = Path(__file__).parents[2] / "campaigns"


def test_every_model_is_bought_from_at_its_own_price(desk: CliRig):
    shutil.copytree(FAMILY / "references", desk.folder / "references")
    text = (FAMILY / "family.yaml").read_text(encoding="utf-8")
    more = "  - {id: others, prompt: a lighthouse, variants: 3, model: [doubao-seedream-4.0, doubao-seedream-4.5]}\n"
    source = desk.write(text + more, "family.yaml")
    planned, done, again = (_last(desk, word, source) for word in ("plan", "run", "run"))
    assert (done["totals"]["archived"], done["totals"]["wanted"]) == (18, 18)
    assert Decimal(str(done["totals"]["credits_charged"])) == Decimal(str(planned["credits"])) == Decimal("35.5734")
    assert again["totals"]["posts"] == done["totals"]["posts"]


def _last(desk: CliRig, word: str, source: str) -> dict[str, Any]:
    done = desk.run(word, source, "--json", EVOLINK_FILES_URL=desk.base_url)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
