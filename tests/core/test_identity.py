import hashlib
import json
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import a_row, few, references

from adloom.core.campaign import Grouping
from adloom.core.identity import (
    asset_stems,
    call_id,
    content_identity,
    digest,
    explicit_identity,
    normalised,
    row_digest,
    row_meaning,
    slug,
    top_up_id,
    variant_key,
)

ROW = a_row(references=references(2), variants=3)


def _key(row=ROW, number=1, take=1):
    return variant_key(row_digest(row), number, take)


@pytest.mark.parametrize(
    ("written", "also_written"),
    [
        ("café on oak", "cafe\u0301 on oak"),
        ("a mug", "a mug   "),
        ("a mug", "\ta mug\n"),
        ("a mug", "a\u00a0mug"),
        ("a mug", "a mug\u00a0"),
        ("a mug\non oak", "a mug\r\non oak"),
        ("a mug\non oak", "a mug\ron oak"),
        ("a mug\non oak", "a mug \t\non oak  "),
        ("a mug\n\non oak", "a mug\u00a0\r\n \r\non oak\r\n"),
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_texts_that_look_alike_have_one_identity(written, also_written):
    assert _key(replace(ROW, prompt=written)) == _key(replace(ROW, prompt=also_written))
    one, other = (content_identity("hero", row_meaning(replace(ROW, prompt=p)), 1) for p in (written, also_written))
    assert one == other


@pytest.mark.parametrize("other", ["a Mug", "a mug.", "a  mug", "amug", "a\nmug", "ａ mug", "a mug\n\n.", "a müg"])
def test_texts_that_differ_for_a_reader_have_different_identities(other):
    assert normalised(other) != normalised("a mug")


@few
@given(st.text(st.sampled_from("aé\u0301 \t\n\r\u00a0\u3000各"), max_size=12))
def test_normalising_twice_is_normalising_once(text):
    once = normalised(text)
    assert normalised(once) == once
    assert normalised(unicodedata.normalize("NFD", text)) == once


@pytest.mark.parametrize(
    "change",
    [
        {"grouping": Grouping.INDEPENDENT},
        {"variants": 40},
        {"name": "another-name", "label": "another"},
        {"variables": {"sku": "007"}},
        {"references": tuple(replace(r, url=f"https://elsewhere.example/{r.shown}") for r in ROW.references)},
        {"references": tuple(replace(r, url=None, shown="x") for r in ROW.references)},
    ],
    ids=["grouping", "variants", "name", "variables", "hosting", "not hosted"],
)
def test_how_a_row_is_sent_or_shown_does_not_make_another_image_of_it(change):
    assert _key(replace(ROW, **change)) == _key()


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a jug on an oak table"},
        {"size": "9:16"},
        {"quality": "2K"},
        {"model": "doubao-seedream-4.5"},
        {"priority": "fast"},
        {"references": ROW.references[:1]},
        {"references": ROW.references[::-1]},
        {"references": (replace(ROW.references[0], content="sha256:" + "f" * 64), ROW.references[1])},
        {"identity": explicit_identity("another-job", "mug")},
        {"identity": explicit_identity("hero", "jug")},
    ],
    ids=["prompt", "size", "quality", "model", "priority", "fewer", "order", "content", "job", "id"],
)
def test_what_a_row_means_makes_another_image_of_it(change):
    assert _key(replace(ROW, **change)) != _key()


def test_each_variant_and_take_has_a_key_of_its_own():
    keys = {_key(number=number, take=take) for number in range(1, 40) for take in range(1, 10)}
    assert len(keys) == 39 * 9
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_the_parts_of_an_identity_cannot_run_into_each_other():
    assert explicit_identity("a", "bc") != explicit_identity("ab", "c")
    assert explicit_identity("hero", "1") != content_identity("hero", ("1",), 1)
    assert content_identity("hero", ("x",), 1) != content_identity("hero", ("x",), 2)


