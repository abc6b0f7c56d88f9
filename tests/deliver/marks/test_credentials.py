"""C2PA, read by the library's own reader: valid to strangers, trusted with our anchor, invalid after any change."""

import json
from datetime import UTC, datetime
from io import BytesIO

import pytest
from support.masters import picture, saved

from adloom.core.carried import carried
from adloom.core.errors import InputError
from adloom.deliver.encode import MEDIA_TYPES, encode
from adloom.deliver.marks.credentials import Identity, Unsignable, created, parent_of, read, signed
from adloom.deliver.marks.keys import CERTIFICATE, KEY, ROOT, ROOT_KEY, made_keys, write_keys
from adloom.deliver.marks.xmp import Marks, packet

pytest.importorskip("c2pa", reason="needs the extra adloom[c2pa]")

KEYS = made_keys("ACME", datetime.now(UTC))
IDENTITY = Identity(KEYS[CERTIFICATE].decode(), KEYS[KEY].decode())
ANCHOR = KEYS[ROOT].decode()
XMP = packet(Marks(system="doubao-seedream-4.0"))
CHANGES = ("c2pa.cropped", "c2pa.resized")


@pytest.fixture(scope="module")
def master() -> bytes:
    return saved(picture(200, 160))


def _rendition(kind: str, master: bytes) -> bytes:
    parent = parent_of(IDENTITY, master, "image/jpeg", "mug-1.jpg", "doubao-seedream-4.0")
    return signed(IDENTITY, encode(picture(80, 60), kind, 80, XMP), MEDIA_TYPES[kind], "mug.x", parent, CHANGES)


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_a_signed_rendition_is_valid_to_strangers_and_trusted_with_our_anchor(kind, master):
    content = _rendition(kind, master)
    stranger, friend = read(content, MEDIA_TYPES[kind], ""), read(content, MEDIA_TYPES[kind], ANCHOR)
    assert (stranger.state, stranger.problems) == ("Valid", ("signingCredential.untrusted",))
    assert (friend.state, friend.problems) == ("Trusted", ())
    assert friend.actions == ("c2pa.opened", *CHANGES)
    assert friend.parents == ("mug-1.jpg",)
    assert friend.source_types == ("trainedAlgorithmicMedia",)
    assert friend.issuer == "ACME"
    assert carried(content).names == ("c2pa", "xmp")
    assert carried(content).source_type == "trainedAlgorithmicMedia"


def test_a_flipped_byte_is_found(master):
    content = bytearray(_rendition("jpeg", master))
    content[-100] ^= 1
    assert read(bytes(content), "image/jpeg", ANCHOR).state == "Invalid"


def test_a_master_that_is_signed_already_stays_valid_as_the_parent(master):
    import c2pa  # noqa: PLC0415

    other = made_keys("Somebody Else", datetime.now(UTC))
    stranger = Identity(other[CERTIFICATE].decode(), other[KEY].decode())
    theirs = created(stranger, master, "image/jpeg", "their title", "their model")
    assert read(theirs, "image/jpeg", other[ROOT].decode()).state == "Trusted"
    kept = parent_of(IDENTITY, theirs, "image/jpeg", "mug-1.jpg", "ours")
    made = signed(IDENTITY, encode(picture(80, 60), "jpeg", 80, XMP), "image/jpeg", "mug.jpg", kept, CHANGES)
    assert read(made, "image/jpeg", ANCHOR).state == "Trusted"
    assert read(made, "image/jpeg", "").state == "Valid"
    store = json.loads(c2pa.Reader("image/jpeg", BytesIO(made)).json())
    (ingredient,) = store["manifests"][store["active_manifest"]]["ingredients"]
    former = store["manifests"][ingredient["active_manifest"]]
    assert former["signature_info"]["issuer"] == "Somebody Else"
    assert former["title"] == "their title"
    failures = [each["code"] for each in ingredient["validation_results"]["activeManifest"]["failure"]]
    assert failures == ["signingCredential.untrusted"]


def test_a_master_of_a_type_without_manifests_is_no_parent():
    bitmap = saved(picture(20, 20), "BMP")
    assert parent_of(IDENTITY, bitmap, "image/bmp", "a", "b") is None
    made = signed(IDENTITY, encode(picture(80, 60), "jpeg", 80, b""), "image/jpeg", "a", None, ())
    assert read(made, "image/jpeg", ANCHOR).actions == ("c2pa.created",)


def test_a_key_that_is_not_the_certificate_s_cannot_sign(master):
    other = made_keys("Somebody Else", datetime.now(UTC))
    with pytest.raises(Unsignable):
        parent_of(Identity(IDENTITY.certificate, other[KEY].decode()), master, "image/jpeg", "a", "b")
    with pytest.raises(Unsignable):
        parent_of(Identity("no certificate", IDENTITY.key), master, "image/jpeg", "a", "b")


def test_an_unsigned_file_has_no_manifest(master):
    assert read(master, "image/jpeg", "").state == ""
    assert carried(master).names == ()


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_a_label_of_china_s_rules_is_seen_where_it_stands(kind):
    label = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><TC260:AIGC>{&quot;Label&quot;:&quot;1&quot;}</TC260:AIGC></x:xmpmeta>"
    )
    assert carried(encode(picture(80, 60), kind, 80, label)).names == ("xmp", "aigc")
    assert carried(encode(picture(80, 60), kind, 80, b"")).names == ()


def test_new_keys_are_their_owner_s_alone_and_never_overwrite(tmp_path):
    write_keys(tmp_path / "keys", "ACME")
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()}
    assert set(modes) == {CERTIFICATE, KEY, ROOT, ROOT_KEY}
    assert modes[KEY] == modes[ROOT_KEY] == 0
    before = (tmp_path / "keys" / KEY).read_bytes()
    with pytest.raises(InputError, match="holds keys already"):
        write_keys(tmp_path / "keys", "ACME")
    assert (tmp_path / "keys" / KEY).read_bytes() == before
