"""A sandbox in this process, and a visitor that talks to it over real HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from adloom.sandbox import Sandbox, SandboxSettings, running_sandbox

MODEL = "doubao-seedream-4.0"


class Visitor:
    """A client with a key and a product User-Agent."""

    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient, key: str = "sk-evo-test") -> None:
        self.sandbox = sandbox
        self.http = http
        self.key = key

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def post(self, key: str = "", **fields: Any) -> httpx.Response:
        """Submit; ``key`` is the idempotency key."""
        body = {"model": MODEL, "prompt": "a red mug", **fields}
        more = {"Idempotency-Key": key} if key else {}
        return await self.http.post("/v1/images/generations", json=body, headers=self.headers | more)

    async def buy(self, **fields: Any) -> str:
        """Submit and finish; the task id."""
        answer = await self.post(**fields)
        assert answer.status_code == 200, answer.text
        self.sandbox.finish()
        return answer.json()["id"]

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.http.get(path, params=query, headers=self.headers)

    async def task(self, task_id: str) -> dict[str, Any]:
        answer = await self.get(f"/v1/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def result(self, **fields: Any) -> dict[str, Any]:
        """Submit, finish and read."""
        return await self.task(await self.buy(**fields))

    def as_other(self, key: str) -> Visitor:
        return Visitor(self.sandbox, self.http, key)


@pytest.fixture
async def visit() -> AsyncIterator[Callable[..., Any]]:
    """Start a sandbox with some switches and visit it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**switches: Any) -> Visitor:
            settings = SandboxSettings(**{"task_seconds": 60, "fast_pictures": True} | switches)
            sandbox = await stack.enter_async_context(running_sandbox(settings))
            http = httpx.AsyncClient(
                base_url=sandbox.base_url,
                headers={"User-Agent": "adloom-tests/1"},
                timeout=60,
                verify=False,  # no TLS here, and certificates take time to load
                trust_env=False,
            )
            return Visitor(sandbox, await stack.enter_async_context(http))

        yield start
