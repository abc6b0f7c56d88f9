"""The sandbox as a process of its own: its address, its parent, and signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import httpx


@contextlib.contextmanager
def a_process(*options: str):
    arguments = [sys.executable, "-m", "adloom.sandbox", *options]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def test_as_a_process_it_prints_its_address_serves_and_leaves_with_its_parent():
    with a_process("--exit-with-parent", "--set", "user_group=vip", "--task-seconds", "0.1,0.2") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer k"}) as http:
            body = {"model": "doubao-seedream-4.0", "prompt": "a mug"}
            answer = await http.post("/v1/images/generations", json=body)
        assert answer.json()["usage"]["user_group"] == "vip"
        process.stdin.close()
        assert await asyncio.to_thread(process.wait, 5) == 0
        assert process.stdout.read() == ""


async def test_a_signal_stops_the_process_cleanly():
    with a_process() as (process, url):
        assert url
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 5) == 0
