"""EvoLink's file service over HTTP: hosts reference files so that the image API can fetch them.

Files are named by their content, so an upload that is sent twice leaves one file. The key is sent only to the service's
own origin, never along a redirect. No method retries: the callers own that. An answer counts as good only when its
``success`` says so, whatever its HTTP status. Shapes and codes: EvoLink's file API page and media guide, as of 2026-10;
they are judged by code and status, never by message.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import httpx

from adloom.core.errors import AccountStopped, ApiError, FileRefused, ReadFailed, RequestRefused
from adloom.edges.addresses import BadAddress, check_url
from adloom.edges.evolink import transport
from adloom.edges.evolink.account import AccountClient
from adloom.edges.evolink.answers import Answer, Envelope, advised_s, read_envelope, request_id, stopped
from adloom.edges.evolink.client import exchange, kind_of
from adloom.edges.evolink.text import Unreadable, amount, mapping, read_json
from adloom.edges.settings import Settings
from adloom.ports import HostedFile

KEPT_S = 72 * 3600.0
"""Files are kept for 72 h (EvoLink file API page, 2026-10); counts where an answer names no other time."""

FOLDER = "adloom"
CONNECTIONS = 4

_QUOTA = "40003"
_TOO_LARGE, _NO_TYPE = "the file is too large", "the file type is not supported"
_REFUSED = {"40001": _TOO_LARGE, "40002": _NO_TYPE, "413": _TOO_LARGE, "415": _NO_TYPE}
"""What is wrong with the file itself, by code or status."""
_UNAUTHORISED = (401, 402, 403)
_REFUSING_STATUSES = (400, 422)
_NO_QUOTA_PAGE = (404, 405)
_EXTENSIONS = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"RIFF", "webp"))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take; 10 MB need 90 s at 1.2 Mbit/s."""

    connect_s: float = 5
    read_s: float = 15
    upload_s: float = 120


