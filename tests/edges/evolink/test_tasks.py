"""Tasks as the API tells of them, in every shape that was seen or may come."""

from decimal import Decimal

import pytest

from adloom.core.task import Task, TaskState
from adloom.edges.evolink.tasks import read_list, read_task, read_tasks
from adloom.edges.evolink.text import Cleaner

KEY = "sk-evo-canary-0123456789"


clean = Cleaner(KEY)


LINK, OTHER, THIRD = (f"https://files.example/a_{place}.jpg?sig=1" for place in range(3))


@pytest.mark.parametrize(
    ("fields", "links"),
    [
        ({"results": [LINK, LINK]}, (LINK, LINK)),
        ({"results": [{"url": LINK}, {"image_url": LINK}, {"other": LINK}]}, (LINK, LINK)),
        ({"results": [], "result_data": [{"url": LINK}]}, (LINK,)),
        ({"result_data": [{"url": LINK}]}, (LINK,)),
        ({"results": [LINK], "result_data": [{"url": LINK}, {"url": LINK}]}, (LINK,)),
        ({"results": None}, ()),
        ({"results": {"url": LINK}}, (LINK,)),
        ({"results": LINK}, (LINK,)),
        ({"result_data": {"url": LINK}}, (LINK,)),
        ({"results": ["", 7, None, "\ud800", "x" * 9000, [LINK]]}, ()),
        ({"results": [f" {LINK}\n", {"image": {"url": LINK}}, {"image_url": {"url": LINK}}]}, (LINK, LINK, LINK)),
        ({"result_data": [{"url": LINK, "error": {"code": "x"}}]}, (LINK,)),
        ({"results": [{"image": LINK}, {"url": None, "image_url": LINK}]}, (LINK, LINK)),
        ({"results": [LINK], "result_data": [{"url": OTHER}, {"url": LINK}, {"url": THIRD}]}, (LINK, OTHER, THIRD)),
        ({"results": [LINK, OTHER], "result_data": [{"url": f"{OTHER}2"}, {"url": f"{LINK}2"}]}, (LINK, OTHER)),
        (
            {"results": [LINK, OTHER], "result_data": [{"url": "https://b.example/1"}, {"url": "https://b.example/2"}]},
            (LINK, OTHER),
        ),
        ({"results": [LINK], "result_data": [{"url": f"{LINK}2"}, {"url": OTHER}]}, (LINK, OTHER)),
        ({}, ()),
    ],
)
def test_links_are_found_in_every_shape(fields, links):
    assert read_task({"id": "t", "status": "completed", **fields}, clean).results == links


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"results": [LINK, {"other": LINK}, 7, "x" * 9000, f"{LINK}\0"]}, 4),
        ({"results": [LINK, None, "", " ", {}, {"url": None}, [], {"image": {"url": ""}}]}, 0),
        ({"results": [LINK], "result_data": [{"url": LINK}, {"index": 1, "error": {"code": "moderated"}}]}, 0),
        ({"results": [LINK], "result_data": [{"url": LINK}, {"b64": "x", "error": None}]}, 1),
        ({"results": [{"other": 1}, {"other": 2}], "result_data": [{"url": LINK}, {"url": OTHER}]}, 0),
        ({"results": [LINK, {"other": 2}], "result_data": [{"url": LINK}, {"other": 2}]}, 1),
        ({"results": [LINK, OTHER], "result_data": {"seed": 5}}, 0),
        ({"result_data": {"other": LINK}}, 1),
        ({}, 0),
    ],
)
def test_results_that_cannot_be_read_are_counted_and_told_without_what_they_hold(fields, count, caplog):
    assert read_task({"id": "task-1", "status": "completed", **fields}, clean).unreadable == count
    told = [f"task task-1 shows {count} result(s) that cannot be read"]
    assert caplog.messages == (told if count else [])


@pytest.mark.parametrize(
    ("fields", "charge"),
    [
        ({"usage": {"credits_used": Decimal("1.53")}}, Decimal("1.53")),
        ({"usage": {"credits_used": 0}}, Decimal(0)),
        ({"usage": {"cost": {"credits": 2, "usd": 1}}}, Decimal(2)),
        ({"billing": {"charged_credits": 3}}, Decimal(3)),
        ({"usage": {"credits_used": "odd"}, "billing": {"charged_credits": 3}}, Decimal(3)),
        ({"usage": []}, None),
        ({}, None),
    ],
)
def test_the_charge_is_found_in_every_shape(fields, charge):
    assert read_task({"id": "t", "status": "completed", **fields}, clean).credits_used == charge


