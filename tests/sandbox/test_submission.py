"""What a submission may ask for, field by field."""

from __future__ import annotations

import re

import pytest


async def test_a_submission_is_answered_at_once_with_a_task_of_the_documented_shape(visit):
    visitor = await visit()
    answer = await visitor.post(prompt="Generate 3 different images: a mug", n=3)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"]
    task = answer.json()
    assert re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", task["id"])
    assert task == {
        "created": int(task["id"].split("-")[2]),
        "id": task["id"],
        "model": "doubao-seedream-4.0",
        "object": "image.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": 45},
        "type": "image",
        "usage": {"billing_rule": "per_call", "credits_reserved": 4.59, "user_group": "default"},
    }
    assert '"credits_reserved": 4.59,' in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_is_refused(visit, body):
    visitor = await visit()
    answer = await visitor.http.post("/v1/images/generations", content=body, headers=visitor.headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 16}, "n"),
        ({"n": True}, "n"),
        ({"n": "3"}, "n"),
        ({"n": 1.0}, "n"),
        ({"size": "7:5"}, "size"),
        ({"size": 5}, "size"),
        ({"size": "2K"}, "size"),
        ({"size": "1279x720"}, "size"),
        ({"size": "4097x4096"}, "size"),
        ({"size": "16001x1000"}, "size"),
        ({"quality": "3K"}, "quality"),
        ({"quality": None}, "quality"),
        ({"prompt_priority": "rushed"}, "prompt_priority"),
        ({"image_urls": "https://a.example/1.png"}, "image_urls"),
        ({"image_urls": ["ftp://a.example/1.png"]}, "image_urls"),
        ({"image_urls": ["data:image/png;base64,AAAA"]}, "image_urls"),
        ({"image_urls": ["https://a.example/1.png"] * 15}, "image_urls"),
        ({"callback_url": "http://hooks.example/1"}, "callback_url"),
        ({"callback_url": "https://10.0.0.1/hook"}, "callback_url"),
        ({"callback_url": "https://192.168.1.1/hook"}, "callback_url"),
        ({"callback_url": "https://172.20.1.1/hook"}, "callback_url"),
        ({"callback_url": "https://127.0.0.1/hook"}, "callback_url"),
        ({"callback_url": "https://localhost/hook"}, "callback_url"),
        ({"callback_url": "https://hooks.example/" + "a" * 2048}, "callback_url"),
        ({"seed": 7}, "seed"),
        ({"model": ""}, "model"),
        ({"model": "doubao-seedream-4.5", "quality": "1K"}, "quality"),
        ({"model": "doubao-seedream-4.5", "prompt_priority": "fast"}, "prompt_priority"),
        ({"model": "doubao-seedream-5.0-lite", "size": "1024x1024"}, "size"),
    ],
)
async def test_what_is_out_of_range_is_refused_with_the_name_of_its_field(visit, fields, param):
    visitor = await visit()
    answer = await visitor.post(**fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, 400, param)
    assert error["type"] == "invalid_request_error"
    assert visitor.sandbox.charges() == []


async def test_an_unknown_model_is_not_found(visit):
    visitor = await visit()
    assert (await visitor.post(model="doubao-seedream-9")).status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"size": "16:9", "quality": "4K", "prompt_priority": "fast"},
        {"size": "1280x720"},
        {"size": "4096x4096"},
        {"prompt": "x" * 2000},
        {"image_urls": ["https://a.example/1.png"] * 14, "n": 15},
        {"callback_url": "https://hooks.example/1"},
        {"model": "doubao-seedream-5.0-lite", "quality": "3K", "model_params": {"output_format": "png"}},
    ],
)
async def test_what_is_in_range_is_accepted(visit, fields):
    visitor = await visit()
    assert (await visitor.post(**fields)).status_code == 200


async def test_the_strict_profile_takes_fewer_references_and_ratios(visit):
    visitor = await visit(profile="strict")
    assert (await visitor.post(image_urls=["https://a.example/1.png"] * 11)).status_code == 400
    assert (await visitor.post(size="9:21")).status_code == 400
    visitor.sandbox.change(profile="wide")
    assert (await visitor.post(image_urls=["https://a.example/1.png"] * 11)).status_code == 200
    assert (await visitor.post(size="9:21")).status_code == 200


async def test_prompts_can_be_limited_to_a_thousand_characters(visit):
    visitor = await visit(short_prompts=True)
    assert (await visitor.post(prompt="x" * 1001)).status_code == 400
    assert (await visitor.post(prompt="x" * 1000)).status_code == 200


async def test_unknown_fields_can_be_let_through(visit):
    visitor = await visit(refuse_unknown_fields=False)
    assert (await visitor.post(seed=7)).status_code == 200


async def test_moderation_can_refuse_a_prompt_at_the_door_or_in_the_task(visit):
    visitor = await visit(moderated_at_submit=("celebrity",), moderated_in_task=("brand",))
    refused = await visitor.post(prompt="a celebrity with a mug")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_policy_violation")
    assert (await visitor.result(prompt="a brand of mugs"))["error"]["code"] == "content_policy_violation"


@pytest.mark.parametrize(
    ("prompt", "n", "references", "made"),
    [
        ("a mug", 4, 0, 1),
        ("Generate 3 different images: a mug", 3, 0, 3),
        ("Generate 3 different images: a mug", 2, 0, 2),
        ("Generate 3 different images: a mug", 5, 0, 3),
        ("Generate 15 different images: a mug", 15, 6, 9),
    ],
)
async def test_as_many_images_are_made_as_prompt_ceiling_and_references_allow(visit, prompt, n, references, made):
    visitor = await visit()
    urls = [f"https://a.example/{number}.png" for number in range(references)]
    task = await visitor.result(prompt=prompt, n=n, image_urls=urls)
    assert len(task["results"]) == made
    assert visitor.sandbox.charges()[0].made == made


async def test_posts_in_a_row_can_be_answered_with_one_id_though_each_makes_a_task(visit):
    visitor = await visit(posts_an_id=3)
    ids = [(await visitor.post()).json()["id"] for _ in range(4)]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    tasks = [line["id"] for line in (await visitor.get("/v1/tasks")).json()["data"]]
    assert len(set(tasks)) == 4
