"""Signed deliveries as a person makes and reads them: keys new, deliver, inspect; and what cannot be signed with."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.desk import CliRig, open_desk
from support.masters import exiftool, needs_exiftool, picture, saved

from adloom.deliver.encode import encode
from adloom.deliver.marks.xmp import Marks, packet

pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")

CAMPAIGN = """
campaign: test
budget: {usd: 5}
channels: {banner: {pixels: 320x50, max_bytes: 20000}}
jobs: [{id: hero, prompt: mug, size: "1:1", quality: 1K, deliver: [banner, linkedin-portrait, original]}]
"""


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bought")
    with open_desk(folder) as desk:
        assert desk.run("run", desk.write(CAMPAIGN)).returncode == 0
        assert desk.run("keys", "new", "keys", "--organisation", "ACME").returncode == 0
    return folder


@pytest.fixture
def desk(bought: Path, tmp_path: Path) -> Iterator[CliRig]:
    shutil.copytree(bought, tmp_path, dirs_exist_ok=True)
    desk = CliRig(tmp_path, "http://127.0.0.1:9")
    desk.environment["ADLOOM_C2PA_CERTIFICATE"] = str(tmp_path / "keys" / "certificate.pem")
    desk.environment["ADLOOM_C2PA_KEY"] = str(tmp_path / "keys" / "key.pem")
    yield desk
    desk.client.close()


def _files(desk: CliRig) -> dict[str, dict[str, object]]:
    lines = (desk.edition / "delivery" / "delivery.jsonl").read_text().splitlines()
    return {line["channel"]: line for line in map(json.loads, lines)}


def test_a_signed_delivery_is_valid_to_all_and_trusted_with_the_root(desk: CliRig):
    done = desk.run("deliver", "campaign.yaml")
    assert (done.returncode, "3 files made" in done.stdout) == (0, True), done.stderr
    files = _files(desk)
    assert {name: line["marks"] for name, line in files.items()} == {
        "banner": {"xmp": True, "c2pa": "signed"},
        "linkedin-portrait": {"xmp": True, "c2pa": "signed"},
        "original": {"xmp": False, "c2pa": "none"},
    }
    banner = files["banner"]
    assert banner["sha256"] != banner["unsigned_sha256"]
    assert banner["size_bytes"] <= 20_000
    path = str(desk.edition / "delivery" / str(banner["key"]))
    told = desk.run("inspect", path).stdout
    assert "made by   trainedAlgorithmicMedia" in told
    assert "c2pa      signed by ACME: c2pa.opened, c2pa.cropped, c2pa.resized" in told
    assert "valid     yes" in told
    assert "trusted   no: no anchor was given" in told
    assert "trusted   yes" in desk.run("inspect", path, "--anchor", "keys/root.pem").stdout
    assert "0 files made, 3 already there" in desk.run("deliver", "campaign.yaml").stdout


def test_a_changed_file_is_said_to_be_invalid(desk: CliRig):
    desk.run("deliver", "campaign.yaml")
    path = desk.edition / "delivery" / str(_files(desk)["banner"]["key"])
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)
    done = desk.run("inspect", str(path), "--anchor", "keys/root.pem", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["valid"], told["trusted"]) == (3, False, False)
    assert "valid     NO: the file is not what was signed" in done.stderr


def test_verify_takes_a_signed_delivery_for_right_and_finds_a_lost_signature(desk: CliRig):
    desk.run("deliver", "campaign.yaml")
    folder = desk.edition / "delivery"
    assert desk.run("verify", "campaign.yaml").returncode == 0
    del desk.environment["ADLOOM_C2PA_CERTIFICATE"], desk.environment["ADLOOM_C2PA_KEY"]
    desk.run("deliver", "campaign.yaml", "--to", "unsigned")
    lines = [json.loads(line) for line in (folder / "delivery.jsonl").read_text().splitlines()]
    key = lines[0]["key"]
    bare = (desk.folder / "unsigned" / key).read_bytes()
    assert hashlib.sha256(bare).hexdigest() == lines[0]["unsigned_sha256"]
    (folder / key).write_bytes(bare)
    lines[0]["sha256"] = lines[0]["unsigned_sha256"]
    (folder / "delivery.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = desk.run("verify", "campaign.yaml")
    assert (done.returncode, f"delivery/{key}: changed (its signature is gone" in done.stdout) == (3, True)


@needs_exiftool
def test_the_signature_leaves_the_marks_readable(desk: CliRig):
    desk.run("deliver", "campaign.yaml")
    content = (desk.edition / "delivery" / str(_files(desk)["banner"]["key"])).read_bytes()
    found = exiftool(content, desk.folder, "read.jpg")
    assert str(found["XMP-iptcExt:DigitalSourceType"]).endswith("trainedAlgorithmicMedia")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ADLOOM_C2PA_KEY": None}, "goes with exactly one of ADLOOM_C2PA_KEY and ADLOOM_C2PA_SIGNER"),
        ({"ADLOOM_C2PA_KEY": "keys/nothing.pem"}, "ADLOOM_C2PA_KEY: keys/nothing.pem cannot be read"),
        ({"ADLOOM_C2PA_KEY": "keys/certificate.pem"}, "keys/certificate.pem holds no private key"),
        ({"ADLOOM_C2PA_KEY": "keys/root-key.pem"}, "ADLOOM_C2PA_CERTIFICATE: it cannot be signed with"),
        ({"ADLOOM_C2PA_CERTIFICATE": "keys/key.pem"}, "keys/key.pem holds no certificate"),
        ({"ADLOOM_C2PA_KEY": None, "ADLOOM_C2PA_SIGNER": "false"}, "ADLOOM_C2PA_SIGNER ended with exit code 1"),
        ({"ADLOOM_C2PA_KEY": None, "ADLOOM_C2PA_SIGNER": "echo no"}, "wrote 3 bytes, no ES256 signature"),
    ],
)
def test_what_cannot_sign_is_bad_input_before_anything_is_written(
    desk: CliRig, changes: dict[str, str | None], said: str
):
    for name, value in changes.items():
        desk.environment.pop(name) if value is None else desk.environment.update({name: value})
    done = desk.run("deliver", "campaign.yaml")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (desk.edition / "delivery").exists()


def test_a_command_signs_where_the_key_stays_elsewhere(desk: CliRig):
    desk.environment["ADLOOM_C2PA_SIGNER"] = f"openssl dgst -sha256 -sign {desk.environment.pop('ADLOOM_C2PA_KEY')}"
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    assert desk.run("deliver", "campaign.yaml", "--channel", "linkedin-portrait").returncode == 0
    path = desk.edition / "delivery" / str(_files(desk)["linkedin-portrait"]["key"])
    assert "trusted   yes" in desk.run("inspect", str(path), "--anchor", "keys/root.pem").stdout


def test_a_file_without_marks_says_nothing(desk: CliRig):
    (desk.folder / "plain.jpg").write_bytes(saved(picture(60, 40)))
    done = desk.run("inspect", "plain.jpg")
    assert done.stdout.splitlines()[1:] == ["made by   it does not say", "xmp       none", "c2pa      none"]
    assert desk.run("inspect", "nothing.jpg").returncode == 2


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_damaged_file_that_was_never_signed_is_not_said_to_be_changed_since(desk: CliRig, kind: str):
    content = encode(picture(320, 200, grain=4), kind, 80, packet(Marks()))
    (desk.folder / "part").write_bytes(content[: len(content) * 6 // 10])
    done = desk.run("inspect", "part", "--json")
    assert (done.returncode, json.loads(done.stdout)["valid"]) == (0, None)
    assert "c2pa      none; the file is damaged (" in done.stderr
    assert "signed" not in done.stderr


def test_a_missing_anchor_is_asked_for_as_a_certificate(desk: CliRig):
    (desk.folder / "plain.jpg").write_bytes(saved(picture(60, 40)))
    done = desk.run("inspect", "plain.jpg", "--anchor", "nothing.pem")
    assert done.returncode == 2
    assert "there is no file nothing.pem" in done.stderr
    assert "Name a PEM file" in done.stderr
