"""Checks whether outside servers answer, for ``adloom doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from adloom.core.check import Check

TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a server answers, and its own time as Unix seconds, None when it sends no date."""

    reached: bool
    time: float | None = None


async def reach(base_url: str) -> Reach:
    """Whether the API answers, whatever it says. Carries no key."""
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.head(base_url)
    except httpx.HTTPError:
        return Reach(reached=False)
    try:
        return Reach(reached=True, time=parsedate_to_datetime(answer.headers["date"]).timestamp())
    except (KeyError, ValueError):
        return Reach(reached=True)


async def prefect_health(environ: Mapping[str, str]) -> Check:
    """Whether the Prefect server that the environment names answers; having none is not a failure."""
    url = environ.get("PREFECT_API_URL", "").rstrip("/")
    if not url:
        return Check("prefect", works=True, found="PREFECT_API_URL is not set: runs go without Prefect")
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            healthy = (await client.get(f"{url}/health")).is_success
    except httpx.HTTPError:
        healthy = False
    if not healthy:
        remedy = "start it (`prefect server start`), unset PREFECT_API_URL, or use --direct"
        return Check("prefect", works=False, found="the server at PREFECT_API_URL does not answer", remedy=remedy)
    return Check("prefect", works=True, found="the server at PREFECT_API_URL answers")
