"""How many images are held in memory at once."""

import asyncio

import pytest
from support.fakes import settle

from adloom.guards.image_memory import FIRST_IMAGES, HELD_BYTES, LEAST_IMAGES, ImageMemory

MB = 1_000_000


async def taken(memory: ImageMemory, images: int) -> int:
    """How many of so many images get their share, all of which is given back."""
    shares = [memory.share() for _ in range(images)]
    takes = [asyncio.create_task(share.take()) for share in shares]
    await settle()
    got = sum(take.done() for take in takes)
    for take in takes:
        take.cancel()
    await asyncio.gather(*takes, return_exceptions=True)
    for share in shares:
        share.give_back()
    return got


async def test_the_first_images_are_few_since_their_size_is_not_known():
    assert await taken(ImageMemory(most_images=32), 40) == FIRST_IMAGES


@pytest.mark.parametrize("size_bytes", [10_000, MB, 3 * MB, 5 * MB])
async def test_as_many_images_are_held_as_fit(size_bytes):
    memory = ImageMemory(most_images=32)
    memory.share().note(size_bytes)
    images = await taken(memory, 40)
    assert images == 32 or (images * size_bytes <= HELD_BYTES < (images + 1) * size_bytes)


async def test_images_of_any_size_go_on():
    memory = ImageMemory(most_images=32)
    memory.share().note(500 * MB)
    assert await taken(memory, 40) == LEAST_IMAGES


async def test_a_share_that_is_given_back_goes_to_the_next():
    memory = ImageMemory(most_images=1)
    first, second = memory.share(), memory.share()
    await first.take()
    await first.take()
    waiting = asyncio.create_task(second.take())
    await settle()
    assert not waiting.done()
    first.give_back()
    first.give_back()
    await asyncio.wait_for(waiting, 1)
    assert await taken(memory, 1) == 0


async def test_a_wait_that_is_cancelled_keeps_nothing():
    memory = ImageMemory(most_images=1)
    first = memory.share()
    await first.take()
    waiting = [asyncio.create_task(memory.share().take()) for _ in range(3)]
    await settle()
    waiting[0].cancel()
    first.give_back()
    waiting[1].cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    await asyncio.wait_for(waiting[2], 1)
