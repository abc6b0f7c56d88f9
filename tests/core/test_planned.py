"""Variants as intents name them: read back as they were, also those that an older version wrote."""

import pytest

from adloom.core.planned import Variant


@pytest.mark.parametrize(
    "variant",
    [
        Variant("k1", 1, 1),
        Variant("k1", 3, 2, change="warmer light"),
        Variant("k1", 1, 1, owner=("hero", "mug")),
        Variant("k1", 1, 2, change="warmer light", owner=("hero", "")),
    ],
)
def test_a_variant_is_read_back_as_it_was_written(variant: Variant):
    assert Variant.of(variant.record()) == variant


def test_a_plain_variant_is_written_as_the_first_version_did():
    assert Variant("k1", 2, 1).record() == {"key": "k1", "number": 2, "take": 1}
