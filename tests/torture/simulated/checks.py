"""The judge: the invariants, held against the oracle and the bytes in the store."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from torture.simulated.api_tasks import EPOCH, LINKS_LIVE_S, TOKEN, Made
from torture.simulated.scenario import EDITION, Scenario

from adloom.core.exits import StopReason
from adloom.core.facts import Attempt, CallFacts, Stage, fold, money_of
from adloom.core.outcomes import Status
from adloom.core.records import ImageFate


class Checks:
    """The invariants, judged by the oracle and by the bytes in the store."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = scenario.world
        self.calls = self._read_calls()
        self.lines = self._read_lines()

    def all(self) -> None:
        self._bought_once()
        self._tasks_and_attempts()
        self._nothing_lost()
        self._manifest()
        self._money()
        self._nothing_left()
        self._short_rightly()
        self._count_paths()

    def _read_calls(self) -> dict[str, CallFacts]:
        found: dict[str, dict[str, object]] = {}
        for key in self.world.under(EDITION.key("ledger/")):
            call, name = key.rsplit("/", 2)[1:]
            if call != "sealed":
                found.setdefault(call, {})[name.removesuffix(".json")] = json.loads(self.world.objects[key])
        return {call: fold(call, facts) for call, facts in found.items()}  # type: ignore[arg-type]

    def _read_lines(self) -> list[dict[str, object]]:
        content = self.world.objects.get(EDITION.key("assets.jsonl"), b"")
        return [json.loads(line) for line in content.splitlines()]

    def _bought_once(self) -> None:
        """I1: images that a row's token was charged for, against the variants and takes that were ever wanted."""
        wanted: dict[str, dict[int, int]] = {}
        for key in self.world.under(EDITION.key("plan/")):
            for line in self.world.objects[key].splitlines():
                row = json.loads(line)
                takes = wanted.setdefault(TOKEN.search(row["prompt"])[1], {})  # type: ignore[index]
                for number in range(1, row["variants"] + 1):
                    takes[number] = max(takes.get(number, 1), row.get("takes", {}).get(str(number), 1))
        bought: Counter[str] = Counter()
        for made in self.world.tasks.values():
            bought[made.token] += 0 if made.failed_for_long else made.slots()
        for token, count in bought.items():
            if count > sum(wanted.get(token, {}).values()):
                self.world.note("double purchase")
                self.world.problem(f"I1 {token}: {count} images bought, {sum(wanted[token].values())} wanted")
        most = 1 + self.scenario.only_runs
        if any(take > most for takes in wanted.values() for take in takes.values()):
            self.world.problem("I1 a take that nobody asked for")

    def _tasks_and_attempts(self) -> None:
        """I3, and that every task belongs to the purchase that made it."""
        owners: dict[str, str] = {}
        for facts in self.calls.values():
            for attempt in facts.attempts:
                if len(attempt.tasks) > 1:
                    self.world.problem(f"I3 {facts.call} a{attempt.number} has the tasks {attempt.tasks}")
                for task in attempt.tasks:
                    if owners.setdefault(task, facts.call) != facts.call:
                        self.world.problem(f"I3 {task} belongs to {owners[task]} and {facts.call}")
                    made = self.world.tasks.get(task)
                    key = attempt.intent.idempotency_key if attempt.intent else ""
                    if made is None or made.key != key:
                        self.world.problem(f"I3 {task} was not made by {facts.call} a{attempt.number}")

    def _nothing_lost(self) -> None:
        """I2: every image is in the store, lost with a cause, or belongs to a purchase that is shown as unknown."""
        by_key = {a.intent.idempotency_key: (c, a) for c in self.calls.values() for a in c.attempts if a.intent}
        stored = {
            content.removeprefix(b"BAD|").removeprefix(b"PAGE|")
            for key, content in self.world.objects.items()
            if any(part in key for part in ("/assets/", "/extras/", "/quarantine/", "orphans/"))
        }
        for made in self.world.tasks.values():
            if not made.completed or not made.links(0) or made.failed_for_long:
                continue
            if made.key not in by_key:
                self.world.problem(f"I2 no intent has the key of {made.id}")
                continue
            facts, attempt = by_key[made.key]
            self._given_up_rightly(facts, attempt, made)
            lost = {_picture(attempt, image.index) for image in attempt.images if image.fate is ImageFate.LOST}
            self.world.seen["lost"] += len(lost)
            absent = {image for image in made.images if image not in stored}  # two may be the same, behind one link
            given_up = sum(image.fate is not ImageFate.ARCHIVED for image in attempt.images)
            if made.form == "signature" and len(absent) <= given_up:  # which of them is which, nobody can tell
                continue
            missed = absent - {made.images[index] for index in lost}
            if missed:
                if made.id not in attempt.tasks and attempt is facts.latest and facts.stage is Stage.UNKNOWN:
                    self._is_shown(facts)
                    continue
                self.world.problem(f"I2 {made.id} of {facts.call} ({facts.stage}): images {missed} are nowhere")

    def _given_up_rightly(self, facts: CallFacts, attempt: Attempt, made: Made) -> None:
        """No image is given up before its link has had its time, by a clock that may be 20 seconds off."""
        for number, archived in attempt.archived.items():
            given_up = {
                image.index for image in archived.images if image.fate in (ImageFate.LOST, ImageFate.QUARANTINED)
            }
            seen = archived.unix_s - EPOCH
            if given_up and seen < made.ends + LINKS_LIVE_S - 60:
                self.world.problem(f"I2 images {given_up} of {facts.call} are given up early, in archived-{number}")
            lost = (image.index for image in archived.images if image.fate is ImageFate.LOST)
            came = (self.world.damaged.get((made.id, _picture(attempt, index)), math.inf) for index in lost)
            if any(at < archived.unix_s for at in came):
                self.world.problem(f"I2 damaged bytes came for {facts.call} and were not kept, in archived-{number}")

    def _is_shown(self, facts: CallFacts) -> None:
        """I10: what is unknown is held in the manifest, wherever its variants are still wanted."""
        if facts.latest.held is None:
            self.world.note("unknown but not held")

    def _manifest(self) -> None:
        """I5 and I10: the manifest's own sums, its files' hashes, and every asset's bytes."""
        content = self.world.objects.get(EDITION.key("manifest.json"))
        if content is None:
            self.world.problem("I5 there is no manifest")
            return
        manifest = json.loads(content)
        totals = manifest["totals"]
        latest = {(line["row"], line["variant"]): line for line in self.lines}  # former takes are not wanted any more
        counts = Counter(line["status"] for line in latest.values())
        if any(totals[status.value] != counts[status.value] for status in Status):
            self.world.problem(f"I5 totals {totals} are not the lines' {counts}")
        if totals["wanted"] != len(latest) or sum(totals[status.value] for status in Status) != totals["wanted"]:
            self.world.problem(f"I5 the totals do not add up: {totals}, {len(latest)} variants")
        if totals["wanted"] != sum(row.variants for row in self.scenario.source.given):
            self.world.problem("I5 the manifest is of another campaign")
        for name, entry in manifest["files"].items():
            if hashlib.sha256(self.world.objects[EDITION.key(name)]).hexdigest() != entry["sha256"]:
                self.world.problem(f"I5 {name} is not what the manifest says")
        self._assets()
        self._states(totals)

    def _assets(self) -> None:
        tokens = {row.name: TOKEN.search(row.prompt)[1] for row in self.scenario.source.given}  # type: ignore[index]
        seen: set[tuple[str, str]] = set()
        for line in self.lines:
            if line["status"] != "archived":
                continue
            image = self.world.objects.get(EDITION.key(str(line["key"])))
            if image is None or hashlib.sha256(image).hexdigest() != line["sha256"]:
                self.world.problem(f"I5 {line['key']} is not what the manifest says")
            elif not image.startswith(b"IMG|"):
                self.world.problem(f"I5 {line['key']} is no image")
            elif image.split(b"|")[1].decode() != tokens.get(str(line["row"])):
                self.world.problem(f"I5 {line['key']} shows another row's picture")
            if str(line["key"]) in seen:
                self.world.problem(f"I5 {line['key']} stands for two variants")
            seen.add(str(line["key"]))  # type: ignore[arg-type]

    def _states(self, totals: Mapping[str, object]) -> None:
        """I10: the ledger's unknown purchases are the manifest's held ones, and their money is at risk."""
        unknown = [facts for facts in self.calls.values() if facts.stage is Stage.UNKNOWN]
        alone = (CallFacts(facts.call, (facts.latest,)) for facts in unknown)  # a former task may be at risk as well
        at_risk = sum((money_of(facts).at_risk for facts in alone), start=Decimal(0))
        quoted = sum((facts.latest.intent.credits for facts in unknown if facts.latest.intent), Decimal(0))
        if at_risk != quoted or Decimal(str(totals["credits_at_risk"])) < quoted:
            self.world.problem(f"I10 {quoted} credits are at risk, the manifest says {totals['credits_at_risk']}")
        lines = {(line["row"], line["variant"], line["take"]): line["status"] for line in self.lines}
        for facts in unknown:
            intent = facts.intent
            assert intent
            for variant in intent.variants:
                status = lines.get((intent.row, variant.number, variant.take))
                if status not in (None, "held", "archived"):
                    self.world.problem(f"I10 {facts.call} is unknown, its variant {variant.number} is {status}")

    def _money(self) -> None:
        """I6 at the end: what the ledger commits to covers what the oracle charged, and fits the highest cap."""
        guessed = not self.world.tells_credits and self.world.seen["outcome surplus"]
        if self.world.price_moved or guessed:  # images that nobody asked for are estimated at their price
            return
        committed = sum((money_of(facts).committed for facts in self.calls.values()), start=Decimal(0))
        cap = max(self.world.caps, default=Decimal(0))
        if committed > cap + self.world.not_foreseen():
            self.world.problem(f"I6 {committed} credits are committed, the highest cap was {cap}")
        charged = self.world.exposure() - self.world.not_heard_of()
        if charged > committed:
            self.world.problem(f"I6 the API charged {charged}, the ledger knows of {committed}")

    def _nothing_left(self) -> None:
        """I12: without faults and without a reason to stop, every variant ends."""
        result = self.scenario.last
        if result is None:
            self.world.problem("I11 the last run wrote no result")
        elif not result.stops and any(line["status"] == "open" for line in self.lines):
            reasons = {line["reason"] for line in self.lines if line["status"] == "open"}
            self.world.problem(f"I12 variants are left open without a reason to stop: {reasons}")
        elif any(stop.reason is not StopReason.BUDGET for stop in result.stops):
            self.world.problem(f"I12 the last run stops without a fault: {[stop.message for stop in result.stops]}")

    def _short_rightly(self) -> None:
        """I13: a variant is short only after two calls in a row that brought nothing."""
        for line in self.lines:
            if line["status"] != "short":
                continue
            facts = self.calls[str(line["call"])]
            parent = self.calls.get(facts.intent.parent) if facts.intent else None
            if facts.latest.links or parent is None or parent.latest.links:
                self.world.problem(f"I13 {line['row']} {line['variant']} is short after {facts.call}, too early")

    def _count_paths(self) -> None:
        """What this seed reached."""
        note = self.world.note
        unknown = 0
        for facts in self.calls.values():
            intent = facts.intent
            if intent is not None and intent.round:
                note("top-up")
            if len([attempt for attempt in facts.attempts if attempt.tasks]) > 1:
                note("retry after a failed task")
            unknown += facts.stage is Stage.UNKNOWN
            for attempt in facts.attempts:
                self._count_attempt(attempt)
        if unknown > 1:
            note("two unknowns held")
        for line in self.lines:
            self.world.seen[f"variant {line['status']}"] += 1

    def _count_attempt(self, attempt: object) -> None:
        note = self.world.note
        for unknown in attempt.unknown.values():  # type: ignore[attr-defined]
            note("unknown")
            if "died" in unknown.reason:
                note("takeover of a dead owner")
        accepted = attempt.accepted  # type: ignore[attr-defined]
        if attempt.unknown and accepted is not None:  # type: ignore[attr-defined]
            by_list, by_key = accepted.via == "task list", accepted.replayed or attempt.sends > 1  # type: ignore[attr-defined]
            note("settled by list" if by_list else "settled by key" if by_key else "settled by a late reply")
        for image in attempt.images:  # type: ignore[attr-defined]
            note(f"image {image.fate}")


def _picture(attempt: Attempt, index: int) -> int:
    """Which picture of its task the link of this place leads to: an API may show them in another order."""
    found = re.search(r"/(\d+)(?:\?|$)|image=(\d+)", attempt.links[index])
    return int(found[1] or found[2]) if found else index
