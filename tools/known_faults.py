"""Which packages of a bill of materials have known faults, by a database of advisories on this disk.

``python tools/known_faults.py build/adloom.cdx.json all.zip``: a CycloneDX bill as JSON, and the advisories of the PyPI
ecosystem as the Open Source Vulnerabilities project (osv.dev) exports them, a zip of one JSON file each. No network is
asked anything. Exit code 1: there are known faults. 2: nothing could be looked up.
"""

import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

NOTHING_TO_LOOK_IN = (
    "Known faults were not looked up: that takes a database of advisories, and no package of the registry holds a "
    "current one (safety-db, the only one, ends in July 2021). Fetch PyPI's all.zip from osv.dev's exports where there "
    "is a network, then: make audit ADVISORIES=all.zip"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """An advisory that names the version of a package that is in the bill."""

    package: str
    version: str
    advisory: str
    summary: str
    mended_in: str

    def __str__(self) -> str:
        mend = f"; mended in {self.mended_in}" if self.mended_in else "; no mended version is known"
        return f"{self.package} {self.version}: {self.advisory} {self.summary}{mend}"


def packages_of(bill: Path) -> dict[str, str]:
    """The versions of a bill's Python packages, by their canonical names."""
    purls = (component.get("purl", "") for component in json.loads(bill.read_text())["components"])
    found = (purl.removeprefix("pkg:pypi/").partition("?")[0].partition("@") for purl in purls if "pkg:pypi/" in purl)
    return {canonicalize_name(name): version for name, _, version in found}


def advisories_in(database: Path) -> Iterator[dict[str, Any]]:
    """The advisories of a database that nobody withdrew."""
    with zipfile.ZipFile(database) as files:
        for name in files.namelist():
            if name.endswith(".json"):
                advisory = json.loads(files.read(name))
                if "withdrawn" not in advisory:
                    yield advisory


def faults_by(advisory: Mapping[str, Any], packages: Mapping[str, str]) -> Iterator[Fault]:
    """What an advisory says against packages at their versions."""
    for affected in advisory.get("affected", ()):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") != "PyPI" or name not in packages:
            continue
        ranges = [range_["events"] for range_ in affected.get("ranges", ()) if range_["type"] != "GIT"]
        version = packages[name]
        if version in affected.get("versions", ()) or any(_holds(events, version) for events in ranges):
            mends = [event["fixed"] for events in ranges for event in events if "fixed" in event]
            ids = ", ".join([advisory["id"], *(alias for alias in advisory.get("aliases", ()) if "CVE" in alias)])
            yield Fault(name, version, ids, advisory.get("summary", ""), " or ".join(mends))


def _holds(events: list[dict[str, str]], version: str) -> bool:
    """Whether a version lies in what a list of events describes. One that cannot be read is taken to lie in it."""
    try:
        here = Version(version)
        turns = sorted((_turn(kind, at), kind) for event in events for kind, at in event.items() if kind != "limit")
    except InvalidVersion:
        return True
    inside = False
    for at, kind in turns:
        if at > here or (kind == "last_affected" and at == here):
            break
        inside = kind == "introduced"
    return inside


def _turn(kind: str, at: str) -> Version:
    return Version("0.dev0" if kind == "introduced" and at == "0" else at)


def main(bill: str, database: str = "") -> int:
    """Print what is known; the exit code."""
    packages = packages_of(Path(bill))
    print(f"{bill}: {len(packages)} packages")
    if not database:
        print(NOTHING_TO_LOOK_IN, file=sys.stderr)
        return 2
    advisories = list(advisories_in(Path(database)))
    newest = max((advisory["modified"] for advisory in advisories), default="never")
    faults = sorted(str(fault) for advisory in advisories for fault in faults_by(advisory, packages))
    for fault in faults:
        print(fault)
    print(f"{len(faults)} known faults, by {len(advisories)} advisories; the newest is of {newest[:10]}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
