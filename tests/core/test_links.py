"""Which links of a later reading lead to the images of an earlier one."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.core.links import are_alike, joined, mark, others, renewals, show_the_same, unsigned

CUP, MUG = "https://r.example/images/cup.jpg", "https://r.example/images/mug.jpg"


def signed(link: str, number: int) -> str:
    return f"{link}{'&' if '?' in link else '?'}X-Tos-Signature={number}&X-Tos-Expires={number + 9}"


def test_a_fresh_link_is_known_by_its_path_wherever_it_stands():
    known = [signed(CUP, 1), signed(MUG, 1)]
    shown = [signed(MUG, 2), signed(CUP, 2)]
    assert renewals(known[0], known, shown) == (shown[1],)
    assert renewals(known[1], known, shown) == (shown[0],)


def test_another_host_may_serve_the_same_image():
    moved = "https://edge.example/images/cup.jpg?sig=9"
    assert renewals(CUP, [CUP, MUG], [moved]) == (moved,)


def test_a_reading_that_lacks_an_image_renews_nothing_for_it():
    assert renewals(CUP, [CUP, MUG], [signed(MUG, 2)]) == ()
    assert renewals(CUP, [CUP], []) == ()


def test_a_link_that_is_no_address_is_only_itself():
    assert renewals("https://[::1", ["https://[::1", CUP], ["https://[::1", signed(CUP, 1)]) == ("https://[::1",)
    assert others(["https://[::1"], ["https://[::2"]) == ("https://[::2",)


SHARED = ["https://r.example/get?image=1&sig=a", "https://r.example/get?image=2&sig=b"]


def test_where_links_share_a_path_the_query_tells_them_apart_but_not_what_signs_it():
    shown = ["https://r.example/get?sig=c&image=2", "https://r.example/get?sig=d&image=1"]
    assert renewals(SHARED[0], SHARED, shown) == (shown[1],)
    assert renewals(SHARED[1], SHARED, shown) == (shown[0],)
    assert not are_alike(SHARED[0], SHARED)


def test_one_link_of_a_shared_path_is_not_taken_for_the_other():
    assert renewals(SHARED[0], SHARED, ["https://r.example/get?image=2&sig=c"]) == ()
    assert renewals(SHARED[0], SHARED[:1], [f"{link}9" for link in SHARED]) == (f"{SHARED[0]}9",)


def test_where_links_share_a_path_a_bare_word_tells_them_apart():
    known, shown = (
        [f"https://r.example/get?{image}&sig={number}{image}" for image in order]
        for number, order in enumerate([("cup", "mug"), ("mug", "cup")])
    )
    assert renewals(known[0], known, shown) == (shown[1],)
    assert not are_alike(known[0], known)


def test_links_that_differ_in_their_signature_alone_are_all_candidates():
    known = ["https://r.example/get?sig=a", "https://r.example/get?sig=b"]
    shown = ["https://r.example/get?sig=c", "https://r.example/get?sig=d"]
    assert renewals(known[0], known, shown) == tuple(shown)
    assert are_alike(known[0], known)
    assert not are_alike(known[0], known[:1])


@pytest.mark.parametrize(
    "parameter",
    [
        "sig", "Signature", "sign", "token", "Expires", "expire", "X-Amz-Date", "x-tos-credential", "X-Goog-Expires",
        "OSSAccessKeyId", "AWSAccessKeyId", "GoogleAccessId", "Policy", "Key-Pair-Id", "q-sign-time", "auth_key", "se",
        "sp", "st", "sv", "sr", "skoid", "security-token",
    ],
)  # fmt: skip
def test_what_signs_a_link_tells_no_images_apart(parameter):
    known = [f"https://r.example/get?image={n}&{parameter}={n}" for n in (1, 2)]
    shown = [f"https://r.example/get?image={n}&{parameter}={n + 5}" for n in (2, 1)]
    assert renewals(known[0], known, shown) == (shown[1],)


@pytest.mark.parametrize("parameter", ["image", "id", "index", "w", "size", "seed", "step", "stage", "design"])
def test_what_names_a_picture_tells_images_apart(parameter):
    known = [f"https://r.example/get?{parameter}={n}&sig={n}" for n in (1, 2)]
    assert renewals(known[0], known, [f"{link}0" for link in known]) == (f"{known[0]}0",)


def test_a_link_that_matches_none_is_another_image():
    new = "https://r.example/images/bowl.jpg"
    assert others([CUP, MUG], [signed(MUG, 2), new, signed(CUP, 2), new]) == (new,)
    assert others([], [CUP, MUG, CUP]) == (CUP, MUG)
    assert others([CUP], [CUP]) == ()


def test_of_links_that_are_alike_those_above_the_known_ones_are_other_images():
    known = ["https://r.example/get?sig=a"]
    assert others(known, ["https://r.example/get?sig=b", "https://r.example/get?sig=c"]) == (
        "https://r.example/get?sig=c",
    )
    assert others(known, ["https://r.example/get?sig=b", known[0]]) == ("https://r.example/get?sig=b",)


@given(seed=st.integers(0, 10**6), count=st.integers(1, 15), form=st.sampled_from(["path", "query"]))
@few
def test_every_image_is_found_again_in_any_order_under_any_signature(seed, count, form):
    names = [f"/i/{n}.jpg?a=1" if form == "path" else f"/get?image={n}" for n in range(count)]
    known = [f"https://r.example{name}&sig={n}" for n, name in enumerate(names)]
    fresh = [f"https://r.example{name}&sig={n + 100}" for n, name in enumerate(names)]
    shown = random.Random(seed).sample(fresh, count)
    assert [renewals(link, known, shown) for link in known] == [(link,) for link in fresh]
    assert others(known, shown) == ()


def test_readings_under_new_signatures_show_no_more_images_than_there_are():
    first, second = [signed(CUP, 1)], [signed(MUG, 2), signed(CUP, 2)]
    assert joined(first, second, [signed(CUP, 3)]) == (signed(CUP, 1), signed(MUG, 2))
    assert joined() == ()


def test_readings_are_the_same_when_they_show_the_same_images():
    one = [signed(CUP, 1), signed(MUG, 1)]
    assert show_the_same(one, [signed(MUG, 2), signed(CUP, 2)])
    assert not show_the_same(one, [signed(MUG, 2)])
    assert not show_the_same([signed(MUG, 2)], one)
    assert show_the_same([], [])


@pytest.mark.parametrize(
    ("link", "left"),
    [
        (CUP, CUP),
        (signed(CUP, 1), CUP),
        (f"{CUP}?X-Amz-Signature=a&image=2&Expires=9#top", f"{CUP}?image=2"),
        (f"{CUP}?image=%20a&x%2Damz%2Dsignature=b", f"{CUP}?image=%20a"),
        (f"{CUP}?", CUP),
        ("https://[::1", "https://[::1"),
    ],
)
def test_what_signs_a_link_can_be_taken_off(link: str, left: str):
    assert unsigned(link) == left
    assert unsigned(left) == left


@few
@given(st.dictionaries(st.sampled_from([CUP, MUG, f"{CUP}?image=1", f"{CUP}?image=2"]), st.integers(0, 9)))
def test_links_are_told_apart_without_what_signs_them_as_they_were_with_it(made: dict[str, int]):
    links = [signed(link, number) for link, number in made.items()]
    assert list(map(unsigned, links)) == list(made)
    assert show_the_same(list(made), links)
    assert joined(list(made), links) == tuple(made)


def test_the_mark_of_a_link_outlives_its_host_and_its_signature():
    made = mark("https://one.example/a/1.png?size=2&sig=x")
    assert made == mark("https://two.example/a/1.png?Expires=9&size=2")
    assert re.fullmatch("[0-9a-f]{12}", made)
    others = ("https://one.example/a/2.png?size=2", "https://one.example/a/1.png?size=3", "https://one.example/a/1.png")
    assert made not in {mark(link) for link in others}
