"""Hosted files: how long they live, what their readers see, and which of them a submission may use."""

from __future__ import annotations

import pytest
from support.sandbox_pictures import a_picture, upload


async def test_a_file_lives_seventy_two_hours(visit):
    visitor = await visit()
    data = (await upload(visitor, a_picture())).json()["data"]
    visitor.sandbox.advance(72 * 3600 + 1)
    assert (await visitor.http.get(data["file_url"])).status_code == 404
    assert (await visitor.get("/api/v1/files/quota")).json()["data"]["used_files"] == 0


async def test_an_overwritten_name_shows_its_old_content_for_a_while(visit):
    visitor = await visit(stale_read_s=60)
    old, new = a_picture(colour="red"), a_picture(colour="blue")
    await upload(visitor, old, file_name="a.png")
    url = (await upload(visitor, new, file_name="a.png")).json()["data"]["file_url"]
    assert (await visitor.http.get(url)).content == old
    visitor.sandbox.advance(61)
    assert (await visitor.http.get(url)).content == new


async def test_a_hosted_reference_is_used_while_it_lives(visit):
    visitor = await visit()
    data = (await upload(visitor, a_picture(), file_name="näh 1.png", upload_path="refs")).json()["data"]
    assert (await visitor.result(image_urls=[data["file_url"]]))["status"] == "completed"
    visitor.sandbox.advance(72 * 3600 + 1)
    task = await visitor.result(image_urls=[data["file_url"]])
    assert (task["status"], task["error"]["code"]) == ("failed", "image_processing_error")
    assert visitor.sandbox.charges()[1].charged == 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (a_picture(size=(10, 20)), "image_dimension_mismatch"),
        (a_picture(size=(20, 400)), "image_dimension_mismatch"),
        (a_picture("GIF"), ""),
    ],
)
async def test_a_reference_must_fit_the_profile(visit, content, code):
    visitor = await visit()
    url = (await upload(visitor, content)).json()["data"]["file_url"]
    assert (await visitor.result(image_urls=[url])).get("error", {}).get("code", "") == code
    visitor.sandbox.change(profile="strict", reference_check="submit")
    assert (await visitor.post(image_urls=[url])).status_code == 400


async def test_foreign_references_are_fine_and_never_fetched_and_internal_ones_cannot_be_reached(visit):
    visitor = await visit()
    assert (await visitor.result(image_urls=["https://a.example/1.png"]))["status"] == "completed"
    assert (await visitor.result(image_urls=["http://192.168.1.1/1.png"]))["status"] == "failed"
    visitor.sandbox.change(foreign_references="unfetchable")
    assert (await visitor.result(image_urls=["https://a.example/1.png"]))["status"] == "failed"
    visitor.sandbox.change(foreign_references="anywhere")
    assert (await visitor.result(image_urls=["http://192.168.1.1/1.png"]))["status"] == "completed"


async def test_references_may_be_too_slow_a_number_of_times_at_submit_or_in_the_task(visit):
    visitor = await visit(slow_references=1)
    fields = {"image_urls": ["https://a.example/1.png"]}
    assert (await visitor.result())["status"] == "completed"
    assert "Timeout" in (await visitor.result(**fields))["error"]["message"]
    assert (await visitor.result(**fields))["status"] == "completed"
    visitor.sandbox.change(reference_check="submit", slow_references=2)
    answer = await visitor.post(**fields)
    assert (answer.status_code, "Timeout" in answer.json()["error"]["message"]) == (400, True)
    assert (await visitor.post(**fields)).status_code == 200


async def test_a_key_sent_to_a_hosted_file_is_a_violation(visit):
    visitor = await visit()
    url = (await upload(visitor, a_picture())).json()["data"]["file_url"]
    await visitor.http.get(url, headers=visitor.headers)
    assert visitor.sandbox.state()["violation_count"] == 1
