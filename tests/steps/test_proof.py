"""Verification: any damage to any one object is found, and nothing else is."""

from pathlib import Path
from random import Random

import pytest
from shop import Shop, campaign_text

from adloom.cli_archive import _fetcher
from adloom.proof import Damage, repair, verify
from adloom.session import new_ledger, open_store, open_target, rewrite_projections

DAMAGES = 150


async def an_archive(shop: Shop) -> Path:
    shop.write(campaign_text("  - {id: cup, prompt: a cup, variants: 3}\n  - {id: bad, prompt: forbidden}\n"))
    shop.sandbox.change(moderated_at_submit=("forbidden",))
    shop.sandbox.script(route="outcome", fault="completed", images=2)
    await shop.run()
    return shop.edition()


async def findings(shop: Shop) -> list[str]:
    store, edition = open_target(str(shop.edition()), shop.settings)
    verdict = await verify(store, edition, new_ledger(store, edition))
    return [finding.key for finding in verdict.findings]


async def test_a_clean_archive_has_no_findings(shop: Shop):
    await an_archive(shop)
    assert await findings(shop) == []


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def change(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    place = random.randrange(len(content))
    content[place] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def damage(folder: Path, random: Random) -> list[Path]:
    """Do one random damage; the files that are not what they were."""
    path = random.choice(objects(folder))
    match random.choice(("change", "cut", "delete", "swap", "add")):
        case "change":
            change(path, random)
        case "cut":
            path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])
        case "delete":
            path.unlink()
        case "swap":
            twin = random.choice([other for other in objects(folder) if other.read_bytes() != path.read_bytes()])
            mine, other = path.read_bytes(), twin.read_bytes()
            path.write_bytes(other)
            twin.write_bytes(mine)
        case _:
            path = path.with_name(f"added-{path.name}")
            path.write_bytes(random.randbytes(20))
    return [path]


async def test_every_random_damage_to_one_object_is_found(shop: Shop):
    folder = await an_archive(shop)
    good = {path: path.read_bytes() for path in objects(folder)}
    for seed in range(DAMAGES):
        damage(folder, Random(seed))
        assert await findings(shop), f"damage {seed} was not found"
        for path in objects(folder):
            if path not in good:
                path.unlink()
        for path, content in good.items():
            path.write_bytes(content)
        assert await findings(shop) == []


async def test_a_deleted_image_comes_back_while_its_link_lives(shop: Shop):
    folder = await an_archive(shop)
    image = next((folder / "assets").rglob("*.jpg"))
    content = image.read_bytes()
    image.unlink()
    assert await mend(shop) == []
    assert image.read_bytes() == content


async def test_two_swapped_images_mend_each_other_even_when_their_links_are_dead(shop: Shop):
    folder = await an_archive(shop)
    first, second, *_ = sorted((folder / "assets").rglob("*.jpg"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    shop.sandbox.advance(90_000)
    assert await mend(shop) == []
    assert (first.read_bytes(), second.read_bytes()) == contents


async def test_a_lost_record_of_the_ledger_is_never_papered_over(shop: Shop):
    folder = await an_archive(shop)
    next((folder / "ledger").rglob("a1-completed.json")).unlink()
    assert await mend(shop)
    assert await mend(shop)


@pytest.mark.parametrize("name", ["manifest.json", "assets.jsonl", "assets.csv", "gallery.html", "checksums.txt"])
async def test_what_is_derived_is_made_again(shop: Shop, name: str):
    folder = await an_archive(shop)
    content = (folder / name).read_bytes()
    (folder / name).write_text("nonsense")
    assert await mend(shop) == []
    assert (folder / name).read_bytes() == content


async def mend(shop: Shop) -> list[str]:
    """Repair as the command does; what is left."""
    store, edition = open_target(str(shop.edition()), shop.settings)
    ledger = new_ledger(store, edition)
    verdict = await verify(store, edition, ledger)
    mended = await repair(store, edition, ledger, verdict, _fetcher(shop.settings))
    await rewrite_projections(store, edition, verdict, mended)
    left = await verify(store, edition, new_ledger(store, edition))
    return [f"{finding}" for finding in left.findings]


async def test_a_sample_hashes_every_record_and_a_share_of_the_images(shop: Shop):
    await an_archive(shop)
    store = open_store(shop.settings.archive)
    _, edition = open_target(str(shop.edition()), shop.settings)
    whole = await verify(store, edition, new_ledger(store, edition))
    sample = await verify(store, edition, new_ledger(store, edition), share=0.01)
    images = len([path for path in objects(shop.edition()) if path.suffix == ".jpg"])
    assert whole.hashed == whole.objects
    assert sample.hashed == whole.objects - images


def test_damages_have_words():
    assert str(Damage.CHANGED) == "changed"
