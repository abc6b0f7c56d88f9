"""The XMP packet of a rendition: that it was generated, with what, for whom, and what it shows.

The property that readers look for is IPTC's ``DigitalSourceType``; the names that begin with ``AI`` are of IPTC 2025.1.
A packet holds no time, so equal marks are equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's code for media that were made by a trained model from a prompt."""

LONGEST_TEXT_BYTES = 5300
"""One property of eleven, as it is written: a JPEG's whole packet has to fit into one segment of 65,533 bytes."""

_SPACES = (
    ("dc", "http://purl.org/dc/elements/1.1/"),
    ("xmp", "http://ns.adobe.com/xap/1.0/"),
    ("xmpRights", "http://ns.adobe.com/xap/1.0/rights/"),
    ("photoshop", "http://ns.adobe.com/photoshop/1.0/"),
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"),
    ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"),
)
_VERSION = re.compile(r"-v?(\d+(?:\.\d+)*)(?:-[a-z]+)?$")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Marks:
    """What is written into a rendition; an empty text is left out. ``prompt`` is a trade secret unless asked for."""

    system: str = ""
    version: str = ""
    """Of the system."""
    creator: str = ""
    credit: str = ""
    prompt: str = ""
    alt: str = ""
    creative: str = ""
    owner: str = ""
    licence: str = ""
    master: str = ""
    """The SHA-256 of the image that this one was cut from."""


def version_of(model: str) -> str:
    """The version that a model's name ends with, such as 4.0 of doubao-seedream-4.0; empty where it has none."""
    found = _VERSION.search(model)
    return found[1] if found else ""


def packet(marks: Marks) -> bytes:
    """The XMP packet as UTF-8."""
    spaces = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in _SPACES)
    body = "".join(f"   {line}\n" for line in _properties(marks))
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f'  <rdf:Description rdf:about=""{spaces}>\n{body}  </rdf:Description>\n'
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    ).encode()


def _properties(marks: Marks) -> Iterator[str]:
    yield _plain("Iptc4xmpExt:DigitalSourceType", GENERATED)
    yield _plain("xmp:CreatorTool", "adloom")
    texts = {
        "Iptc4xmpExt:AISystemUsed": marks.system,
        "Iptc4xmpExt:AISystemVersionUsed": marks.version,
        "Iptc4xmpExt:AIPromptInformation": marks.prompt,
        "Iptc4xmpExt:AIPromptWriterName": marks.creator if marks.prompt else "",
        "photoshop:Credit": marks.credit,
        "dc:identifier": marks.creative,
        "dc:source": f"sha256:{marks.master}" if marks.master else "",
    }
    for name, text in texts.items():
        if text:
            yield _plain(name, text)
    if marks.creator:
        yield f"<dc:creator><rdf:Seq><rdf:li>{_clean(marks.creator)}</rdf:li></rdf:Seq></dc:creator>"
    alternatives = {
        "Iptc4xmpCore:AltTextAccessibility": marks.alt,
        "dc:description": marks.alt,
        "dc:rights": marks.owner,
        "xmpRights:UsageTerms": marks.licence,
    }
    for name, text in alternatives.items():
        if text:
            yield f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{_clean(text)}</rdf:li></rdf:Alt></{name}>'


def _plain(name: str, text: str) -> str:
    return f"<{name}>{_clean(text)}</{name}>"


def _clean(text: str) -> str:
    text = _NOT_XML.sub("", text)
    while (size := len(escape(text, quote=False).encode())) > LONGEST_TEXT_BYTES:
        text = text[: len(text) * LONGEST_TEXT_BYTES // size]
    return escape(text, quote=False)
