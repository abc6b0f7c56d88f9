"""What the pages show of rows: a card for each image, one for neighbours that ended alike without one."""

import pytest
from support.fakes import a_fact, a_row, an_image, bought

from adloom.core.facts import fold
from adloom.core.identity import thumb_key
from adloom.core.outcomes import Outcome, Status, outcomes
from adloom.core.planned import PlannedRow
from adloom.gallery.view import Contents, is_shown, page_name, row_anchor, row_view, size_text
from adloom.plan.planner import Planner


def _planned(identity: str = "mug", **row: object) -> PlannedRow:
    return next(iter(Planner({}, {}).plan([a_row(identity, **row)])))


def _known(planned: PlannedRow, archived: int) -> dict[str, Outcome]:
    """The first images are archived; the others were none until their links died."""
    (call,) = planned.calls
    count = len(call.variants)
    images = [an_image(index, width_px=1600, height_px=800, size_bytes=1_234_567) for index in range(archived)]
    images += [an_image(index, "quarantined", reason="not an image") for index in range(archived, count)]
    charge = str(count)
    facts = {
        "a1-intent": a_fact(bought(call.variants)),
        "a1-accepted.t": a_fact(task="t", credits=charge),
        "a1-completed": a_fact(task="t", links=[f"u{n}" for n in range(count)], reported=count, credits=charge),
        "a1-settled": a_fact(outcome="charged", credits=charge),
        "a1-archived-1": a_fact(images=images, time=25 * 3600),
    }
    return outcomes([fold(call.id, facts)])


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(999, "999 bytes"), (1_000, "1 kB"), (999_999, "1000 kB"), (1_234_567, "1.2 MB")]
)
def test_sizes_are_for_people(size_bytes: int, text: str):
    assert size_text(size_bytes).replace("\u00a0", " ") == text


def test_an_image_is_shown_by_its_thumbnail_where_there_is_one_and_leads_to_its_original():
    planned = _planned(variants=2)
    known = _known(planned, 2)
    with_thumb, without = row_view(planned, known, {thumb_key("assets/hero/mug-1.png")}).shots
    assert (with_thumb.original, with_thumb.source) == ("assets/hero/mug-1.png", thumb_key("assets/hero/mug-1.png"))
    assert without.source == without.original == "assets/hero/mug-2.png"
    assert (with_thumb.width, with_thumb.height, with_thumb.is_wide) == (400, 200, True)
    assert with_thumb.caption.replace("\u00a0", " ") == "1600 × 800 · PNG · 1.2 MB"


def test_neighbours_that_ended_alike_share_a_card():
    planned = _planned(variants=4)
    view = row_view(planned, _known(planned, 1), ())
    (gap,) = view.gaps
    assert (len(view.shots), gap.title, gap.status, gap.count) == (1, "variants 2–4", Status.FAILED, 3)
    assert gap.reason == "not an image"


def test_a_row_says_what_it_was_asked_with():
    planned = _planned(priority="fast", variables={"product": {"name": "mug"}})
    view = row_view(planned, {}, ())
    assert view.traits == ("1:1", "1K", planned.row.model, "fast priority")
    assert view.variables == (("product.name", "mug"),)


def test_contents_lead_to_rows_with_something_missing_and_count_what_is_not_shown():
    first, second, untouched = _planned(variants=2), _planned("jug", variants=2), _planned("cup", variants=3)
    known = _known(first, 2) | _known(second, 1)
    contents = Contents()
    assert len(list(contents.add([first], known))) == 2
    assert len(list(contents.add([second], known))) == 1
    contents.leave_out(untouched)
    (missing,) = contents.missing
    assert (missing.page, missing.anchor, contents.missing_rows) == (2, row_anchor(second), 1)
    (job,) = contents.jobs.values()
    assert (job.page, job.rows, job.wanted, job.archived) == (1, 3, 7, 3)
    assert dict(contents.found) == {Status.ARCHIVED: 3, Status.FAILED: 1, Status.OPEN: 3}
    assert contents.untouched_rows == 1


def test_rows_of_which_nothing_was_begun_are_shown_only_where_one_page_holds_all():
    planned = _planned()
    assert is_shown(planned, {}, all_fit=True)
    assert not is_shown(planned, {}, all_fit=False)
    assert is_shown(planned, _known(planned, 1), all_fit=False)


def test_the_first_page_has_the_name_that_people_know():
    assert [page_name(number) for number in (1, 2, 10)] == ["gallery.html", "gallery-2.html", "gallery-10.html"]
