"""Uploads of reference pictures, in every form that the file API takes."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from support.sandbox_pictures import a_picture, upload


async def test_a_picture_in_base64_is_hosted_and_readable(visit):
    visitor = await visit()
    content = a_picture()
    answer = await upload(visitor, content, file_name="hero.png", upload_path="refs")
    data = answer.json()["data"]
    assert answer.json() | {"data": {}} == {"success": True, "code": 200, "msg": "ok", "data": {}}
    assert (data["file_name"], data["upload_path"], data["mime_type"]) == ("hero.png", "refs", "image/png")
    assert data["file_size"] == len(content)
    uploaded = datetime.fromisoformat(data["upload_time"])
    assert uploaded.utcoffset() == timedelta(hours=8)
    assert datetime.fromisoformat(data["expires_at"]) - uploaded == timedelta(hours=72)
    assert (await visitor.http.get(data["file_url"])).content == content


async def test_data_urls_and_both_spellings_of_forms_are_taken(visit):
    visitor = await visit()
    url = "data:image/png;base64," + base64.b64encode(a_picture()).decode()
    assert (await upload(visitor, b"", base64_data=url)).json()["success"]
    for names in (("upload_path", "file_name"), ("uploadPath", "fileName")):
        answer = await visitor.http.post(
            "/api/v1/files/upload/stream",
            files={"file": ("shot.jpg", a_picture("JPEG"), "image/jpeg")},
            data={names[0]: "refs", names[1]: f"{names[1]}.jpg"},
            headers=visitor.headers,
        )
        data = answer.json()["data"]
        assert (data["upload_path"], data["file_name"], data["mime_type"]) == ("refs", f"{names[1]}.jpg", "image/jpeg")


async def test_an_upload_by_url_fetches_nothing_foreign(visit):
    visitor = await visit()
    path = "/api/v1/files/upload/url"
    own = (await upload(visitor, a_picture(), file_name="a.png")).json()["data"]["file_url"]
    copied = await visitor.http.post(path, json={"file_url": own, "file_name": "b.png"}, headers=visitor.headers)
    assert copied.json()["data"]["file_name"] == "b.png"
    foreign = await visitor.http.post(path, json={"file_url": "https://a.example/1.png"}, headers=visitor.headers)
    assert foreign.json()["code"] == 40004


async def test_uploads_need_the_key(visit):
    visitor = await visit()
    answer = await visitor.http.post("/api/v1/files/upload/base64", json={"base64_data": ""})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"no picture", 40002), (a_picture("BMP", (10, 10)), 40002), (a_picture(size=(400, 400)), 40001)],
)
async def test_what_cannot_be_hosted_is_refused_with_the_file_apis_codes(visit, content, code):
    visitor = await visit(largest_file_bytes=1000)
    answer = await upload(visitor, content)
    assert (answer.json()["success"], answer.json()["code"]) == (False, code)


async def test_the_quota_runs_out_and_comes_back_by_deleting(visit):
    visitor = await visit(max_files=2, quota_skew=-1)
    ids = [(await upload(visitor, a_picture(), file_name=f"{name}.png")).json()["data"]["file_id"] for name in "ab"]
    full = await upload(visitor, a_picture(), file_name="c.png")
    assert full.json()["code"] == 40003
    quota = (await visitor.get("/api/v1/files/quota")).json()["data"]
    assert (quota["used_files"], quota["max_files"], quota["remain_files"]) == (2, 2, 0)
    assert (await visitor.http.delete(f"/api/v1/files/{ids[0]}", headers=visitor.headers)).json()["success"]
    assert (await upload(visitor, a_picture(), file_name="c.png")).json()["success"]
    listed = (await visitor.get("/api/v1/files/list", page=1, pageSize=1)).json()["data"]
    assert (listed["total"], listed["files"][0]["file_name"]) == (2, "c.png")


async def test_a_lost_upload_is_found_by_its_receipt(visit):
    visitor = await visit()
    visitor.sandbox.script(route="upload", fault="status", after=True)
    body = {"base64_data": base64.b64encode(a_picture()).decode(), "file_name": "a.png"}
    headers = visitor.headers | {"X-Evo-Upload-Id": "up-1"}
    assert (await visitor.http.post("/api/v1/files/upload/base64", json=body, headers=headers)).status_code == 503
    receipt = await visitor.get("/api/v1/files/upload-receipts/up-1")
    assert receipt.json()["data"]["file_name"] == "a.png"
    assert (await visitor.get("/api/v1/files/upload-receipts/up-2")).status_code == 404
