"""The vendor's own client reads the sandbox: what it does not understand, the sandbox does not say as EvoLink does.

The client is a server of the Model Context Protocol that is spoken to over stdio. It is installed from npm as pinned in
``package-lock.json``; without node, or where it cannot be fetched, these tests are skipped.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from support.desk import CliRig

HERE = Path(__file__).parent
ENTRY = "node_modules/@evolinkai/evolink-media/dist/evolink-media/src/index.js"
INSTALLS_IN_S = 90
READS = 200
KEY = "sk-test-canary"
NOBODYS_TASK = "task-unified-1700000000-abcd1234"


@pytest.fixture(scope="session")
def client_folder(pytestconfig: pytest.Config) -> Path:
    """Where the client is installed: once for each lock file, in pytest's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not installed")
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(pytestconfig.cache.mkdir(f"vendor-client-{digest}"))
    if not (folder / ENTRY).exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALLS_IN_S, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("the vendor's client could not be fetched in time")
        if done.returncode:
            pytest.skip(f"the vendor's client cannot be fetched: {done.stderr.strip()[-200:]}")
    return folder


@dataclass
class Client:
    """The running client; ``told`` keeps every answer for a look at what it made of the sandbox."""

    process: "subprocess.Popen[str]"
    number: int = 0
    told: list[str] = field(default_factory=list)

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        self.tell({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            answer = json.loads(line)
            if answer.get("id") == self.number:
                return dict(answer["result"])
        raise AssertionError("the client has ended")

    def tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def call(self, tool: str, **arguments: object) -> str:
        """What a tool says. Fails when it says that it failed."""
        text, is_error = self.try_to(tool, **arguments)
        assert not is_error, text
        return text

    def try_to(self, tool: str, **arguments: object) -> tuple[str, bool]:
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        text = "\n".join(part["text"] for part in result["content"])
        self.told.append(text)
        return text, bool(result.get("isError"))


@contextmanager
def running_client(folder: Path, base_url: str, key: str) -> Iterator[Client]:
    command = ["node", "--import", (HERE / "to_sandbox.mjs").as_uri(), str(folder / ENTRY)]
    node = shutil.which("node")
    assert node is not None
    environment = {"PATH": str(Path(node).parent), "EVOLINK_API_KEY": key, "SANDBOX_URL": base_url}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        client = Client(process)
        try:
            about = {"name": "adloom-tests", "version": "1"}
            client.ask("initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": about})
            client.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
            yield client
        finally:
            process.terminate()


@pytest.fixture
def client(client_folder: Path, desk: CliRig) -> Iterator[Client]:
    with running_client(client_folder, desk.base_url, KEY) as client:
        yield client
        assert not [text for text in client.told if "undefined" in text or "NaN" in text]


def line(text: str, name: str) -> str:
    """What stands behind a name in what the client says."""
    found = re.search(rf"^{name}: (.+)$", text, re.MULTILINE)
    assert found, text
    return found[1]


def finished(client: Client, task: str) -> str:
    """What the client says of a task when that has ended."""
    for _ in range(READS):
        text = client.call("check_task", task_id=task)
        if line(text, "Status") not in ("pending", "processing"):
            return text
        assert re.fullmatch(r"\d{1,3}%", line(text, "Progress"))
        time.sleep(0.05)
    raise AssertionError(text)


def test_it_buys_images_and_finds_all_of_them(client: Client, desk: CliRig):
    said = client.call(
        "generate_image", prompt="Generate 2 different images: a mug", model="doubao-seedream-4.0", size="16:9", n=2
    )
    task = line(said, "Task ID")
    assert line(said, "Status") == "pending"
    assert "credits" in line(said, "Estimated cost")
    assert int(line(said, "Estimated time").strip("~s")) > 0
    text = finished(client, task)
    assert line(text, "Status") == "completed"
    assert line(text, "Model") == "doubao-seedream-4.0"
    assert line(text, "Progress") == "100%"
    links = re.findall(r"\[\d\] (\S+)", text)
    assert len(links) == 2
    for link in links:
        assert httpx.get(link, headers={"User-Agent": "a-browser/1"}).headers["content-type"].startswith("image/")
    [charge] = desk.charges()
    assert (charge["task_id"], charge["made"]) == (task, 2)


def test_it_understands_a_task_that_failed(client: Client, desk: CliRig):
    desk.change(final_failure_rate=1.0)
    said = client.call("generate_image", prompt="a mug", model="doubao-seedream-4.0")
    text = finished(client, line(said, "Task ID"))
    assert line(text, "Status") == "failed"
    assert re.fullmatch(r"[a-z_]+", line(text, "Error code"))
    assert line(text, "Message") != "No details provided"


def test_it_hosts_files_and_lists_and_deletes_them(client: Client, desk: CliRig, tmp_path: Path):
    assert "(no files)" in client.call("list_files")
    picture = tmp_path / "red.png"
    Image.new("RGB", (512, 512), "red").save(picture)
    content = picture.read_bytes()
    by_path = client.call("upload_file", file_path=str(picture), upload_path="adloom")
    by_bytes = client.call("upload_file", base64_data=base64.b64encode(content).decode(), file_name="other.png")
    for text in (by_path, by_bytes):
        assert line(text, "Type") == "image/png"
        assert line(text, "Size") == f"{len(content) / 1024:.1f} KB"
        assert httpx.get(line(text, "File URL"), headers={"User-Agent": "a-browser/1"}).content == content
    listed = client.call("list_files")
    ids = [line(text, "File ID") for text in (by_path, by_bytes)]
    assert all(f"[{id_}]" in listed for id_ in ids)
    said = client.call(
        "generate_image", prompt="a mug", model="doubao-seedream-4.0", image_urls=[line(by_path, "File URL")]
    )
    assert line(finished(client, line(said, "Task ID")), "Status") == "completed"
    assert "deleted" in client.call("delete_file", file_id=ids[0])
    assert f"[{ids[0]}]" not in client.call("list_files")


def test_it_understands_what_is_refused(client: Client, desk: CliRig):
    desk.change(moderated_at_submit=["forbidden"])
    for refused, said in (
        (client.try_to("generate_image", prompt="forbidden", model="doubao-seedream-4.0"), "[400] "),
        (client.try_to("check_task", task_id=NOBODYS_TASK), "[404] "),
        (client.try_to("generate_image", prompt="a mug", model="doubao-seedream-4.0", size="5:77"), "[400] "),
        (client.try_to("delete_file", file_id="file_nobody"), "File API error ("),
    ):
        text, is_error = refused
        assert is_error
        assert text.startswith(said), text
        assert "Unknown error" not in text
    for route, change, said in (
        ("credits", {"balance": 0}, "[402] "),
        ("settings", {"key_states": {KEY: "key_model_not_allowed"}}, "[403] "),
        ("settings", {"key_states": {KEY: "revoked"}}, "[401] "),
    ):
        desk.post(route, change)
        text, is_error = client.try_to("generate_image", prompt="a mug", model="doubao-seedream-4.0")
        assert is_error
        assert text.startswith(said), text
    assert desk.charges() == []


def test_it_waits_out_a_429_and_buys_once(client: Client, desk: CliRig):
    desk.post("script", {"route": "submit", "fault": "status", "status": 429})
    said = client.call("generate_image", prompt="a mug", model="doubao-seedream-4.0")
    assert line(finished(client, line(said, "Task ID")), "Status") == "completed"
    assert len(desk.charges()) == 1
