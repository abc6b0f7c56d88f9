"""Which links of a later reading lead to the same images as those of an earlier one.

A task that is read again may show its results in another order, under fresh signatures, or not all of them. So an image
is known by the path of its link, never by its place. Where two links of one reading share a path, the query without
what only signs it counts too. Links that are still alike can only be distinguished by their bytes; and bytes that come
twice tell that a link was taken for another image's, see ``archive.fetch.Siblings``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from functools import lru_cache
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from adloom.core.identity import digest

_SIGNS = re.compile(
    r"(?:x-(?:amz|goog|tos|oss|cos|obs|bce)-|q-(?:sign|ak|key|header|url)).*"
    r"|sig|sign|signature|signed|token|access_?token|auth|auth_key|hmac|policy|key-pair-id|security-?token"
    r"|expires?|expiry|exp|ttl|ts|timestamp|(?:oss|aws)?accesskeyid|googleaccessid"
    r"|s[tepvrk]|sk[teosv]|skoid|sktid",
    re.IGNORECASE,
)
"""Names of query parameters that sign a link or say how long it lives: those of S3, GCS, TOS, OSS, COS, OBS, BOS and
Azure, and the plain words. A name that is missing here makes a fresh link look like another image's, one too many
leaves the decision to the bytes: neither loses a picture."""

_Identity = tuple[str, tuple[tuple[str, str], ...]]


def renewals(asked: str, known: Collection[str], shown: Collection[str]) -> tuple[str, ...]:
    """The links of a reading that may lead to the image of ``asked``, in its order; of several the bytes decide.

    ``known`` are all links of the call, ``asked`` among them; ``shown`` are those of the reading.
    """
    identity = _identities(known, shown)
    return tuple(link for link in dict.fromkeys(shown) if identity(link) == identity(asked))


def are_alike(asked: str, known: Collection[str]) -> bool:
    """Whether a call has another link that differs from ``asked`` in nothing but what signs it."""
    return any(link != asked and _whole(link) == _whole(asked) for link in known)


def others(known: Collection[str], shown: Collection[str]) -> tuple[str, ...]:
    """The links of a reading that lead to images for which ``known`` has no link yet, in the reading's order."""
    identity = _identities(known, shown)
    distinct = dict.fromkeys(shown)
    renewed = Counter(identity(link) for link in dict.fromkeys(known) if link not in distinct)
    found = []
    for link in distinct:
        if link in known:
            continue
        if renewed[identity(link)]:
            renewed[identity(link)] -= 1
        else:
            found.append(link)
    return tuple(found)


def joined(*readings: Collection[str]) -> tuple[str, ...]:
    """One link for each image that some readings of one task show, in the order of first sight."""
    known = tuple(dict.fromkeys(readings[0])) if readings else ()
    for reading in readings[1:]:
        known += others(known, reading)
    return known


def show_the_same(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two readings of a task show the same images."""
    return not others(one, other) and not others(other, one)


def unsigned(link: str) -> str:
    """A link without its signature and expiry parameters: it distinguishes images but gives access to none."""
    base, _, query = link.partition("#")[0].partition("?")
    kept = [each for each in query.split("&") if each and not _SIGNS.fullmatch(unquote_plus(each.partition("=")[0]))]
    return "?".join([base, "&".join(kept)] if kept else [base])


def mark(link: str) -> str:
    """12 hex digits that stay the same while only the host or the signature of a link changes."""
    path, query = _whole(link)
    return digest(path, *(f"{name}={value}" for name, value in query))[:12]


def _identities(*readings: Collection[str]) -> Callable[[str], _Identity]:
    """What distinguishes images in these readings: the path, and the query as well where a path is shared."""
    shared: set[str] = set()
    for reading in readings:
        paths = Counter(_path(link) for link in dict.fromkeys(reading))
        shared.update(path for path, count in paths.items() if count > 1)
    return lambda link: _whole(link) if _path(link) in shared else (_path(link), ())


def _path(link: str) -> str:
    return _whole(link)[0]


@lru_cache(maxsize=1024)
def _whole(link: str) -> _Identity:
    """Path and query of a link, without what signs it. Each reading of a task asks for the same ones again."""
    try:
        parts = urlsplit(link)
    except ValueError:  # no address that could be followed, so nothing but itself
        return link, ()
    query = parse_qsl(parts.query, keep_blank_values=True)
    return parts.path, tuple(sorted(pair for pair in query if not _SIGNS.fullmatch(pair[0])))
