"""The automations of automations.yaml: Prefect's server marks flow runs whose process died without a word."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import yaml

ANSWERS_WITHIN_S = 30


def watch_runs(file: Path, api: str) -> int:
    """Make the automations of a file that a Prefect server lacks; how many those are. Raises OSError.

    One that is there already stays as it is: a person may have changed it, or switched it off.
    """
    wanted = yaml.safe_load(file.read_text())["automations"]
    names = {"name": {"any_": [automation["name"] for automation in wanted]}}
    there = {automation["name"] for automation in _ask(f"{api}/automations/filter", {"automations": names})}
    lacking = [automation for automation in wanted if automation["name"] not in there]
    for automation in lacking:
        _ask(f"{api}/automations/", automation)
    return len(lacking)


def _ask(address: str, body: object) -> Any:  # noqa: ANN401 - JSON
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as answer:  # noqa: S310
        return json.load(answer)
