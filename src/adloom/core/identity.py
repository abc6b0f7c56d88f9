"""Identities: of rows, variants and calls, and the names of files.

An identity hashes what a person means, never how it is sent: the count phrase, the limits profile, the address that a
reference is hosted at and adloom's version do not enter, so changing them buys nothing again.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import orjson

from adloom.core.campaign import Options, Row
from adloom.core.reference import Reference

_CANONICAL = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)  # made once: rows are many
_SLUG_LENGTH = 48
_BLANKS_AT_LINE_END = re.compile(r"[ \t]+(?=\n|$)")


def digest(*parts: object) -> str:
    """SHA-256 over the canonical JSON of the parts, as 64 hex digits."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _digest_of_texts(*parts: object) -> str:
    """``digest`` for parts that are texts, lists or mappings of them, and small whole numbers; a tenth of its time.

    orjson writes the same bytes for them, but other ones for some fractions.
    """
    try:
        written = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # half a character
        return digest(*parts)
    return hashlib.sha256(written).hexdigest()


@lru_cache(maxsize=64)  # a prompt is asked for twice in a row: for its row's identity, and for its variants' keys
def normalised(text: str) -> str:
    """Text normalised for identities.

    NFC, line feeds only, plain spaces, none at the end of a line or around the whole.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).replace("\u00a0", " ")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return (_BLANKS_AT_LINE_END.sub("", text) if "\n" in text else text).strip()


def meaning(  # noqa: PLR0913 - what a purchase means
    *,
    model: str,
    prompt: str,
    size: str,
    quality: str,
    priority: str,
    references: Sequence[Reference],
    options: Options = (),
) -> tuple[object, ...]:
    """What a purchase means, in the one order that every hash of it uses.

    Options enter only where there are any, so that what was bought before there were options stays what it is.
    """
    contents = [reference.content for reference in references]
    further = ([list(option) for option in options],) if options else ()
    return (model, normalised(prompt), size, quality, priority, contents, *further)


def row_meaning(row: Row) -> tuple[object, ...]:
    """The meaning of a row."""
    return meaning(
        model=row.model,
        prompt=row.prompt,
        size=row.size,
        quality=row.quality,
        priority=row.priority,
        references=row.references,
        options=row.options,
    )


def explicit_identity(job: str, row_id: str, crossed: Mapping[str, str] = MappingProxyType({})) -> str:
    """The identity of a row that has an id of its own.

    ``crossed`` are the values of axes that make several rows of the line with this id.
    """
    return _digest_of_texts("id", job, row_id, dict(crossed)) if crossed else _digest_of_texts("id", job, row_id)


def content_identity(job: str, content: tuple[object, ...], occurrence: int) -> str:
    """The identity of a row without an id. ``occurrence`` counts rows of the job with equal content from 1."""
    return _digest_of_texts("content", job, content, occurrence)


def row_digest(row: Row) -> str:
    """Identity and meaning of a row together: what its variants' keys are made from."""
    return _digest_of_texts("row", row.identity, row_meaning(row))


def variant_key(digest_of_row: str, number: int, take: int = 1) -> str:
    """The key of one wanted image: 64 hex digits. ``number`` and ``take`` count from 1."""
    return hashlib.sha256(f"{digest_of_row}/{number}/{take}".encode()).hexdigest()


def call_id(variant_keys: Iterable[str]) -> str:
    """The id of a call for these variants: ``c-`` and 32 hex digits."""
    return "c-" + _digest_of_texts("call", sorted(variant_keys))[:32]


def top_up_id(parent: str, round_number: int) -> str:
    """The id of the call that asks again for what ``parent`` did not bring."""
    return "c-" + digest("top-up", parent, round_number)[:32]


@lru_cache(maxsize=1024)  # a value of an axis occurs in the names of many rows
def slug(text: str, length: int = _SLUG_LENGTH) -> str:
    """Text as part of a file name: lower case ASCII letters, digits and single dashes; empty if nothing remains."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:length].strip("-")


def asset_stems(job: str, label: str, number: int, key: str) -> tuple[str, ...]:
    """The name of an asset without its ending: ``assets/<job>/<label>-<number>-<6 hex digits of the variant key>``.

    The names after the first have more digits, for the case that the one before is another variant's: 10,000 rows with
    labels alike, as prompts in Chinese have, make that likely.
    """
    return tuple(f"assets/{job}/{label}-{number}-{key[:digits]}" for digits in (6, 12, 64))


def thumb_key(asset_key: str) -> str:
    """The thumbnail of an asset: ``assets/<job>/<stem>.<ext>`` has ``thumbs/<job>/<stem>.jpg``."""
    return "thumbs/" + asset_key.removeprefix("assets/").rpartition(".")[0] + ".jpg"
