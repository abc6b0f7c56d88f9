"""Scenes: the same for a seed, and in colours that tell the images of a prompt apart."""

import pytest

from adloom.sandbox.painting.scene import Palette, painted

PROMPT = "a red mug"


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (200, 8)])
def test_a_scene_has_its_size_and_the_same_pixels_each_time(size: tuple[int, int]):
    palette = Palette.of(PROMPT, 0)
    scene = painted(size, "seed", palette)
    assert scene.size == size
    assert scene.tobytes() == painted(size, "seed", palette).tobytes()
    assert scene.tobytes() != painted(size, "other", palette).tobytes()


def test_each_image_of_a_prompt_has_colours_of_its_own_and_the_same_in_the_next_run():
    palettes = [Palette.of(PROMPT, index) for index in range(5)]
    assert len(set(palettes)) == 5
    assert [Palette.of(PROMPT, index) for index in range(5)] == palettes


def test_prompts_have_different_moods():
    assert len({Palette.of(f"prompt {number}", 0) for number in range(30)}) > 5
