"""What an edition holds and what is missing: the projection of plan and ledger that people and tools read.

``assets.jsonl`` has one line per wanted variant in plan order, with ``flags`` where its image has any. Where a later
take was asked for, the images of the earlier ones have a line each before it. An image that somebody decided on has
``decision``, ``stars`` and ``decided_by``; one that replaces another has ``replaces`` and ``change``. ``assets.csv`` is
the same for a spreadsheet, without the flags and with what a spreadsheet would run as a formula made harmless by a
quote before it. ``manifest.json`` carries totals and the hashes of both. Nothing in them depends on when or how often
a run wrote them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from adloom.core.campaign import Row
from adloom.core.chain import awaited
from adloom.core.decision import NOTHING_DECIDED, Decision, Verdict
from adloom.core.ended import Ended
from adloom.core.exits import Stop
from adloom.core.facts import CallFacts, Money, Stage, money_of
from adloom.core.identity import row_digest, variant_key
from adloom.core.likeness import near_duplicates
from adloom.core.outcomes import Outcome, Status
from adloom.core.planned import PlannedRow, Variant
from adloom.core.pricing import usd
from adloom.core.prompt import changed_prompt
from adloom.core.records import RefusalKind

SCHEMA = "adloom.manifest/1"
COLUMNS = (
    "job", "row", "variant", "take", "status", "key", "sha256", "size_bytes", "media_type", "width_px", "height_px",
    "prompt", "vars", "model", "size", "quality", "references", "call", "attempt", "task", "result_index", "credits",
    "reason",
)  # fmt: skip
CHOICE_COLUMNS = ("decision", "stars", "decided_by", "replaces", "change")
"""What is there only once somebody has decided, or a later take was bought."""
_SIGNS = r"=+\-@＝＋－＠"
_UNSEEN = r"\s\0\u200b-\u200f\u2060\ufeff"
_CONTROLS = ("\t", "\r", "\n", "\0")
_FORMULA = re.compile(rf'(^|[;\t\r\n])(?=[{_UNSEEN}"]*[{_SIGNS}])')
"""Where a formula begins: OWASP's list, and the full-width signs that spreadsheets in Chinese and Japanese take too.

Also behind a semicolon, a tab or a line's end within a text: a spreadsheet that separates cells by those, as in most of
Europe, takes no notice of the quotes around the whole.
"""
_FORMULA_IN_JSON = re.compile(rf"(;[{_UNSEEN}]*)([{_SIGNS}])")


def _reason(row: Row, outcome: Outcome | None, *, shared: bool) -> str | None:
    if outcome is None:
        return awaited(row.waits_for) if row.waits_for else "not bought yet"
    if outcome.image is not None and outcome.model not in ("", row.model):
        return outcome.reason or f"{row.model} was unavailable"
    return outcome.reason or (_SHARED if shared else None)


_SHARED = "the image of an earlier row with the same request"


def asset_lines(planned: PlannedRow, known: Mapping[str, Outcome]) -> Iterator[dict[str, Any]]:
    """The lines of one row's variants, of each the latest take."""
    wanted = {variant.key for variant in planned.variants}
    return (line for variant, line in lines_of_takes(planned, known) if variant.key in wanted)


def lines_of_takes(
    planned: PlannedRow, known: Mapping[str, Outcome], decisions: Mapping[str, Decision] = NOTHING_DECIDED
) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """The lines of one row: of each variant the earlier takes that have an image, then the latest."""
    takes = [take for variant in planned.variants for take in takes_of(planned, variant, known)]
    alike = near_duplicates(_likenesses(takes, known)) if len(takes) > 1 else ()
    images: dict[int, dict[str, Any]] = {}
    for variant in takes:
        line = _line(planned, variant, known.get(variant.key))
        if variant.key in alike:
            line["flags"] = [*line.get("flags", ()), "near_duplicate"]
        decision = decisions.get(variant.key)
        if decision is not None and (decision.verdict is not Verdict.CLEARED or decision.stars):
            verdict = None if decision.verdict is Verdict.CLEARED else decision.verdict.value
            line |= {"decision": verdict, "stars": decision.stars, "decided_by": decision.by}
        if (former := images.get(variant.number)) is not None:
            line |= {"replaces": {"key": former["key"], "sha256": former["sha256"]}, "change": _change(variant, known)}
        if line["key"]:
            images[variant.number] = line
        yield variant, line


def takes_of(planned: PlannedRow, latest: Variant, known: Mapping[str, Outcome]) -> Iterator[Variant]:
    """The takes of a variant: the earlier ones that have an image, then the latest."""
    row_key = row_digest(planned.row) if latest.take > 1 else ""
    for take in range(1, latest.take):
        key = variant_key(row_key, latest.number, take)
        if key in known and known[key].status is Status.ARCHIVED:
            yield Variant(key, latest.number, take)
    yield latest


def _change(variant: Variant, known: Mapping[str, Outcome]) -> str:
    """What a reviewer wished for in this take: as it was bought, else as it is planned."""
    return known[variant.key].change if variant.key in known else variant.change


def _likenesses(takes: Iterable[Variant], known: Mapping[str, Outcome]) -> Iterator[tuple[str, str]]:
    """The likenesses of a row's archived images; a blank image counts as like every other."""
    for variant in takes:
        outcome = known.get(variant.key)
        if outcome and outcome.image and outcome.status is Status.ARCHIVED and "blank" not in outcome.image.flags:
            yield variant.key, outcome.image.likeness


