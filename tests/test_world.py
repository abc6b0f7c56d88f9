"""Reference files as a run is given them: the bytes that it planned with, or none."""

import hashlib

import pytest
from support.fakes import ManualClock, MemoryStore, ScriptedApi, a_world

from adloom.core.campaign import Reference
from adloom.core.errors import InputError
from adloom.world import DEFAULT_INTERVAL_S, ReferenceFiles

CONTENT = b"a picture"
PLANNED = Reference(f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", None, "refs/cup.png")


class NoHost:
    """Nothing is uploaded here."""


def _files(content: bytes) -> ReferenceFiles:
    async def read(path: str) -> bytes:
        assert path == "refs/cup.png"
        return content

    return ReferenceFiles(NoHost(), read, hosted_form=lambda found: b"png of " + found)


async def test_a_file_is_hosted_in_the_form_that_the_api_takes():
    assert await _files(CONTENT).to_host(PLANNED) == b"png of a picture"


async def test_a_file_that_has_changed_since_it_was_planned_is_neither_bought_for_nor_hosted():
    for use in (_files(b"another").to_host(PLANNED), _files(b"another").check([PLANNED])):
        with pytest.raises(InputError, match=r"refs/cup\.png changed after this run planned with it"):
            await use


async def test_files_are_good_while_they_are_what_was_planned():
    await _files(CONTENT).check([PLANNED, PLANNED])


@pytest.mark.parametrize(("interval_s", "scale"), [(DEFAULT_INTERVAL_S, 1), (0.3, 0.1), (30, 10)])
def test_waits_scale_with_the_poll_interval(interval_s: float, scale: float):
    clock = ManualClock()
    assert a_world(MemoryStore(), clock, ScriptedApi(clock), poll_interval_s=interval_s).scale == pytest.approx(scale)
