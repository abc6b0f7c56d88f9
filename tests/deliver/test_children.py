"""The processes that touch images: they cut and sign, know no key but their own, and die alone."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from support.masters import opened, picture, saved

from adloom.core.errors import DecoderBroken
from adloom.deliver import children
from adloom.deliver.children import CannotBeDone, Child, ChildDied
from adloom.deliver.marks.credentials import Identity, read
from adloom.deliver.marks.keys import CERTIFICATE, KEY, ROOT, made_keys

MAKE = {"width_px": 108, "height_px": 192, "kind": "jpeg", "focus": [0.5, 0.4], "xmp": ""}
MAKE |= {"most_bytes": None, "signature_bytes": 0}


async def test_a_master_is_decoded_once_for_all_its_channels():
    async with Child() as child:
        about, _ = await child.ask("open", saved(picture(400, 300)), focus=[0.5, 0.4])
        assert (about["width_px"], about["height_px"], about["focus"]) == (400, 300, [0.5, 0.4])
        for width, height in ((108, 192), (120, 60)):
            told, made = await child.ask("make", **MAKE | {"width_px": width, "height_px": height}, gate="hard")
            assert opened(made).size == (width, height)
            assert told["quality"] == 90
        assert told["crop"] == [0, 20, 400, 200]


async def test_what_cannot_be_done_is_said_and_the_process_goes_on():
    async with Child() as child:
        with pytest.raises(CannotBeDone, match="no master is open"):
            await child.ask("make", **MAKE, gate="hard")
        with pytest.raises(CannotBeDone, match="does not decode"):
            await child.ask("open", b"\xff\xd8\xffnonsense", focus="auto")
        await child.ask("open", saved(picture(100, 100)), focus="auto")
        with pytest.raises(CannotBeDone, match="100x100 pixels: 108x192 cannot be cut from it without enlarging"):
            await child.ask("make", **MAKE, gate="hard")
        with pytest.raises(CannotBeDone, match="at most 300 are allowed"):
            await child.ask("make", **MAKE | {"width_px": 90, "height_px": 90, "most_bytes": 300}, gate="hard")


async def test_a_process_that_dies_is_noticed(monkeypatch, tmp_path: Path):
    script = tmp_path / "child.py"
    script.write_text('print(\'{"ready": true, "size": 0}\', flush=True); input()')
    monkeypatch.setattr(children, "_CHILD", script)
    async with Child() as child:
        with pytest.raises(ChildDied):
            await child.ask("open", b"", focus="auto")
    script.write_text("raise SystemExit(1)")
    with pytest.raises(DecoderBroken):
        await Child().__aenter__()


async def test_a_process_sees_no_key_of_its_parent(monkeypatch, tmp_path: Path):
    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys\n"
        "answer = json.dumps(dict(os.environ)).encode()\n"
        'for line in (b\'{"ready": true, "size": 0}\\n\', b\'{"size": %d}\\n\' % len(answer) + answer):\n'
        "    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()\n"
        "input()\ninput()\n"
    )
    monkeypatch.setattr(children, "_CHILD", script)
    monkeypatch.setenv("EVOLINK_API_KEY", "sk-canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-too")
    async with Child() as child:
        _, environment = await child.ask("open", b"")
        assert b"canary" not in environment
        assert b"PYTHONPATH" in environment


@pytest.mark.parametrize("by_command", [False, True])
async def test_a_second_process_signs_with_its_key_or_by_asking_its_parent(by_command):
    pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")
    keys = made_keys("ACME", datetime.now(UTC))
    asked: list[bytes] = []

    async def sign(content: bytes) -> bytes:
        asked.append(content)
        return _es256(keys[KEY], content)

    identity = Identity(keys[CERTIFICATE].decode(), "" if by_command else keys[KEY].decode())
    master = saved(picture(200, 200))
    async with Child(sign) as child:
        await child.ask("identity", certificate=identity.certificate, key=identity.key)
        await child.ask("parent", master, media_type="image/jpeg", title="m.jpg", system="model")
        _, made = await child.ask(
            "sign", saved(picture(50, 50)), media_type="image/jpeg", title="r.jpg", with_parent=True, changes=[]
        )
    assert read(made, "image/jpeg", keys[ROOT].decode()).state == "Trusted"
    assert len(asked) == (3 if by_command else 0)  # the proof, the master, the rendition


def _es256(key: bytes, content: bytes) -> bytes:
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(content, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_the_process_ends_with_its_input():
    done = subprocess.run(
        [sys.executable, "-P", str(children._CHILD)], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stdout == b'{"ready": true, "size": 0}\n'
