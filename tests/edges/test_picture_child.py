"""The child process that decodes: what it may see and do, and what of it is believed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.pictures import image

from adloom.core.errors import PictureUnjudged
from adloom.edges import picture_child
from adloom.edges.pictures import PictureDecoder

HONEST = Path(picture_child.__file__).read_text()


@pytest.fixture
async def decoder():
    decoder = PictureDecoder()
    yield decoder
    await decoder.aclose()


async def test_a_lying_child_is_not_believed(decoder, monkeypatch, tmp_path):
    liar = tmp_path / "liar.py"
    liar.write_text(
        "import sys\nprint('\"ready\"', flush=True)\n"
        'while sys.stdin.buffer.read(9): print(\'["../x", 1, 1, [], [], "", 0]\', flush=True); '
        "sys.stdin.buffer.read(len(sys.argv))\n"
    )
    monkeypatch.setattr("adloom.edges.pictures._CHILD", liar)
    assert await decoder.decode(b"x") is None


async def test_children_see_neither_the_key_nor_ctrl_c(decoder, monkeypatch):
    monkeypatch.setenv("EVOLINK_API_KEY", "sk-evo-canary")
    await decoder.decode(image())
    child = decoder._idle[0]._process.pid
    assert b"canary" not in environment(child)
    os.kill(child, signal.SIGINT)
    assert await decoder.decode(image()) is not None
    assert decoder._idle[0]._process.pid == child
    assert os.getsid(child) != os.getsid(0)


async def test_children_are_started_when_needed_and_end_with_the_decoder():
    decoder = PictureDecoder()
    assert decoder._idle == []
    await asyncio.gather(*(decoder.decode(image()) for _ in range(6)))
    children = [child._process.pid for child in decoder._idle]
    assert len(children) == 2
    await decoder.aclose()
    assert not any(map(is_running, children))


async def test_children_end_when_their_parent_is_killed():
    script = (
        "import asyncio, sys\nfrom adloom.edges.pictures import PictureDecoder\n"
        "async def main():\n    decoder = PictureDecoder()\n    await decoder.decode(b'')\n"
        "    print(decoder._idle[0]._process.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220
        child = int(await asyncio.to_thread(parent.stdout.readline))
        assert is_running(child)
        parent.kill()
    for _ in range(100):
        if not is_running(child):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the child outlived its parent")


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("announced", ["600000", "-1", "1e9", '"x"'])
async def test_a_child_that_announces_too_much_is_not_listened_to(monkeypatch, tmp_path, announced):
    liar = tmp_path / "liar.py"
    liar.write_text(
        "import sys\nprint('\"ready\"', flush=True)\nsys.stdin.buffer.read(10)\n"
        f'print(\'["jpeg", 1, 1, [], [], "", {announced}]\', flush=True)\n'
        "while True: sys.stdout.buffer.write(bytes(65536))\n"
    )
    monkeypatch.setattr("adloom.edges.pictures._CHILD", liar)
    async with PictureDecoder(image_s=5) as decoder:
        try:
            assert await decoder.decode(b"x") is None
        except PictureUnjudged:
            return


A_USER = "    os.getuid() or os.setuid(65534)\n"  # a superuser may have as many threads as he likes


LEAVE = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000))"


CAN_LEAVE_THE_NETWORK = subprocess.run([sys.executable, "-c", LEAVE], check=False).returncode == 0


TRIALS = {
    "write": "os.write(os.open({escape!r}, os.O_CREAT | os.O_WRONLY), b'x')",
    "files": "[open('/dev/null') for _ in range(100)]",
    "memory": "bytearray(2 * 1024**3)",
    "thread": "threading.Thread(target=print).start()",
} | ({"connect": "socket.socket().connect(({host!r}, {port}))"} if CAN_LEAVE_THE_NETWORK else {})
"""What a child whose decoder was taken over might try."""


@pytest.mark.parametrize("trial", TRIALS)
async def test_a_child_that_was_taken_over_is_held_in(decoder, monkeypatch, tmp_path, trial):
    taken, escape = tmp_path / "taken.py", tmp_path / "escape"
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        attempt = TRIALS[trial].format(host=host, port=port, escape=str(escape))
        taken.write_text(
            HONEST.replace(
                "def main() -> None:",
                "import os, socket, threading\ndef look(content):\n"
                f"    try:\n        {attempt}\n    except (OSError, MemoryError, RuntimeError) as error:\n"
                "        raise Unjudged('held ' + type(error).__name__)\n    return None\ndef main() -> None:",
            ).replace("    leave_the_network()\n", A_USER + "    leave_the_network()\n", 1)
        )
        monkeypatch.setattr("adloom.edges.pictures._CHILD", taken)
        with pytest.raises(PictureUnjudged, match="held"):
            await decoder.decode(b"x")
    assert not escape.exists() or escape.stat().st_size == 0
