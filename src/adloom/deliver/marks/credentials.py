"""C2PA manifests: what is signed into a rendition, and what is read from any file. Needs the extra ``adloom[c2pa]``.

A rendition's manifest says that it was opened from its master, cropped and resized. Its parent ingredient is the
master: with the manifest that it came with, else with one made here that says that it was generated. The settings allow
no network, and no thumbnail, which would cost ten times the time and forty times the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from adloom import __version__
from adloom.core.carried import carried
from adloom.deliver.marks.xmp import GENERATED

ALGORITHM = "es256"
EXTRA = "adloom[c2pa]"
PARENT_ID = "xmp:iid:master"
MANIFESTS = "--manifests"
"""Starts a child process that signs or reads manifests: loading the library takes as long as cutting ten renditions."""

SIGNABLE = ("image/jpeg", "image/png", "image/webp", "image/avif")

_SETTINGS: dict[str, Any] = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False},
}
_GENERATOR = [{"name": "adloom", "version": __version__}]


class Unsignable(Exception):
    """Certificate and key do not make a signature that a reader finds valid; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: a chain of certificates as PEM, the leaf first, and its key, or something that signs in its place."""

    certificate: str
    key: str = ""
    sign: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """A master that carries a manifest, as an ingredient of others: hashed and checked once for all its renditions."""

    archive: bytes


def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("c2pa") is not None


def parent_of(identity: Identity, content: bytes, media_type: str, title: str, system: str) -> Parent | None:
    """A master as parent ingredient; None for a type that cannot carry a manifest. Raises Unsignable."""
    if media_type not in SIGNABLE:
        return None
    if not read(content, media_type, "").state:
        content = created(identity, content, media_type, title, system)
    return Parent(_ingredient(content, media_type, title))


def created(identity: Identity, content: bytes, media_type: str, title: str, system: str) -> bytes:
    """A copy of a master with a manifest that says what generated it. Raises Unsignable."""
    agent = {"name": system} if system else {"name": "unknown"}
    action = {"action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": agent}
    return _signed(identity, content, media_type, title, [action], None)


def signed(
    identity: Identity,
    content: bytes,
    media_type: str,
    title: str,
    parent: Parent | None,
    changes: tuple[str, ...],
) -> bytes:
    """A rendition with its manifest; ``changes`` are C2PA's actions after the opening. Raises Unsignable."""
    opened: dict[str, Any] = {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT_ID]}}
    generated = {"action": "c2pa.created", "digitalSourceType": GENERATED}
    actions = [opened if parent else generated, *({"action": change} for change in changes)]
    return _signed(identity, content, media_type, title, actions, parent)


def prove(identity: Identity, jpeg: bytes) -> None:
    """Sign and read back. Raises Unsignable where a reader finds that invalid, as for a certificate that has ended."""
    reading = read(signed(identity, jpeg, "image/jpeg", "proof", None, ()), "image/jpeg", "")
    if reading.state not in ("Valid", "Trusted"):
        raise Unsignable(", ".join(reading.problems) or "the signature is invalid")


def _signed(
    identity: Identity,
    content: bytes,
    media_type: str,
    title: str,
    actions: list[dict[str, Any]],
    parent: Parent | None,
) -> bytes:
    import c2pa  # noqa: PLC0415 - an extra, and 0.2 s

    claim = {
        "claim_generator_info": _GENERATOR,
        "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }
    made = BytesIO()
    try:
        with c2pa.Context(c2pa.Settings.from_dict(_SETTINGS)) as context, _signer(identity) as signer:
            builder = c2pa.Builder(claim, context=context)
            if parent is not None:
                builder.add_ingredient_from_archive(BytesIO(parent.archive))
            builder.sign(signer, media_type, BytesIO(content), made)
    except c2pa.C2paError as error:
        raise Unsignable(str(error)[:300]) from error
    return made.getvalue()


def _ingredient(content: bytes, media_type: str, title: str) -> bytes:
    """A signed master as an archive of one ingredient. Raises Unsignable."""
    import c2pa  # noqa: PLC0415

    about = {"title": title, "relationship": "parentOf", "instance_id": PARENT_ID}
    archive = BytesIO()
    try:
        with c2pa.Context(c2pa.Settings.from_dict(_SETTINGS)) as context:
            builder = c2pa.Builder({"claim_generator_info": _GENERATOR}, context=context)
            builder.add_ingredient(about, media_type, BytesIO(content))
            builder.write_ingredient_archive(PARENT_ID, archive)
    except c2pa.C2paError as error:
        raise Unsignable(str(error)[:300]) from error
    return archive.getvalue()


def _signer(identity: Identity) -> Any:  # noqa: ANN401 - of a library without types
    import c2pa  # noqa: PLC0415

    if identity.sign is not None:
        return c2pa.Signer.from_callback(identity.sign, c2pa.C2paSigningAlg.ES256, identity.certificate)
    info = c2pa.C2paSignerInfo(ALGORITHM.encode(), identity.certificate.encode(), identity.key.encode(), None)
    return c2pa.Signer.from_info(info)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file's manifest says. ``state`` is empty without one, else ``Valid``, ``Trusted`` or ``Invalid``.

    ``problems`` without a state are those of a damaged file.
    """

    state: str = ""
    title: str = ""
    issuer: str = ""
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The reading as JSON takes it."""
        return {name: getattr(self, name) for name in self.__slots__}


def read(content: bytes, media_type: str, anchors: str) -> Reading:
    """Read and check a file's manifest; ``anchors`` are the root certificates that are trusted, as PEM."""
    import c2pa  # noqa: PLC0415

    settings = {**_SETTINGS, **({"trust": {"user_anchors": anchors}} if anchors else {})}
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(settings)) as context,
            c2pa.Reader(media_type, BytesIO(content), context=context) as reader,
        ):
            return _reading(json.loads(reader.json()), reader.get_validation_state() or "Invalid")
    except c2pa.C2paError.ManifestNotFound:
        return Reading()
    except c2pa.C2paError as error:
        return Reading("Invalid" if carried(content).c2pa else "", problems=(str(error)[:300],))


def _reading(store: Mapping[str, Any], state: str) -> Reading:
    manifests = store.get("manifests", {})
    manifest = manifests.get(store.get("active_manifest", ""), {})
    actions = list(_actions(manifest))
    results = store.get("validation_results", {}).get("activeManifest", {})
    everywhere = [action for each in manifests.values() for action in _actions(each)]
    source_types = dict.fromkeys(str(action.get("digitalSourceType", "")) for action in everywhere)
    return Reading(
        state=state,
        title=str(manifest.get("title", "")),
        issuer=str(manifest.get("signature_info", {}).get("issuer", "")),
        actions=tuple(str(action.get("action", "")) for action in actions),
        source_types=tuple(each.rpartition("/")[2] for each in source_types if each),
        parents=tuple(
            str(each.get("title", ""))
            for each in manifest.get("ingredients", ())
            if each.get("relationship") == "parentOf"
        ),
        problems=tuple(str(failure.get("code", "")) for failure in results.get("failure", ())),
    )


def _actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        action
        for assertion in manifest.get("assertions", ())
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", ())
    ]