class EvoLinkFiles(AccountClient):
    """The client of one account."""

    def __init__(
        self, settings: Settings, *, timeouts: Timeouts | None = None, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(settings)
        self._base_url = settings.files_url
        self._loopback = settings.loopback
        self._timeouts = timeouts or Timeouts()
        self._now = now
        self._client = transport.free_client(transport.ssl_context(), connections=CONNECTIONS)

    async def aclose(self) -> None:
        await self._client.aclose()

    @property
    def account(self) -> str:
        return hashlib.sha256(f"{self._base_url}\n{self._key.reveal()}".encode()).hexdigest()[:16]

    async def room(self) -> int | None:
        answer = await self._ask("GET", "/api/v1/files/quota", self._timeouts.read_s)
        if answer.status in _NO_QUOTA_PAGE:
            return None
        left = amount(self._data(answer).get("remain_files"))  # the page's own example does not add up
        return None if left is None else max(0, int(left))

    async def upload(self, content: bytes, sha256: str) -> HostedFile:
        stem = f"adloom-{sha256[:32]}"
        body = {
            "base64_data": base64.b64encode(content).decode(),
            "upload_path": FOLDER,
            "file_name": f"{stem}.{_extension(content)}",
        }
        answer = await self._ask("POST", "/api/v1/files/upload/base64", self._timeouts.upload_s, body)
        data = self._data(answer)
        url = data.get("file_url")
        if not isinstance(url, str) or not self._is_usable(url):
            raise ReadFailed(
                "EvoLink's file service returned no usable address for an upload",
                remedy="Check the service's status, then run the campaign again.",
                status=answer.status,
            )
        if _is_of_another_file(data, stem, len(content)):
            raise ReadFailed(
                "EvoLink's file service answered an upload with another file",
                remedy="Nothing was bought with it; check the service's status, then run the campaign again.",
                status=answer.status,
            )
        return HostedFile(url, _life_s(data))

    def _is_usable(self, url: str) -> bool:
        try:
            check_url(url, ("https", "http"), loopback_urls=self._loopback)
        except BadAddress:
            return False
        return True

    async def _ask(self, method: str, path: str, seconds: float, body: object = None) -> Answer:
        """One request and its answer. Raises ReadFailed when no answer came."""
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        request = self._client.build_request(
            method,
            self._base_url + path,
            headers=headers if body is None else headers | {"Content-Type": "application/json"},
            content=None if body is None else json.dumps(body).encode(),
            timeout=httpx.Timeout(seconds, connect=self._timeouts.connect_s, pool=None),
        )
        try:
            async with asyncio.timeout(self._timeouts.connect_s + seconds):
                return await exchange(self._client, request)
        except transport.TROUBLE as error:
            raise ReadFailed(
                f"EvoLink's file service did not answer ({kind_of(error)})",
                remedy="Nothing was bought; check the network and EVOLINK_FILES_URL, then run the campaign again.",
            ) from error

    def _data(self, answer: Answer) -> Mapping[str, object]:
        """What a good answer holds. Raises the error that any other answer means."""
        try:
            body = mapping(read_json(answer.body))
        except Unreadable:
            body = {}
        if 200 <= answer.status < 300 and body.get("success") is True:  # noqa: PLR2004 - HTTP's own numbers
            return mapping(body.get("data"))
        raise self._error(answer, body)

    def _error(self, answer: Answer, body: Mapping[str, object]) -> ApiError:
        """The one place where the service's refusals become errors."""
        code, words = self._clean(body.get("code"), 20), self._clean(body.get("msg"))
        told = f"HTTP {answer.status}{f' {code}' if code else ''}" + (f": {words}" if words else "")
        if code == _QUOTA:
            return AccountStopped(
                f"EvoLink's file service has no room for more files ({told})",
                remedy="Delete hosted files, or wait: each is deleted 72 h after its upload. Then run it again.",
                **self._ids(answer, code),
            )
        status = int(code) if code in map(str, _UNAUTHORISED) else answer.status
        if status in _UNAUTHORISED:
            envelope = read_envelope(answer, self._clean) or Envelope(code, "", words, "", "", "")
            return stopped(replace(answer, status=status), self._clean, envelope)
        if why := _REFUSED.get(code) or (_REFUSED.get(str(status)) if body.get("success") is False else ""):
            return FileRefused(
                f"EvoLink's file service refuses it: {why} ({told})",
                remedy="Give another picture, or host it elsewhere and give its address.",
                **self._ids(answer, code),
            )
        if body.get("success") is False and status in _REFUSING_STATUSES:
            return RequestRefused(
                f"EvoLink's file service refuses it: no reason given ({told})",
                remedy="Give another picture, or host it elsewhere and give its address.",
                **self._ids(answer, code),
            )
        return ReadFailed(
            f"EvoLink's file service failed ({told})",
            remedy="Nothing was bought; check its status and EVOLINK_FILES_URL, then run the campaign again.",
            retry_after_s=advised_s(answer, self._now()),
            status=answer.status,
            code=code,
            request_id=request_id(answer, self._clean),
        )

    def _ids(self, answer: Answer, code: str) -> dict[str, Any]:
        return {"status": answer.status, "code": code, "request_id": request_id(answer, self._clean)}


def _is_of_another_file(data: Mapping[str, object], stem: str, size: int) -> bool:
    """Whether an answer is about another file than the one that was sent.

    The service may name a file anew and tell the old name as well. So any name with ours in it will do, and the size
    counts only where there is no name.
    """
    names = [name for field in ("file_name", "original_name") if isinstance(name := data.get(field), str) and name]
    if names:
        return not any(stem in name for name in (*names, str(data.get("file_url"))))
    told = amount(data.get("file_size"))
    return told is not None and told != size


def _extension(content: bytes) -> str:
    return next((extension for magic, extension in _EXTENSIONS if content.startswith(magic)), "img")


def _life_s(data: Mapping[str, object]) -> float:
    """How long a file is kept, by the service's own two times: its clock may differ from ours."""
    try:
        uploaded, expires = (datetime.fromisoformat(str(data[name])) for name in ("upload_time", "expires_at"))
        life_s = (expires - uploaded).total_seconds()
    except (KeyError, ValueError, TypeError):  # missing, unreadable, or only one of them with a zone
        return KEPT_S
    return life_s if 0 < life_s < KEPT_S else KEPT_S
