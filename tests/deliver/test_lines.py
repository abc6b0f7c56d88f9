"""The lines of a large delivery, and the pages made of them."""

import tracemalloc
from collections.abc import Mapping
from typing import Any

from adloom.core.rendition import DELIVERED, REFUSED, jsonl
from adloom.deliver.lines import Lines
from adloom.deliver.page import IMAGES_PER_PAGE, pages

HEAD: Mapping[str, Any] = {
    "campaign": "mugs",
    "edition": "main",
    "counts": {"files": 0, "refused": 0},
    "marking": "on",
    "signed_by": None,
}


def _line(master: int, channel: str, status: str = DELIVERED) -> dict[str, Any]:
    return {
        "channel": channel,
        "key": f"{channel}/mug-{master}.jpg",
        "creative": f"mug-{master}",
        "size_bytes": 1000,
        "width_px": 100,
        "height_px": 100,
        "quality": 90,
        "crop": [0, 0, 100, 100],
        "focus": [0.5, 0.45],
        "focus_source": "default",
        "master": {"key": f"assets/mug/{master}.jpg", "sha256": f"{master:064x}"},
        "alt": "",
        "vars": {"colour": "red", "surface": "oak", "note": "of a hundred letters or so " * 4},
        "status": status,
        "reason": None,
    }


def test_lines_are_read_in_plan_order_however_their_masters_were_finished():
    found = [_line(master, name) for master in range(3) for name in ("a", "b")]
    found[3]["status"] = REFUSED
    lines = Lines()
    for master in (2, 0, 1):
        lines.add(master, found[2 * master : 2 * master + 2])
    assert list(lines) == found == list(lines)
    assert (len(lines), lines.refused) == (6, 1)
    assert jsonl(lines) == jsonl(found)


def test_the_lines_of_many_masters_take_little_memory():
    lines = Lines()
    tracemalloc.start()
    try:
        for master in range(200):
            lines.add(master, [_line(master, f"channel-{number}") for number in range(10)])
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(lines) < 200


def test_many_images_are_spread_over_pages_of_which_the_first_is_written_last():
    images = 2 * IMAGES_PER_PAGE + 1
    lines = [_line(master, name) for master in range(images) for name in ("a", "b")]
    made = dict(pages(HEAD, lines, {}))
    assert list(made) == ["delivery-2.html", "delivery-3.html", "delivery.html"]
    shown = [made[name].decode() for name in ("delivery.html", "delivery-2.html", "delivery-3.html")]
    assert [page.count("<section>") for page in shown] == [IMAGES_PER_PAGE, IMAGES_PER_PAGE, 1]
    for page in shown:
        assert page.count('<a href="delivery') == 3  # the two other pages, and the table
    assert "a/mug-0.jpg" in shown[0]
    assert f"b/mug-{images - 1}.jpg" in shown[2]
    ((name, empty),) = pages(HEAD, [], {})
    assert (name, b"<section>" in empty) == ("delivery.html", False)
