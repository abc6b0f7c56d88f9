"""Feed the campaign readers with what a fuzzer makes of good files, guided by coverage.

    python tests/fuzz/readers.py [yaml|csv|template] -max_total_time=600 FOLDER_FOR_WHAT_IT_FINDS

A campaign may be read or refused; anything else is a finding and stops it: another exception, more than a second, a
problem without words, or one that shows a control character. Not part of `make test`, and its library, atheris, is no
dependency of the project: it has wheels for Linux alone. `pip install atheris` brings it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["adloom", "yaml", "jinja2", "csv"]):
    from adloom.campaign.files import open_campaign
    from adloom.core.errors import CampaignInvalid, InputError
    from adloom.core.template import BadTemplate, prompt_template

LONGEST_S = 1.0
CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
FOLDER = Path(tempfile.mkdtemp(prefix="readers-"))


def require(condition: object, finding: str) -> None:
    if not condition:
        raise AssertionError(finding)


def read_file(name: str, content: bytes) -> None:
    path = FOLDER / name
    path.write_bytes(content)
    began = time.process_time()
    try:
        for _ in open_campaign(path).rows():
            pass
    except CampaignInvalid as invalid:
        for problem in invalid.problems:
            text = str(problem)
            require(problem.message.strip(), "a problem without words")
            require(text.isprintable(), f"a problem that cannot be shown: {text!r}")
    except InputError as refused:
        require(refused.remedy, f"no remedy: {refused}")
    require(time.process_time() - began < LONGEST_S, "too slow")


def read_yaml(content: bytes) -> None:
    read_file("campaign.yaml", content)


def read_csv(content: bytes) -> None:
    read_file("campaign.csv", content)


def fill_in(content: bytes) -> None:
    began = time.process_time()
    try:
        prompt_template(content.decode("utf-8", "replace")).render({"a": "x", "b": {"c": "y"}})
    except BadTemplate as bad:
        require(bad.message.strip(), "a problem without words")
    require(time.process_time() - began < LONGEST_S, "too slow")


TARGETS: dict[str, Callable[[bytes], None]] = {"yaml": read_yaml, "csv": read_csv, "template": fill_in}


def seeds(target: str) -> Path:
    """A folder of good files to begin with, and what the readers need beside a campaign."""
    for path in CAMPAIGNS.glob("*.csv"):
        shutil.copy(path, FOLDER)
    shutil.copytree(CAMPAIGNS / "references", FOLDER / "references", dirs_exist_ok=True)
    folder = FOLDER / "seeds"
    folder.mkdir()
    for path in CAMPAIGNS.glob("*.csv" if target == "csv" else "*.yaml"):
        shutil.copy(path, folder)
    (folder / "template").write_text("{{ a|upper }} {% if b.c == 'y' %}{{ b.c|replace('y', 'z') }}{% endif %}")
    return folder


def main() -> None:
    target = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in TARGETS else "yaml"
    read_file("warm.csv", b"prompt\nx\n")  # imports what is imported late
    atheris.Setup([*sys.argv, str(seeds(target))], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
