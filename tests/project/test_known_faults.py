"""The audit names what is known against the versions of a bill, and never takes an empty search for a clean one."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BILL = {"components": [{"purl": "pkg:pypi/jinja2@3.1.4"}, {"purl": "pkg:pypi/zope.interface@5.0"}, {"name": "no purl"}]}


def advisory(name: str = "Jinja2", ecosystem: str = "PyPI", **affected: object) -> dict[str, object]:
    return {
        "id": "GHSA-1",
        "aliases": ["CVE-2026-1", "PYSEC-1"],
        "modified": "2026-11-20T00:00:00Z",
        "summary": "sandbox escape",
        "affected": [{"package": {"name": name, "ecosystem": ecosystem}, **affected}],
    }


def between(*events: tuple[str, str], kind: str = "ECOSYSTEM") -> list[dict[str, object]]:
    return [{"type": kind, "events": [{name: at} for name, at in events]}]


def audited(folder: Path, *advisories: object) -> "subprocess.CompletedProcess[str]":
    bill, database = folder / "bill.json", folder / "all.zip"
    bill.write_text(json.dumps(BILL))
    with zipfile.ZipFile(database, "w") as files:
        for number, content in enumerate(advisories):
            files.writestr(f"{number}.json", json.dumps(content))
    command = [sys.executable, ROOT / "tools" / "known_faults.py", bill, *([database] if advisories else [])]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "affected",
    [
        {"versions": ["3.1.3", "3.1.4"]},
        {"ranges": between(("introduced", "0"), ("fixed", "3.1.6"))},
        {"ranges": between(("introduced", "0"), ("fixed", "2.0"), ("introduced", "3.0"), ("fixed", "3.1.6"))},
        {"ranges": between(("introduced", "3.1.4"), ("last_affected", "3.1.4"))},
        {"ranges": between(("introduced", "0"))},
    ],
)
def test_a_known_fault_is_named_with_its_mend(tmp_path: Path, affected: dict[str, object]):
    done = audited(tmp_path, advisory(**affected))
    assert done.returncode == 1
    assert "jinja2 3.1.4: GHSA-1, CVE-2026-1 sandbox escape" in done.stdout
    assert ("3.1.6" in done.stdout) == ("3.1.6" in str(affected))
    assert "1 known faults, by 1 advisories; the newest is of 2026-11-20" in done.stdout


@pytest.mark.parametrize(
    "other",
    [
        advisory(versions=["3.1.3"]),
        advisory(ranges=between(("introduced", "0"), ("fixed", "3.1.4"))),
        advisory(ranges=between(("introduced", "3.1.5"))),
        advisory(ranges=between(("introduced", "0"), ("last_affected", "3.1.3"))),
        advisory(ranges=between(("introduced", "0"), kind="GIT")),
        advisory(ecosystem="npm", versions=["3.1.4"]),
        advisory(name="jinja", versions=["3.1.4"]),
        advisory(versions=["3.1.4"]) | {"withdrawn": "2026-11-21T00:00:00Z"},
    ],
)
def test_what_is_known_of_another_version_or_package_is_not(tmp_path: Path, other: dict[str, object]):
    done = audited(tmp_path, other)
    assert (done.returncode, "0 known faults" in done.stdout) == (0, True), done.stdout


def test_names_are_compared_as_the_registry_compares_them(tmp_path: Path):
    assert audited(tmp_path, advisory(name="Zope_Interface", versions=["5.0"])).returncode == 1


def test_without_a_database_it_says_that_it_cannot(tmp_path: Path):
    done = audited(tmp_path)
    assert done.returncode == 2
    assert "2 packages" in done.stdout
    assert done.stderr.startswith("Known faults were not looked up: that takes a database of advisories")
