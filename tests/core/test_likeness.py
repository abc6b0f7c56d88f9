"""Near duplicates by their difference hashes: a hint about the later of two, never about the first."""

from adloom.core.likeness import NEAR_BITS, near_duplicates


def _hash(*bits: int) -> str:
    return f"{sum(1 << bit for bit in bits):064x}"


def test_the_later_of_two_near_images_is_named():
    near, far = _hash(*range(NEAR_BITS)), _hash(*range(100, 101 + NEAR_BITS))
    assert near_duplicates([("first", _hash()), ("near", near), ("far", far)]) == {"near"}


def test_an_image_is_compared_with_all_before_it():
    a, b = _hash(*range(50)), _hash(*range(100, 150))
    assert near_duplicates([("a", a), ("b", b), ("a again", a), ("b again", b)]) == {"a again", "b again"}


def test_images_of_which_nothing_is_known_are_like_none():
    assert near_duplicates([("one", ""), ("two", ""), ("black", _hash())]) == set()
