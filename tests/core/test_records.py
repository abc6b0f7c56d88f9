"""Records of the ledger as values: what is written is read back, and what older versions left out has its default."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from support.fakes import a_fact, an_image, an_intent

from adloom.core.records import (
    Accepted,
    Archived,
    Completed,
    Decided,
    Failed,
    Image,
    ImageFate,
    Intent,
    Refused,
    Settled,
    Unknown,
    images_of,
    images_record,
)

IMAGE = Image(0, 1, ImageFate.ARCHIVED, "assets/hero/mug-1.png", "0" * 64, 100, "image/png", 1024, 1024)


def test_money_is_exact_and_times_are_aware():
    intent = Intent.of(an_intent(3, credits="4.59"))
    assert intent.credits == Decimal("4.59")
    assert intent.time == datetime(2026, 11, 1, tzinfo=UTC)
    assert intent.unix_s == intent.time.timestamp()
    assert [variant.number for variant in intent.variants] == [1, 2, 3]


def test_a_completion_is_read_back_as_it_was_written():
    written = a_fact(task="t-1", links=["a", "b"], reported=3, credits="1.53", told=False, billed=2, final=False)
    completed = Completed.of(written)
    assert Completed.of(a_fact(completed.record())) == completed
    assert (completed.links, completed.told, completed.billed, completed.final) == (("a", "b"), False, 2, False)


def test_a_completion_of_the_first_version_is_final_and_its_charge_the_apis_own():
    completed = Completed.of(a_fact(task="t-1", links=[], reported=0, credits="0"))
    assert (completed.told, completed.billed, completed.final) == (True, None, True)


def test_what_older_records_do_not_say_is_not_guessed():
    assert Accepted.of(a_fact(task="t-1", credits="1.53")).credits_told is None
    assert not Unknown.of(a_fact(reason="lost")).conflict
    assert Refused.of(a_fact(kind="throttled")).reason == ""
    assert (failed := Failed.of(a_fact())).code == failed.reason == ""
    settled = Settled.of(a_fact(outcome="free"))
    assert (settled.outcome, settled.credits, settled.final) == (Decided.FREE, Decimal(0), False)


def test_an_intent_of_the_first_version_has_a_kind_without_what_it_did_not_know():
    kind = Intent.of({name: value for name, value in an_intent().items() if name != "quality"}).kind
    assert (kind.quality, kind.references, kind.searches) == ("", 0, False)


@pytest.mark.parametrize(
    "seen", [{}, {"flags": ("blank",)}, {"likeness": "f" * 64}, {"flags": ("a", "b")}, {"provenance": ("xmp",)}]
)
def test_images_are_read_back_as_they_were_written(seen):
    images = (IMAGE, replace(IMAGE, index=1, number=0, fate=ImageFate.EXTRA, **seen))
    assert images_of(images_record(images)) == images


def test_what_was_seen_of_images_is_where_older_versions_do_not_look():
    record = images_record([replace(IMAGE, flags=("blank",)), replace(IMAGE, index=1)])
    assert record["seen"] == {"0": {"flags": ("blank",)}}
    assert all({"flags", "likeness", "provenance"}.isdisjoint(entry) for entry in record["images"])
    assert "seen" not in images_record([IMAGE])


def test_images_of_the_first_version_are_read():
    assert Archived.of(a_fact(images=[an_image(0)])).images == (IMAGE,)


def test_a_fate_that_this_version_does_not_know_is_refused_rather_than_guessed_at():
    with pytest.raises(ValueError, match="melted"):
        images_of({"images": [an_image(0, "melted")]})


def test_somebodys_image_outweighs_what_another_gave_up():
    fates = sorted(ImageFate, key=lambda fate: fate.weight)
    assert fates[:2] == [ImageFate.LOST, ImageFate.QUARANTINED]
    assert ImageFate.ARCHIVED.weight == ImageFate.EXTRA.weight > ImageFate.QUARANTINED.weight
