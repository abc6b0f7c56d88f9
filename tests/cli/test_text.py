"""Progress, status and held purchases as the terminal shows them."""

from dataclasses import replace
from decimal import Decimal

from adloom.cli.text import held_lines, progress_line, status_lines
from adloom.core.origin import SANDBOX, UNKNOWN, Origin
from adloom.core.outcomes import Status
from adloom.run.progress import Progress
from adloom.spend.held import Held

HELD = Held(
    "c-1", "hero", "mug", 2, 3660, Decimal("3.4"), "", "the answer was lost", 1_700_000_000, "seedream", "a red mug"
)
TOTALS = {
    **{status.value: 0 for status in Status}, "wanted": 3, "archived": 2, "held": 1, "credits_charged": 68.0,
    "credits_reserved": 0, "credits_at_risk": 3.4,
}  # fmt: skip
MANIFEST = {"campaign": "test", "edition": "main", "status": "held", "totals": TOTALS}


def _progress(archived: int, ended: int = 0) -> Progress:
    return Progress(
        wanted=10, archived=archived, ended=ended or archived, calls=2, in_flight=1, charged=Decimal(68),
        reserved=Decimal(0), cap=Decimal(680),
    )  # fmt: skip


def test_a_status_names_what_there_is_and_all_three_kinds_of_money():
    lines = status_lines(MANIFEST, [HELD], UNKNOWN)
    assert lines[:3] == [
        "test, edition main: held",
        "  3 images wanted: 2 archived, 1 held",
        "  $1.00 (68 credits) charged, $0.00 (0 credits) reserved, $0.05 (3.4 credits) at risk",
    ]
    assert lines[3].startswith("  held c-1 hero/mug: 2 images, $0.05")


def test_a_held_purchase_comes_with_its_age_its_reason_and_both_ways_out():
    line, ways = held_lines([HELD], UNKNOWN)
    assert line == (
        "c-1 hero/mug: 2 images, $0.05 (3.4 credits) at risk for 1 h 01 min; "
        "sent 2023-11-14T22:13:20.000Z to seedream as 'a red mug'; the answer was lost"
    )
    assert "EvoLink's console: `adloom resolve TARGET CALL --adopt TASK`" in ways
    assert "--release" in ways
    assert held_lines([], UNKNOWN) == ["nothing is held"]


def test_a_purchase_whose_task_is_known_is_not_to_be_adopted_or_released():
    known = replace(HELD, images=1, task="task-7", reason="it shows no image")
    line, way = held_lines([known], UNKNOWN)
    assert "hero/mug: 1 image, " in line
    assert line.endswith("bought as task task-7; it shows no image")
    assert "--adopt" not in way
    assert "run the campaign again" in way
    assert len(held_lines([HELD, known], UNKNOWN)) == 4


def test_of_a_long_prompt_the_beginning_is_shown_and_a_stand_in_has_a_log_for_a_console():
    line, ways = held_lines([replace(HELD, prompt="mug " * 100)], Origin(SANDBOX, is_stand_in=True))
    assert len(line) < 250
    assert "/_sandbox/charges" in ways


def test_sums_of_the_sandbox_are_called_that():
    sandbox = Origin(SANDBOX, is_stand_in=True)
    assert all("sandbox $" in line for line in (status_lines(MANIFEST, [], sandbox)[2], held_lines([HELD], sandbox)[0]))


def test_the_time_that_is_left_counts_only_what_this_run_has_made():
    assert "left" not in progress_line(_progress(4), 60, archived_before=4)
    assert progress_line(_progress(6), 60, archived_before=4).endswith("spent, about 2 min 00 s left")
    assert "left" not in progress_line(_progress(10), 60, archived_before=4)


def test_images_that_ended_without_a_file_are_not_waited_for():
    assert progress_line(_progress(6, ended=9), 60, archived_before=4).endswith("about 30 s left")
