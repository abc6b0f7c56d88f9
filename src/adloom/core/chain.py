"""Chained jobs: a job whose reference images are the approved masters of another job of its campaign.

Which masters these are is decided when the job is first bought, and recorded before that as
``references/<job>/<number>.json`` in the edition, created once: ``{"schema": "adloom.references/1", "job", "number",
"time", "writer", "of": {<other job>: [{"variant", "key", "sha256", "media_type", "size_bytes", "width_px",
"height_px"}]}}``. The record with the highest number counts; a further one is written only when a person refreshes the
job, or when it names another job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from adloom.core.reference import Reference

SCHEMA = "adloom.references/1"
FOLDER = "references/"
_NAME = re.compile(r"references/([a-z0-9-]{1,63})/([1-9][0-9]{0,8})\.json")


@dataclass(frozen=True, slots=True)
class Master:
    """An approved image that serves as a reference: ``key`` is where it is in the edition."""

    variant: str
    """The variant's key, which names its take too."""
    key: str
    sha256: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int

    @property
    def reference(self) -> Reference:
        return Reference(f"sha256:{self.sha256}", None, self.key, asset=self.key)


Masters: TypeAlias = Mapping[str, tuple[Master, ...]]
"""Approved masters by the job whose images they are, in plan order."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What a chained job gets as references, by the job that it names; a job without masters is waited for."""

    of: Masters
    recorded: int = 0
    """The number of the newest record, 0 before the job was first bought."""
    is_recorded: bool = False
    """Whether that record says just this."""
    warning: str = ""
    """What a person should know of later approvals."""


Chains: TypeAlias = Mapping[str, Chain]
"""By the chained job."""

NO_CHAINS: Chains = MappingProxyType({})


def chain_of(job: str, names: tuple[str, ...], approved: Masters, recorded: Chain | None, *, refresh: bool) -> Chain:
    """What a job that names others gets: what it was bought with, else what is approved now.

    With ``refresh`` it is what is approved now, where that is something else and every job has approved images.
    """
    number = recorded.recorded if recorded else 0
    before = {name: recorded.of[name] for name in names if name in recorded.of} if recorded else {}
    now = {name: approved.get(name, ()) for name in names}
    changed = [name for name in before if _contents(before[name]) != _contents(now[name])]
    if refresh and changed and all(now.values()):
        return Chain({name: now[name] if name in changed else before.get(name, now[name]) for name in names}, number)
    return Chain(
        {name: before.get(name, now[name]) for name in names},
        number,
        is_recorded=len(before) == len(names),
        warning=_warning(job, changed[0], before[changed[0]], now[changed[0]]) if changed else "",
    )


def _contents(masters: tuple[Master, ...]) -> frozenset[str]:
    return frozenset(master.sha256 for master in masters)


def _warning(job: str, name: str, before: tuple[Master, ...], now: tuple[Master, ...]) -> str:
    count = f"{len(before)} images" if len(before) > 1 else "1 image"
    kept = f"job {job} keeps {count} of job {name} as references, as it was bought"
    if not now:
        return f"{kept}; none is approved now"
    return f"{kept}; other images are approved now: --refresh {job} buys it again with them"


def awaited(job: str) -> str:
    """Why an image is not bought yet: what its row waits for."""
    return f"waits until images of job {job} are approved"


def is_record(name: str) -> bool:
    """Whether an object of an edition, by its name, is such a record."""
    return _NAME.fullmatch(name) is not None


def record_of(job: str, chain: Chain, time: str, writer: str) -> tuple[str, dict[str, Any]]:
    """The next record of a job: its name in the edition, and its content."""
    number = chain.recorded + 1
    of = {name: [asdict(master) for master in masters] for name, masters in chain.of.items()}
    record = {"schema": SCHEMA, "job": job, "number": number, "time": time, "writer": writer, "of": of}
    return f"{FOLDER}{job}/{number}.json", record


def chain_from(name: str, record: Mapping[str, Any]) -> tuple[str, Chain]:
    """A job and what its record says. Raises ValueError for one that is malformed or misnamed."""
    found = _NAME.fullmatch(name)
    if found is None or record.get("schema") != SCHEMA or (record["job"], str(record["number"])) != found.groups():
        raise ValueError(f"{name} does not hold the references that its name promises")
    try:
        of = {job: tuple(Master(**master) for master in masters) for job, masters in record["of"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{name} is not what a record of references looks like: {error!r}") from error
    return found[1], Chain(of, int(found[2]), is_recorded=True)
