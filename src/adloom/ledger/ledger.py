"""Reading and writing the ledger of one edition: create-once facts in the archive itself.

``decide`` writes a decision and returns the one that holds, its own or someone else's; ``note`` adds evidence. Both
return only after the fact is durable. ``core.facts`` says what a record means.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from datetime import datetime
from typing import Any

from adloom.core.ended import Ended, ended_of
from adloom.core.errors import RecordDamaged, StoreUnavailable
from adloom.core.facts import SCHEMA, CallFacts, Stage, fold, task_name
from adloom.core.records import ImageFate, Record
from adloom.ledger.edition import Edition, from_json, to_json, utc
from adloom.ledger.packing import Entry, Records, entries_of, pack_seal, read_seal
from adloom.ports import Clock, Store

log = logging.getLogger(__name__)

SEAL_SCHEMA = "adloom.seal/2"
_SEAL_SCHEMAS = ("adloom.seal/1", SEAL_SCHEMA)
"""The first had all links as they were signed."""
SEALED = "sealed"
"""The folder of the ledger that holds the seals; no call has such an id."""
UPLOADS = "uploads"
"""The folder of the ledger that says where reference files are hosted."""
NOT_CALLS = frozenset({SEALED, UPLOADS})

_FILE = re.compile(r"a\d+-[\w.-]+\.json")
"""What the file of a record is called, one of a later version's kinds included."""

FOLDED_CALLS = 1000
"""As many as ``packing`` keeps unpacked."""


