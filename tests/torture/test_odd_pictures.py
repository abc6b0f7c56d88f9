"""The short form of the mutated pictures, and that the judge would see what it looks for."""

import io
import pickle
import subprocess
import sys
import time

import pytest
from PIL import Image
from support.annotated import CANARY
from torture import odd_pictures


def test_mutated_pictures_never_raise_and_leave_nothing_in_a_thumbnail():
    tally = odd_pictures.torture(1_000, seed=20_261_128, workers=2, until=time.monotonic() + 60)
    assert tally.failures == []
    assert tally.counts["  no picture"] > 100
    assert tally.counts["  jpg"] + tally.counts["  png"] > 100


LOADED_LATE = """
import sys
from adloom.edges import picture_child
known = set(sys.modules)
import pickle
for content in pickle.load(sys.stdin.buffer):
    picture_child.answer(content)
print(sorted(name for name in set(sys.modules) - known if name.startswith("PIL")))
"""


def test_the_decoder_loads_nothing_once_its_limits_hold():
    """In a namespace of its own a superuser may not read what another user owns: a picture would not be judged."""
    pictures = pickle.dumps(odd_pictures.good_pictures())
    command = [sys.executable, "-W", "ignore", "-c", LOADED_LATE]
    done = subprocess.run(command, input=pictures, capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"[]"), done.stderr


@pytest.mark.parametrize(
    "options", [{"comment": CANARY}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}, {"icc_profile": b"x" * 200}]
)
def test_a_thumbnail_that_says_more_than_its_pixels_would_be_seen(options: dict[str, bytes]):
    out = io.BytesIO()
    Image.new("RGB", (48, 48)).save(out, "JPEG", **options)
    assert odd_pictures.fault_of(out.getvalue())
    assert odd_pictures.fault_of(b"\xff\xd8 no")