@few
@given(
    keys=st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=1, max_size=15, unique=True),
    data=st.data(),
)
def test_a_call_is_told_by_its_variants_in_any_order(keys, data):
    assert call_id(data.draw(st.permutations(keys))) == call_id(keys)
    assert call_id([*keys, "another"]) != call_id(keys)
    assert re.fullmatch("c-[0-9a-f]{32}", call_id(keys))


def test_a_top_up_is_told_by_its_parent_and_its_round():
    ids = {top_up_id(parent, number) for parent in ("c-1", "c-2") for number in (1, 2, 3)}
    assert len(ids) == 6
    assert top_up_id("c-1", 1) == top_up_id("c-1", 1)


@few
@given(st.text(max_size=120))
def test_a_slug_is_safe_in_a_file_name_whatever_it_is_made_from(text):
    assert re.fullmatch("(?:[a-z0-9]+(?:-[a-z0-9]+)*)?", slug(text))
    assert len(slug(text)) <= 48
    assert slug(slug(text)) == slug(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Amber Serum", "amber-serum"),
        ("Crème brûlée", "creme-brulee"),
        ("../../etc/passwd", "etc-passwd"),
        ("琥珀", ""),
        ("16:9", "16-9"),
        ("x" * 60, "x" * 48),
        ("a" * 47 + " b", "a" * 47),
        ("\u202egnp.exe", "gnp-exe"),
    ],
)
def test_slugs_by_example(text, expected):
    assert slug(text) == expected


def test_an_assets_name_tells_job_row_variant_and_key():
    key = "ab12cd34ef56" + "0" * 52
    assert asset_stems("hero", "amber-linen", 12, key) == (
        "assets/hero/amber-linen-12-ab12cd",
        "assets/hero/amber-linen-12-ab12cd34ef56",
        f"assets/hero/amber-linen-12-{key}",
    )


_ANY_TEXT = st.text(st.characters(), max_size=6)  # control characters and halves of characters, too


@few
@given(_ANY_TEXT, st.dictionaries(_ANY_TEXT, _ANY_TEXT, max_size=3), st.integers(1, 2**70))
def test_identities_are_the_hashes_that_older_versions_wrote_whatever_the_text(text, pairs, number):
    row = a_row(text, options=tuple(sorted(pairs.items())))
    assert row_digest(row) == digest("row", row.identity, row_meaning(row))
    assert explicit_identity("job", text, pairs) == (
        digest("id", "job", text, pairs) if pairs else digest("id", "job", text)
    )
    assert content_identity("job", (text, [pairs]), number) == digest("content", "job", (text, [pairs]), number)
    assert call_id([text, "b"]) == "c-" + digest("call", sorted([text, "b"]))[:32]
    canonical = json.dumps(["job", text, pairs, number], ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert digest("job", text, pairs, number) == hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@few
@given(st.text(st.sampled_from("ab \t\n\r\x0b\x1c\x85\u00a0\u2028é\u0301"), max_size=10))
def test_plain_text_is_normalised_like_any_other(text):
    long_way = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    assert normalised(text) == re.sub(r"[ \t]+(?=\n|$)", "", long_way).strip()


def test_a_key_never_changes_with_the_version_of_adloom():
    assert call_id([_key(a_row("golden"))]) == "c-cebf4a1f30c259e250d4a07c98c43335"


TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
PARTS = st.recursive(
    TEXT | st.integers(-(2**70), 2**70) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(TEXT, PARTS.map(lambda part: (part,)), st.integers(1, 99))
def test_an_identity_is_the_canonical_hash_however_it_is_computed(job, content, occurrence):
    """What older archives hold was hashed by the standard library's JSON: another spelling would buy it again."""
    assert content_identity(job, content, occurrence) == digest("content", job, content, occurrence)
    assert call_id([job]) == "c-" + digest("call", [job])[:32]