def _line(planned: PlannedRow, variant: Variant, outcome: Outcome | None) -> dict[str, Any]:
    row = planned.row
    image = outcome.image if outcome else None
    archived = image is not None and outcome is not None and outcome.status is Status.ARCHIVED
    shared = variant.number <= row.shared
    return {
        "job": row.job,
        "row": row.name,
        "variant": variant.number,
        "take": variant.take,
        "status": outcome.status if outcome else Status.OPEN,
        "key": image.key if image and archived else None,
        "sha256": image.sha256 if image and archived else None,
        "size_bytes": image.size_bytes if image and archived else None,
        "media_type": image.media_type if image and archived else None,
        "width_px": image.width_px if image and archived else None,
        "height_px": image.height_px if image and archived else None,
        "prompt": changed_prompt(row.prompt, outcome.change if outcome else variant.change),
        "vars": row.variables,
        "model": (outcome.model if outcome and image else "") or row.model,
        "size": row.size,
        "quality": row.quality or None,
        "references": [reference.shown for reference in row.references],
        "call": outcome.call if outcome else None,
        "attempt": outcome.attempt if outcome else None,
        "task": (outcome.task or None) if outcome else None,
        "result_index": image.index if image else None,
        "credits": number(outcome.credits) if outcome and not shared else 0,
        "reason": _reason(row, outcome, shared=shared),
        **({"flags": list(image.flags)} if image and archived and image.flags else {}),
        **({"provenance": list(image.provenance)} if image and archived and image.provenance else {}),
    }


def asset_jsonl(line: Mapping[str, Any]) -> bytes:
    """One line of ``assets.jsonl``: ``jsonl_line`` in a tenth of its time, where that can be.

    A campaign's variables are texts, so that the credits are the one fraction; orjson writes small ones in other words.
    """
    credits_ = line["credits"]
    if isinstance(credits_, int) or credits_ is None or credits_ >= _SHORTEST_WITHOUT_EXPONENT:
        try:
            return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # what orjson cannot write
            pass
    return jsonl_line(line).encode()


_SHORTEST_WITHOUT_EXPONENT = 0.001


def jsonl_line(line: Mapping[str, Any]) -> str:
    """A line of JSON."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def csv_lines(lines: Iterable[Mapping[str, Any]], *, header: bool, columns: Sequence[str] = COLUMNS) -> str:
    """The same lines for a spreadsheet. What a line does not have is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if header:
        writer.writerow(columns)
    for line in lines:
        writer.writerow([_cell(line.get(column)) for column in columns])
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return _harmless(value) if len(value) <= _SHORT else _without_formulas(value)
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False) if value else ""
        return _FORMULA_IN_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text)
    return value


def _without_formulas(value: str) -> str:
    text = _FORMULA.sub(r"\1'", value)
    return f"'{text}" if text.startswith(_CONTROLS) else text


_harmless = lru_cache(maxsize=1024)(_without_formulas)
_SHORT = 32
"""Short texts come again and again: jobs, models, sizes."""


def number(credits_: Decimal) -> float | int:
    """A sum as a JSON number: the shortest decimal text that says it."""
    return int(credits_) if credits_ == credits_.to_integral_value() else float(credits_)


LOSABLE = ("calls", "posts", "images_billed", "credits_charged")
"""The totals that count what was done once and for all: those of purchases whose records are lost stay in them."""


@dataclass(slots=True)
class Tally:
    """Counts over calls and variants, for the totals."""

    money: Money = field(default_factory=Money)
    calls: int = 0
    posts: int = 0
    images_billed: int = 0
    found: Counter[Status] = field(default_factory=Counter)
    doubtful: int = 0
    """Calls that may have been bought twice."""

    def add_call(self, facts: CallFacts | Ended) -> None:
        """Count a call in."""
        if isinstance(facts, Ended):
            self.money += Money(charged=facts.credits)
            self.calls += 1
            self.posts += 1
            self.images_billed += len(facts.variants) if facts.credits else 0
            return
        money = money_of(facts)
        self.money += money
        self.doubtful += facts.doubtful is not None
        for attempt in facts.attempts:
            self.calls += bool(attempt.sends)
            unsent = sum(1 for refusal in attempt.answered.values() if refusal.kind == RefusalKind.NOT_SENT)
            self.posts += attempt.sends - unsent
            if attempt.completed is not None and attempt.completed.credits:
                self.images_billed += max(attempt.completed.reported, attempt.images_paid)
        if facts.stage in (Stage.ACCEPTED, Stage.FAILING) and facts.attempts[-1].stuck is not None:
            self.money += Money(at_risk=money.reserved - money.at_risk)

    def add_loss(self, totals: Mapping[str, Any]) -> None:
        """Count purchases in whose records are lost."""
        self.calls += totals.get("calls", 0)
        self.posts += totals.get("posts", 0)
        self.images_billed += totals.get("images_billed", 0)
        self.money += Money(charged=Decimal(str(totals.get("credits_charged", 0))))

    def totals(self, wanted: int) -> dict[str, Any]:
        """The ``totals`` of the manifest."""
        counts = {status.value: self.found[status] for status in Status}
        return {
            "wanted": wanted,
            **counts,
            "calls": self.calls,
            "posts": self.posts,
            "images_billed": self.images_billed,
            "credits_reserved": number(self.money.reserved),
            "credits_charged": number(self.money.charged),
            "credits_at_risk": number(self.money.at_risk),
            "usd": number(usd(self.money.charged)),
        }


def overall_status(found: Mapping[Status, int], stops: tuple[Stop, ...], *, doubtful: int = 0) -> str:
    """The manifest's one word: complete, stopped, held or partial."""
    if not any(count for status, count in found.items() if status is not Status.ARCHIVED):
        return "held" if doubtful else "complete"
    if stops:
        return "stopped"
    return "held" if found.get(Status.HELD) else "partial"
