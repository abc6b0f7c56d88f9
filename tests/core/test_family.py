import pytest

from adloom.core.family import unsupported
from adloom.core.limits import MODELS

FOUR, FOUR_FIVE, LITE = (MODELS[f"doubao-seedream-{name}"] for name in ("4.0", "4.5", "5.0-lite"))


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize("size", ["auto", "1:1", "21:9", "2560x1440", "2048x2048"])
def test_every_model_takes_what_all_take(model, size):
    assert not list(unsupported(model, size, "", "standard"))
    assert not list(unsupported(model, "4:5", "2K", "standard"))


@pytest.mark.parametrize(
    ("model", "size", "quality", "priority", "field", "message", "allowed"),
    [
        (FOUR_FIVE, "4:5", "1K", "standard", "quality", '"1K" is not available for doubao-seedream-4.5',
         "one of 2K, 4K; doubao-seedream-4.0, doubao-seedream-5.0-flash and doubao-seedream-5.0-pro support it"),
        (FOUR, "4:5", "3K", "standard", "quality", '"3K"', "one of 1K, 2K, 4K; doubao-seedream-5.0-lite supports it"),
        (FOUR, "4:5", "8K", "standard", "quality", '"8K"', "one of 1K, 2K, 4K"),
        (LITE, "auto", "2K", "fast", "priority", '"fast" is not available for doubao-seedream-5.0-lite',
         "one of standard; doubao-seedream-4.0 and doubao-seedream-5.0-pro support it"),
        (LITE, "1024x1024", "", "standard", "size", "1024x1024 has 1,048,576 pixels",
         ("3,686,400 to 16,777,216 for doubao-seedream-5.0-lite; doubao-seedream-4.0, doubao-seedream-5.0-flash and "
         "doubao-seedream-5.0-pro support it")),
        (FOUR, "1280x719", "", "standard", "size", "920,320 pixels", "921,600 to 16,777,216 for doubao-seedream-4.0"),
        (LITE, "4097x4096", "", "standard", "size", "16,781,312", f"3,686,400 to 16,777,216 for {LITE.name}"),
    ],
)  # fmt: skip
def test_what_a_model_does_not_take_names_the_field_and_who_takes_it(
    model, size, quality, priority, field, message, allowed
):
    (misfit,) = unsupported(model, size, quality, priority)
    assert (misfit.field, misfit.allowed) == (field, allowed)
    assert message in misfit.message


def test_all_that_is_wrong_is_said_at_once():
    assert [misfit.field for misfit in unsupported(FOUR_FIVE, "1024x1024", "1K", "fast")] == [
        "quality",
        "priority",
        "size",
    ]
