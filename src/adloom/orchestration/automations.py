"""The automations of automations.yaml: Prefect's server marks flow runs whose process died silently."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from adloom.orchestration.server import authorization

ANSWERS_WITHIN_S = 30
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def watch_runs(file: Path, api: str, secret: str) -> int:
    """Create the automations of a file that a Prefect server does not have; how many those are.

    Raises OSError. An existing one stays as it is: a person may have changed it, or switched it off.
    """
    wanted = yaml.safe_load(file.read_text())["automations"]
    names = {"name": {"any_": [automation["name"] for automation in wanted]}}
    there = {automation["name"] for automation in _ask(f"{api}/automations/filter", {"automations": names}, secret)}
    lacking = [automation for automation in wanted if automation["name"] not in there]
    for automation in lacking:
        _ask(f"{api}/automations/", automation, secret)
    return len(lacking)


def _ask(address: str, body: object, secret: str) -> Any:  # noqa: ANN401 - JSON
    headers = {"Content-Type": "application/json", **authorization(secret)}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - our own server
    with _DIRECT.open(request, timeout=ANSWERS_WITHIN_S) as answer:
        return json.load(answer)