@pytest.mark.parametrize(
    ("word", "state"),
    [("pending", TaskState.PENDING), ("processing", TaskState.PROCESSING), ("completed", TaskState.COMPLETED),
     ("failed", TaskState.FAILED), ("cancelled", TaskState.CANCELLED), ("canceled", TaskState.CANCELLED),
     ("COMPLETED", TaskState.COMPLETED), ("succeeded", TaskState.OTHER), (None, TaskState.OTHER), (7, TaskState.OTHER)],
)  # fmt: skip
def test_an_unknown_state_is_no_end(word, state):
    task = read_task({"id": "t", "status": word}, clean)
    assert task.state is state
    assert task.word == clean(word)


def test_a_failed_task_may_have_no_error():
    assert read_task({"id": "t", "status": "failed"}, clean) == Task("t", TaskState.FAILED, word="failed")
    told = read_task({"id": "t", "status": "failed", "error": {"code": "x", "message": f"{KEY}\n"}}, clean)
    assert (told.error_code, told.error_message) == ("x", "***")


def test_a_task_of_another_id_is_none():
    assert read_task({"id": "other", "status": "pending"}, clean, "t") is None
    assert read_task({"status": "pending"}, clean, "t").task_id == "t"
    assert read_task({"error": {"code": 1}}, clean, "t") is None
    assert read_task([], clean, "t") is None


@pytest.mark.parametrize(
    ("told", "asked", "is_same"),
    [
        ("1760000000-ab12cd34", "task-unified-1760000000-ab12cd34", True),
        ("unified-1760000000-ab12cd34", "task-unified-1760000000-ab12cd34", True),
        ("task-1760000000-ab12cd34", "task-unified-1760000000-ab12cd34", True),
        ("ab12cd34", "task-unified-1760000000-ab12cd34", True),
        ("image:task-unified-1760000000-ab12cd34", "task-unified-1760000000-ab12cd34", True),
        ("task-unified-1760000000-ab12cd34", "1760000000-ab12cd34", True),
        ("cd34", "task-unified-1760000000-ab12cd34", False),
        ("1760000000", "task-unified-1760000000-ab12cd34", False),
        ("task-unified-", "task-unified-1760000000-ab12cd34", False),
        ("task-unified-1760000000-ab12cd35", "task-unified-1760000000-ab12cd34", False),
    ],
)
def test_a_task_may_be_named_by_another_form_of_its_id(told, asked, is_same):
    task = read_task({"id": told, "status": "pending"}, clean, asked)
    assert (task and task.task_id) == (asked if is_same else None)


def test_charge_words_are_known_or_left_out():
    for told, kept in (
        ("charged", "charged"), ("released", "released"), ("reserved", "reserved"), ("Unknown", "unknown"),
        ("pending", ""), (None, ""), ([], ""),
    ):  # fmt: skip
        assert read_task({"id": "t", "status": "x", "billing": {"charge_status": told}}, clean).charge_status == kept


def test_a_batch_is_read_line_by_line_and_shows_which_is_no_task():
    found = read_tasks({"data": [{"id": "a", "status": "pending"}, None, {"status": "pending"}, {"id": 1}]}, clean)
    assert found == [Task("a", TaskState.PENDING, word="pending"), None, None, None]
    assert read_tasks({"data": None}, clean) is None
    assert read_tasks([], clean) is None


def test_a_list_is_read_to_the_last_line_or_not_at_all():
    lines = [
        {"id": "task-unified-1760000000-a", "status": "pending", "model": "m"},
        {"id": "b", "created_at": 1760000001},
        {"id": "c", "created_at": 1760000002000},
        {"id": "d", "created_at": "2025-10-09T08:53:23Z"},
        {"id": "e", "created_at": "1760000004"},
    ]
    found = read_list({"data": lines}, clean)
    assert [task.created_at for task in found.lines] == [1760000000, 1760000001, 1760000002, 1760000003, 1760000004]
    assert read_list({"data": [*lines, {"id": "undated"}]}, clean) is None
    assert read_list({"data": [*lines, {"created_at": 1}]}, clean) is None
    assert read_list({}, clean) is None


@pytest.mark.parametrize(
    ("told", "total", "most"),
    [
        ({"total": 70, "page_size": 20}, 70, 20),
        ({"total": "70", "page_size": None}, 70, None),
        ({"total": -1, "page_size": "x"}, None, None),
        ({}, None, None),
    ],
)
def test_a_list_may_say_how_long_it_and_its_pages_are(told, total, most):
    page = read_list({"data": [], **told}, clean)
    assert (page.total, page.most) == (total, most)
