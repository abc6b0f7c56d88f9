"""Calls that went as most do, told from their records without folding them.

Of a campaign that has been bought nearly every call is like this: one attempt, sent once, one task, which showed what
was asked for and charged no more than it had reserved, and every image archived. Nothing can follow from such a call,
so resuming needs little of it: a tenth of the time and a tenth of the memory that all of its facts would take. Whatever
differs in the least is folded: see ``core.facts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from adloom.core.facts import SCHEMA, task_name
from adloom.core.records import Decided, ImageFate, Record

_SINGLE = ("a1-intent", "a1-completed", "a1-settled")
_ACCEPTED = "a1-accepted."
_ARCHIVED = "a1-archived-"
_ODD = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


@dataclass(frozen=True, slots=True)
class Ended:
    """A call whose images are all archived, and that nothing can follow from."""

    call: str
    variants: tuple[str, ...]
    """The keys of its images, all of which are archived."""
    task: str
    credits: Decimal
    """What it was charged."""
    others: frozenset[str]
    """The names of its records, without that of the answer."""

    def has(self, name: str) -> bool:
        """Whether a record of this name is one of those that it was told from."""
        return name in self.others or name == _ACCEPTED + self.task


def ended_of(call: str, records: Mapping[str, Record]) -> Ended | None:
    """A call by its records, by name; None for one that has to be folded."""
    try:
        return _ended(call, records)
    except _ODD:  # folding it says what is wrong
        return None


def _ended(call: str, records: Mapping[str, Record]) -> Ended | None:
    intent, completed, settled = [records[name] for name in _SINGLE]
    task, links = completed["task"], completed["links"]
    accepted = records[_ACCEPTED + task]
    names = frozenset(name for name in records if name != _ACCEPTED + task)
    archived = [records[name] for name in names if name.startswith(_ARCHIVED) and name[len(_ARCHIVED) :].isdigit()]
    images = [image for record in archived for image in record["images"]]
    variants, asked = intent["variants"], len(intent["variants"])
    is_plain = (
        len(records) == len(_SINGLE) + 1 + len(archived)
        and all(record["schema"] == SCHEMA for record in records.values())
        and intent["outcome"] == Decided.BOUGHT
        and not (intent["parent"] or intent["round"] or any(variant.get("change") for variant in variants))
        and accepted["task"] == task == task_name(task)
        and completed.get("final", True)
        and completed["reported"] == len(links) == len(set(links)) == asked > 0
        and completed.get("billed") in (None, asked)
        and settled["outcome"] == Decided.CHARGED
        and sorted(image["index"] for image in images) == list(range(asked))
        and all(image["fate"] == ImageFate.ARCHIVED for image in images)
        and len({image["sha256"] for image in images}) == asked
    )
    credits_ = _decimal(completed["credits"])
    if not is_plain or credits_ > _decimal(accepted["credits"]):
        return None
    return Ended(call, tuple([variant["key"] for variant in variants]), task, credits_, _alike(names))


@lru_cache(maxsize=256)
def _decimal(text: str) -> Decimal:
    return Decimal(text)


@lru_cache(maxsize=256)
def _alike(names: frozenset[str]) -> frozenset[str]:
    """One object for all sets of names that are equal."""
    return names
