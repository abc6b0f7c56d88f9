"""Rows with the same request under ``duplicates: merge``: one purchase, and every row has its images."""

from dataclasses import replace

import pytest
from support.shop import SandboxRig, campaign_text

from adloom.core.errors import InputError
from adloom.core.selection import Selection
from adloom.targets import open_store
from adloom.wiring import assessment_of, execute

HEAD = "duplicates: merge\n"
ROWS = "id,prompt,variants,sku\na,a cup,2,001\nb,a jug,1,002\nc,a cup,3,003\nd,a cup,1,004\n"


def _write(shop: SandboxRig, rows: str = ROWS) -> None:
    (shop.folder / "rows.csv").write_text(rows)
    shop.write(campaign_text("  - {id: table, rows: rows.csv}\n", more=HEAD))


def _files(shop: SandboxRig) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for line in shop.lines():
        found.setdefault(str(line["row"]), []).append(line["key"])
    return found


async def test_each_row_keeps_its_lines_and_they_name_the_same_images(shop: SandboxRig):
    _write(shop)
    result = await shop.run()
    assert result.exit_code == 0
    assert sorted(charge.n for charge in shop.sandbox.charges()) == [1, 3]
    files = _files(shop)
    assert [len(files[row]) for row in "abcd"] == [2, 1, 3, 1]
    assert files["c"][:2] == files["a"]
    assert files["d"] == files["a"][:1]
    assert len({key for keys in files.values() for key in keys}) == 4


JOBS = "  - {id: table, rows: rows.csv}\n", "  - {id: cups, prompt: a cup, variants: 4, size: '1:1'}\n"


async def test_jobs_share_images_whichever_stands_first(shop: SandboxRig):
    (shop.folder / "rows.csv").write_text(ROWS.replace("variants,", "variants,size,").replace(",0", ",1:1,0"))
    shop.write(campaign_text("".join(JOBS), more=HEAD))
    assert (await shop.run()).exit_code == 0
    assert (shop.bought(), len(shop.lines())) == (5, 11)
    files = {
        str(line["row"]): [each["key"] for each in shop.lines() if each["row"] == line["row"]] for line in shop.lines()
    }
    cups = next(keys for row, keys in files.items() if row not in "abcd")
    assert (cups[:3], len(set(cups))) == (files["c"], 4)
    posts = shop.sandbox.state()["posts_received"]
    shop.write(campaign_text("".join(JOBS[::-1]), more=HEAD))
    assert (await shop.run()).exit_code == 0
    assert (shop.bought(), shop.sandbox.state()["posts_received"]) == (5, posts)
    assert all(line["key"] for line in shop.lines())


async def test_images_that_another_run_has_just_bought_for_another_job_are_not_bought_again(shop: SandboxRig):
    """Between what a run saw first and its plan, a person may take long to say yes."""
    (shop.folder / "rows.csv").write_text(ROWS.replace("variants,", "variants,size,").replace(",0", ",1:1,0"))
    before = "  - {id: vase, prompt: a vase}\n"
    shop.write(campaign_text(before, more=HEAD))
    await shop.run()
    turned = shop.folder / "turned.yaml"
    turned.write_text(campaign_text("".join((before, *JOBS[::-1])), more=HEAD))
    request = replace(shop.request(), source=str(turned))
    store = open_store(shop.settings.archive)
    late = await assessment_of(request, shop.settings, store, to_run=True)
    shop.write(campaign_text("".join((before, *JOBS)), more=HEAD))
    assert (await shop.run()).exit_code == 0
    with pytest.raises(InputError, match="another run has just bought some of their images"):
        await execute(shop.settings, store, late)
    again = await execute(shop.settings, store, await assessment_of(request, shop.settings, store, to_run=True))
    assert (again.exit_code, shop.bought()) == (0, 6)


async def test_the_lines_cost_together_what_was_charged(shop: SandboxRig):
    _write(shop)
    totals = (await shop.run()).published.manifest["totals"]
    assert (totals["wanted"], totals["archived"], totals["images_billed"]) == (7, 7, 4)
    assert sum(float(str(line["credits"])) for line in shop.lines()) == pytest.approx(totals["credits_charged"])
    assert [bool(line["reason"]) for line in shop.lines()] == [False] * 3 + [True, True, False, True]


@pytest.mark.parametrize("rows", [[4, 3, 2, 1], [3, 2, 1], [4, 2], [3, 1, 2, 4]])
async def test_no_order_and_no_removal_buys_again(shop: SandboxRig, rows: list[int]):
    _write(shop)
    await shop.run()
    lines = ROWS.splitlines()
    _write(shop, "\n".join([lines[0], *(lines[number] for number in rows)]) + "\n")
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.bought() == 4
    before = shop.edition() / "assets.jsonl"
    content = before.read_bytes()
    await shop.run()
    assert (before.read_bytes(), shop.bought()) == (content, 4)


async def test_a_run_for_a_row_that_shares_an_earlier_ones_images_buys_those(shop: SandboxRig):
    _write(shop)
    result = await shop.run(selection=Selection(where='sku == "004"'))
    assert result.exit_code == 0
    files = _files(shop)
    assert files["d"][0] is not None
    assert files["d"] == files["a"][:1]
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 4


async def test_a_shortfall_of_shared_images_is_topped_up_once(shop: SandboxRig):
    _write(shop)
    shop.sandbox.script(route="outcome", fault="completed", images=1, match="cup")
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 4
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 4


async def test_rows_that_join_an_archive_share_the_images_of_earlier_ones(shop: SandboxRig):
    _write(shop, "id,prompt,variants,sku\nb,a jug,1,002\n")
    await shop.run()
    _write(shop)  # a, c and d have one prompt: three images in all
    assert (await shop.run()).exit_code == 0
    assert sorted(charge.n for charge in shop.sandbox.charges()) == [1, 3]
    assert shop.bought() == 4
