"""The routes of the file API, with its own answer shape and +08:00 times."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, unquote, urlsplit

from aiohttp import web

from adloom.sandbox.answers import Reply, json_reply
from adloom.sandbox.doors import Call
from adloom.sandbox.hosting import HostedFile, UploadRefused
from adloom.sandbox.sandbox import Sandbox

_ZONE = timezone(timedelta(hours=8))
_LARGEST_PAGE = 100
_STATUSES = {40001: 413, 40002: 400, 40003: 403, 40004: 400, 50001: 500}


class Uploads:
    """Handlers of the file API; ``doors`` checks the key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def from_base64(self, call: Call) -> Reply:
        """``POST /api/v1/files/upload/base64``: a data URL or bare base64."""
        return await self._answered(call, self._base64)

    async def from_stream(self, call: Call) -> Reply:
        """``POST /api/v1/files/upload/stream``: multipart, with either spelling of path and name."""
        return await self._answered(call, self._stream)

    async def from_url(self, call: Call) -> Reply:
        """``POST /api/v1/files/upload/url``: only this sandbox's own pictures; nothing foreign is ever fetched."""
        return await self._answered(call, self._url)

    async def quota(self, call: Call) -> Reply:
        """``GET /api/v1/files/quota``."""
        used = self._sandbox.files.used(call.account.name, call.now)
        settings = self._sandbox.settings
        data = {
            "user_group": settings.user_group,
            "used_files": used,
            "max_files": settings.max_files,
            "remain_files": max(0, settings.max_files - used + settings.quota_skew),
            "is_custom": False,
            "quota_reason": "",
        }
        return json_reply({"success": True, "code": 200, "data": data})

    async def list(self, call: Call) -> Reply:
        """``GET /api/v1/files/list?page&pageSize``."""
        page = _number(call.request.query.get("page"), 1)
        size = min(_number(call.request.query.get("pageSize"), 20), _LARGEST_PAGE)
        files = self._sandbox.files.owned(call.account.name, call.now)
        shown = [self._data(file) for file in files[(page - 1) * size : page * size]]
        data = {
            "files": shown,
            "total": len(files),
            "page": page,
            "pageSize": size,
            "pages": math.ceil(len(files) / size),
        }
        return json_reply({"success": True, "code": 200, "msg": "ok", "data": data})

    async def delete(self, call: Call) -> Reply:
        """``DELETE /api/v1/files/{id}``."""
        if not self._sandbox.files.remove(call.account.name, call.request.match_info["file_id"], call.now):
            return _failed(404, "the file was not found", 404)
        return json_reply({"success": True, "code": 200, "msg": "ok"})

    async def receipt(self, call: Call) -> Reply:
        """``GET /api/v1/files/upload-receipts/{id}``: the upload whose answer was lost."""
        file = self._sandbox.files.receipts.get((call.account.name, call.request.match_info["upload_id"]))
        return _failed(404, "no such upload", 404) if file is None else self._hosted(file)

    async def _answered(self, call: Call, read: Callable[[Call], Awaitable[tuple[bytes, str, str]]]) -> Reply:
        try:
            content, name, place = await read(call)
            file = self._sandbox.files.add(call.account.name, content, name, place, call.now)
        except UploadRefused as refused:
            return _failed(refused.code, refused.message, _STATUSES.get(refused.code, 400))
        upload_id = call.request.headers.get("X-Evo-Upload-Id", "")
        if upload_id:
            self._sandbox.files.receipts[call.account.name, upload_id] = file
        return self._hosted(file)

    async def _base64(self, call: Call) -> tuple[bytes, str, str]:
        fields = _object(call.body)
        text = _text(fields, "base64_data")
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise UploadRefused(40002, "base64_data cannot be read") from None
        return content, _text(fields, "file_name"), _text(fields, "upload_path")

    async def _stream(self, call: Call) -> tuple[bytes, str, str]:
        form = await call.request.post()
        file = form.get("file")
        if not isinstance(file, web.FileField):
            raise UploadRefused(40002, "the form has no file")
        name = form.get("file_name") or form.get("fileName") or file.filename
        place = form.get("upload_path") or form.get("uploadPath") or ""
        with file.file as content:
            return content.read(), str(name), str(place)

    async def _url(self, call: Call) -> tuple[bytes, str, str]:
        fields = _object(call.body)
        parts = urlsplit(_text(fields, "file_url"))
        own = parts.netloc == urlsplit(self._sandbox.base_url).netloc
        shown = self._sandbox.files.shown(quote(unquote(parts.path)), call.now) if own else None
        if shown is None:
            raise UploadRefused(40004, "the URL could not be fetched (the sandbox fetches nothing foreign)")
        name = _text(fields, "file_name") or unquote(parts.path.rsplit("/", 1)[-1])
        return shown[0], name, _text(fields, "upload_path")

    def _hosted(self, file: HostedFile) -> Reply:
        return json_reply({"success": True, "code": 200, "msg": "ok", "data": self._data(file)})

    def _data(self, file: HostedFile) -> dict[str, object]:
        life_s = self._sandbox.settings.file_life_s
        return {
            "file_id": file.id,
            "file_name": file.name,
            "original_name": file.original_name,
            "file_size": len(file.content),
            "mime_type": file.media_type,
            "upload_path": file.place,
            "file_url": self._sandbox.base_url + file.path,
            "download_url": f"{self._sandbox.base_url}{file.path}?download={file.id}",
            "upload_time": _time(file.uploaded_at),
            "expires_at": _time(file.uploaded_at + life_s),
        }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), _ZONE).isoformat()


def _failed(code: int, message: str, status: int) -> Reply:
    return json_reply({"success": False, "code": code, "msg": message}, status=status)


def _object(body: bytes) -> dict[str, object]:
    try:
        fields = json.load(io.BytesIO(body))
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UploadRefused(40002, "the body must be a JSON object")
    return fields


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else default
