"""What `make install` and `make test` install: pinned wheels by their hashes, and no developers' tools for users."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"^([a-z0-9._-]+)(?:\[.*\])?==([^ ;\\]+)(.*(?:\n    --hash=.*)+)", re.MULTILINE)
USERS, DEVELOPERS = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))


def pins(lock: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version, _ in PIN.findall(lock)}


def wanted(requirements: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(found.name): found for found in map(Requirement, requirements)}


def test_every_package_is_pinned_by_the_hashes_of_its_files_and_no_address_is_named():
    for lock in (USERS, DEVELOPERS):
        assert len(PIN.findall(lock)) == len(re.findall(r"^[a-z0-9]", lock, re.MULTILINE)) > 0
        assert not re.search(r"https?:|^-", lock, re.MULTILINE)


def test_users_get_what_adloom_needs_and_none_of_the_developers_tools():
    extras = PROJECT["optional-dependencies"]
    needed = wanted([*PROJECT["dependencies"], *extras["checkout"], *extras["prefect"]])
    tools = wanted(extras["dev"]).keys() - needed.keys()
    users, developers = pins(USERS), pins(DEVELOPERS)
    assert [name for name, found in needed.items() if users.get(name, "") not in found.specifier] == []
    assert not tools & users.keys()
    assert tools <= developers.keys()
    assert not users.keys() & developers.keys()


def test_only_wheels_are_installed_for_a_source_package_runs_its_own_code():
    makefile = (ROOT / "Makefile").read_text()
    [wheels] = re.findall(r"^WHEELS := (.*)$", makefile, re.MULTILINE)
    assert {"--only-binary", ":all:", "--require-hashes", "--no-deps"} <= set(wheels.split())
    assert re.findall(r"pip install(?!.*--no-index).*", makefile) == [wheels.partition("-m ")[2]]