class Ledger:
    """The facts of one edition, written by one run (``writer``). In memory they are packed: see ``ledger.packing``."""

    def __init__(self, store: Store, edition: Edition, clock: Clock, writer: str) -> None:
        self._store = store
        self._edition = edition
        self._clock = clock
        self._writer = writer
        self._records = Records()
        self._folded: dict[str, CallFacts] = {}
        """States of calls that no record was added to since they were asked for."""
        self._ended: dict[str, Ended] = {}
        """Sealed calls that need not be folded, for as long as no record is added to them."""
        self._sealed: dict[str, frozenset[str]] = {}
        """The names of the records of other sealed calls, as long."""
        self._written = 0
        """Counts this writer's records, so that no two records anywhere are equal."""
        self._accepted: dict[str, tuple[str, ...]] = {}
        """The calls that accepted a task, by the task's name; without those in ``_ended``."""
        self._ended_of_task: dict[str, tuple[str, ...]] | None = None
        """Those, once somebody asks."""
        self.claimed: dict[str, tuple[str, int]] = {}
        """The call and the attempt for which this process has claimed a task, by the task's name."""
        self.losses: tuple[Record, ...] = ()
        """What people declared lost: see ``plan.rollback``."""
        self.damaged: dict[str, str] = {}
        """The calls that are set aside, each with the record that is damaged."""

    def through(self, store: Store) -> Ledger:
        """The same ledger, what it has read included, which reads and writes through another way to its store.

        Only one of the two may write.
        """
        ledger = copy(self)
        ledger._store = store  # noqa: SLF001 - its own class
        return ledger

    @property
    def store(self) -> Store:
        return self._store

    @property
    def writer(self) -> str:
        return self._writer

    @property
    def edition(self) -> Edition:
        return self._edition

    async def load(self, *, trust_seals: bool = True, sets_aside: bool = False) -> None:
        """Read every fact of the edition: those of sealed calls from their seals, if these are to be trusted.

        Raises RecordDamaged, unless it ``sets_aside`` the calls of which a record is damaged: what is known of the
        others can be collected, but nothing may be bought.
        """
        self._records = Records()
        for known in (self._folded, self._accepted, self._ended, self._sealed, self.damaged):
            known.clear()
        if trust_seals:
            await self._load_seals()
        await self.catch_up(sets_aside=sets_aside)
        keys = sorted([listed.key async for listed in self._store.list(self._edition.key("loss-"))])
        self.losses = tuple([(await self._read(key)).record for key in keys])

    async def catch_up(self, *, sets_aside: bool = False) -> None:
        """Read the facts that this process has not seen. What it has seen is kept, even if the store lost it."""
        async for listed in self._store.list(self._edition.key("ledger/")):
            call, name = record_place(listed.key)
            if not name or call in self.damaged or self._knows(call, name):
                continue
            try:
                entry = await self._read(listed.key)
            except RecordDamaged as error:
                if not sets_aside:
                    raise
                self.set_aside(call, error)
            else:
                self._keep(call, name, entry)

    def set_odd_ones_aside(self) -> None:
        """Leave out the calls of which a record lacks what its kind has."""
        for call in self.calls():
            try:
                self.stage(call)
            except RecordDamaged as error:
                self.set_aside(call, error)

    def set_aside(self, call: str, error: RecordDamaged) -> None:
        """Leave out a call of which a record is damaged, as if it had none: what was bought for it is unknown."""
        self.damaged[call] = error.message
        self._records.drop(call)
        for known in (self._folded, self._ended, self._sealed):
            known.pop(call, None)
        for task, calls in self._accepted.items():
            self._accepted[task] = tuple([each for each in calls if each != call])
        self._ended_of_task = None

    async def has_kept(self, call: str) -> bool:
        """Whether the store still has every fact of a call that this process has seen."""
        keys = {listed.key async for listed in self._store.list(self._edition.key(f"ledger/{call}/"))}
        return all(self._key(call, name) in keys for name in self._records.of(call))

    async def _load_seals(self) -> None:
        async for listed in self._store.list(self._edition.key(f"ledger/{SEALED}/")):
            content = await self._store.read(listed.key) or b""
            calls, packed = _opened(content, listed.key)
            known = {call for call in calls if call in self._records}
            self._records.put_sealed(packed, {call: len(each) for call, each in calls.items() if call not in known})
            for call, records in calls.items():
                entries = entries_of(records)
                if call in known:  # of a shard of another plan
                    for name, entry in entries.items():
                        self._keep(call, name, entry)
                else:
                    self._keep_sealed(call, {name: entry.record for name, entry in entries.items()})

    def _keep_sealed(self, call: str, records: Mapping[str, Record]) -> None:
        if (ended := ended_of(call, records)) is not None:
            self._ended[call] = ended
            self._ended_of_task = None
        else:
            self._sealed[call] = frozenset(records)
            self._note_tasks(call, records)

    def _knows(self, call: str, name: str) -> bool:
        """Whether this process has seen a record."""
        if (ended := self._ended.get(call)) is not None:
            return ended.has(name)
        names = self._sealed.get(call)
        return name in (self._records.of(call) if names is None else names)

    def ended(self, call: str) -> Ended | None:
        """A call that nothing can follow from, in short; None for one whose facts have to be asked for."""
        return self._ended.get(call)

    def unended(self) -> Iterator[CallFacts]:
        """The states of all other calls."""
        return (self.facts(call) for call in self.calls() if call not in self._ended)

    def stage(self, call: str) -> Stage:
        """How far a call has come, as its facts say."""
        return Stage.ARCHIVED if call in self._ended else self.facts(call).stage

    def records(self, call: str) -> dict[str, Any]:
        """Every record of a call with its SHA-256 as stored, by name: what a seal holds."""
        return {name: entry._asdict() for name, entry in self._records.of(call).items()}

    async def refresh(self, call: str) -> CallFacts:
        """Read what others have written about a call since, and return its state."""
        async for listed in self._store.list(self._edition.key(f"ledger/{call}/")):
            _, name = record_place(listed.key)
            if name and call not in self.damaged and not self._knows(call, name):
                self._keep(call, name, await self._read(listed.key))
        return self.facts(call)

    def first_with_task(self, name: str) -> tuple[str, int] | None:
        """The call and the attempt that accepted a task first, by the task's name; None where none has."""
        accepted, found = re.compile(rf"a(\d+)-accepted\.{re.escape(name)}"), []
        for call in self._with_task(name):
            records = self._records.of(call)
            for known, entry in records.items():
                if (match := accepted.fullmatch(known)) and f"a{match[1]}-disowned.{name}" not in records:
                    found.append((entry.record["time"], call, int(match[1])))
        return min(found)[1:] if found else None

    def _with_task(self, name: str) -> set[str]:
        """The calls that accepted a task, by the task's name."""
        if self._ended_of_task is None:
            self._ended_of_task = {}
            for call, ended in self._ended.items():
                self._ended_of_task[ended.task] = (*self._ended_of_task.get(ended.task, ()), call)
        return {*self._accepted.get(name, ()), *self._ended_of_task.get(name, ())}

    def accepted(self) -> Iterator[tuple[str, int, str]]:
        """The call, the attempt and the task's name of every accepted fact."""
        yield from [(call, 1, ended.task) for call, ended in self._ended.items()]
        for name, calls in self._accepted.items():
            for call in calls:
                for known in self._records.of(call):
                    attempt, is_accepted, task = known.partition("-accepted.")
                    if is_accepted and task == name:
                        yield call, int(attempt.removeprefix("a")), task

    def facts(self, call: str) -> CallFacts:
        """The state of a call by what this process has read and written."""
        if call not in self._folded:
            if len(self._folded) >= FOLDED_CALLS:
                self._folded.clear()
            self._folded[call] = fold(call, {name: entry.record for name, entry in self._records.of(call).items()})
        return self._folded[call]

    def calls(self) -> tuple[str, ...]:
        """Every call that has a fact."""
        return self._records.calls()

    def sums(self) -> Iterator[tuple[str, str]]:
        """The key of every record within the edition, and its SHA-256 as stored, as far as known."""
        for call, name, entry in self._entries():
            if entry.sha256:
                yield f"ledger/{call}/{name}.json", entry.sha256

    def hashes(self) -> Iterator[tuple[str, str]]:
        """The same, and those of every image that a record names, also of one that another record speaks against."""
        for call, name, entry in self._entries():
            if entry.sha256:
                yield f"ledger/{call}/{name}.json", entry.sha256
            for image in entry.record.get("images", ()):
                if image["key"] and image["fate"] != ImageFate.LOST:
                    yield image["key"], image["sha256"]

    def _entries(self) -> Iterator[tuple[str, str, Entry]]:
        for call in self._records.calls():
            for name, entry in self._records.of(call).items():
                yield call, name, entry

    def arrivals(self) -> Iterator[tuple[float, int]]:
        """When images were archived, in Unix time, and how many at each, in no promised order."""
        for _, name, entry in self._entries():
            if "-archived-" in name:
                archived = sum(image["fate"] == ImageFate.ARCHIVED for image in entry.record["images"])
                yield datetime.fromisoformat(entry.record["time"]).timestamp(), archived

    def fact_count(self) -> int:
        return self._records.count()

    def facts_ever(self) -> int:
        """How many records there were, including those that a person declared lost."""
        return self.fact_count() + sum(int(loss["facts"]) for loss in self.losses)

    def sent_count(self) -> int:
        """How many attempts were sent, by what this process has read: what a manifest calls ``calls``."""
        attempts = (attempt for facts in self.unended() for attempt in facts.attempts)
        return len(self._ended) + sum(bool(attempt.sends) for attempt in attempts)

    async def grew(self) -> bool:
        """Whether the archive holds facts that this process has not seen."""
        return await self._listed_count() != self.fact_count()

    async def decide(self, call: str, name: str, fields: Mapping[str, Any]) -> tuple[Record, bool]:
        """Make a decision unless it has been made: the decision that holds, and whether it is this one."""
        record = self._record(fields)
        if await self._create(call, name, record):
            return record, True
        entry = await self._read(self._key(call, name))
        self._keep(call, name, entry)
        standing = entry.record
        mine = (standing["writer"], standing["written"]) == (record["writer"], record["written"])
        return standing, mine  # a store that tried again after a lost reply finds its own object there

    async def note(self, call: str, name: str, fields: Mapping[str, Any]) -> Record:
        """Add evidence; evidence of that name that is there already stays and is returned."""
        return (await self.decide(call, name, fields))[0]

    async def accept(self, call: str, attempt: int, task: str, credits_: str, **more: Any) -> None:  # noqa: ANN401
        """Add the evidence that an attempt made this task. A second task for one attempt is kept and reported."""
        fields = {"task": task, "credits": credits_, **more}
        await self.note(call, f"a{attempt}-accepted.{task_name(task)}", fields)
        tasks = self.facts(call).attempt(attempt).tasks
        if len(tasks) > 1:
            log.error("call %s has %d tasks for one attempt, so it was bought twice: %s", call, len(tasks), tasks)

    async def note_held(self, call: str, attempt: int, reason: str) -> None:
        """Add the evidence that this run gives up on an attempt, unless one has given up on it as it is now."""
        while not (known := self.facts(call).attempt(attempt)).is_held:
            name = f"a{attempt}-held" + (f"-{known.held_facts + 1}" if known.held_facts else "")
            if (await self.decide(call, name, {"reason": reason}))[1]:
                return

    def _keep(self, call: str, name: str, entry: Entry) -> None:
        self._records.put(call, name, entry)
        for known in (self._folded, self._sealed):
            known.pop(call, None)
        if (ended := self._ended.pop(call, None)) is not None:
            self._accepted[ended.task] = tuple({*self._accepted.get(ended.task, ()), call})
        self._note_tasks(call, (name,))

    def _note_tasks(self, call: str, names: Iterable[str]) -> None:
        for name in names:
            if "-accepted." in name:
                task = name.split("-accepted.", 1)[1]
                self._accepted[task] = tuple({*self._accepted.get(task, ()), call})

    async def _create(self, call: str, name: str, record: Record) -> bool:
        key, content = self._key(call, name), to_json(record)
        created = await self._store.create(key, content)
        if created:
            self._keep(call, name, Entry(record, hashlib.sha256(content).hexdigest()))
        return created

    def _record(self, fields: Mapping[str, Any]) -> Record:
        self._written += 1
        stamp = {"schema": SCHEMA, "time": utc(self._clock.now()), "writer": self._writer, "written": self._written}
        return {**fields, **stamp}

    def _key(self, call: str, name: str) -> str:
        return self._edition.key(f"ledger/{call}/{name}.json")

    async def _read(self, key: str) -> Entry:
        content = await self._store.read(key)
        if content is None:
            raise StoreUnavailable(f"{key} exists but cannot be read", remedy="Run the same command again.")
        return Entry(from_json(content, key), hashlib.sha256(content).hexdigest())

    async def _listed_count(self) -> int:
        count = 0
        async for listed in self._store.list(self._edition.key("ledger/")):
            call, name = record_place(listed.key)
            count += bool(name) and call not in self.damaged
        return count


def record_place(key: str) -> tuple[str, str]:
    """The call and the name of a record; an empty name for a file that is none, such as what a file manager leaves.

    What is in the place of a call's folder is no stranger's: reading it says that it is none.
    """
    call, file = key.rsplit("/", 2)[1:]
    is_ours = file.startswith("c-") if call == "ledger" else call not in NOT_CALLS and _FILE.fullmatch(file)
    return call, file.removesuffix(".json") if is_ours else ""


def _opened(content: bytes, key: str) -> tuple[dict[str, dict[str, dict[str, Any]]], bytes]:
    """The calls of a seal, and the seal packed; none where it cannot be used: it is never the only copy."""
    seal = from_json(content, key, read_seal)
    return (seal["calls"], pack_seal(content)) if seal.get("schema") in _SEAL_SCHEMAS else ({}, b"")
