"""One running stand-in: its clock, accounts, faults and counters, and the interface for tests."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlsplit

from adloom.sandbox import links, shapes
from adloom.sandbox.answers import number
from adloom.sandbox.billing import Account, fingerprint
from adloom.sandbox.callbacks import CallbackSender
from adloom.sandbox.clock import SandboxClock
from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.faults import Fault, FaultBook, Route
from adloom.sandbox.hosting import FileHost, ReferenceFault
from adloom.sandbox.painting.pictures import Gallery, media_of
from adloom.sandbox.settings import LiveSettings, SandboxSettings
from adloom.sandbox.shapes import Charge
from adloom.sandbox.submission import Wanted
from adloom.sandbox.tasks import SandboxTask, State, TaskStore
from adloom.sandbox.wavering import ReadBy, as_read, with_late_parts

_KEPT_VIOLATIONS = 100


@dataclass(frozen=True, slots=True)
class Unripe:
    """What a picture shows right after its task has ended: a status or a damage; neither once it is ready."""

    status: int = 0
    damage: str = ""


@dataclass(slots=True)
class Traffic:
    """What has been received since the last reset."""

    requests: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    violations: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_VIOLATIONS))
    violation_count: int = 0
    open_posts: int = 0
    most_open_posts: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def one_more_post(self) -> Iterator[None]:
        """Count a submission as open while it is being answered."""
        self.open_posts += 1
        self.most_open_posts = max(self.most_open_posts, self.open_posts)
        try:
            yield
        finally:
            self.open_posts -= 1

    def complain(self, what: str) -> None:
        """Record something that a client must never do."""
        self.violation_count += 1
        self.violations.append(what)


@dataclass(slots=True)
class KeyMemory:
    """Idempotency keys, and the times of recent submissions for the rate limit, of one account."""

    known: dict[str, tuple[str, SandboxTask]] = field(default_factory=dict)
    recent: deque[float] = field(default_factory=deque)


class Sandbox:
    """The stand-in behind one base URL."""

    def __init__(self, settings: SandboxSettings, base_url: str = "") -> None:
        self.board = LiveSettings(settings)
        self.base_url = base_url
        self.clock = SandboxClock()
        self.dice = SeededRandom(settings.seed)
        self.faults = FaultBook(self.dice)
        self.files = FileHost(self.board)
        self.tasks = TaskStore(self.board, self.dice, self.references_fail, self._settled)
        self.gallery = Gallery(self.board, self.dice)
        self.courier = CallbackSender(self.board, self.dice, self.faults, self.queried)
        self.traffic = Traffic()
        self.closing = False
        self._fetches: Counter[tuple[int, int]] = Counter()
        self._readings: Counter[int] = Counter()
        self._accounts: dict[str, Account] = {}
        self._memories: dict[str, KeyMemory] = {}

    @property
    def settings(self) -> SandboxSettings:
        """The switches in force."""
        return self.board.settings

    # What a test asks

    def charges(self) -> list[Charge]:
        """The charge log, in order of acceptance: every accepted POST, with its cost so far."""
        self.settle()
        return [shapes.charge(task) for task in self.tasks]

    def state(self) -> dict[str, object]:
        """Counts and sums since the last reset."""
        self.settle()
        totals, traffic = self.tasks.totals, self.traffic
        return {
            "now": self.clock.now(),
            "posts_received": traffic.requests["submit"],
            "posts_accepted": len(self.tasks),
            "posts": dict(traffic.posts),
            "most_open_posts": traffic.most_open_posts,
            "tasks": {state.value: totals.states[state] for state in State},
            "most_running_tasks": totals.most_running,
            "images_made": totals.images_made,
            "credits_reserved": number(totals.reserved),
            "credits_charged": number(totals.charged),
            "credits_released": number(totals.released),
            "requests": dict(traffic.requests),
            "faults": dict(traffic.faults),
            "script_waiting": self.faults.waiting(),
            "callbacks": dict(self.courier.counts),
            "violations": list(traffic.violations),
            "violation_count": traffic.violation_count,
        }

    def change(self, **changes: object) -> None:
        """Change switches; a new seed takes effect with the next sandbox only."""
        self.board.change(changes)

    def script(self, *faults: Fault | Mapping[str, object], **fault: object) -> None:
        """Queue faults: as values, as mappings, or one as keyword arguments."""
        wishes = [*faults, fault] if fault else list(faults)
        self.faults.queue([wish if isinstance(wish, Fault) else Fault.model_validate(wish) for wish in wishes])

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward and settle what has ended by then."""
        self.clock.advance(seconds)
        self.settle()

    def finish(self, ids: list[str] | None = None) -> int:
        """End running tasks now, all or some."""
        return self.tasks.finish(self.clock.now(), ids)

    def set_credits(self, *, key: str = "", **amounts: Decimal | None) -> None:
        """Set ``balance``, ``key_limit`` or ``daily_limit`` of one key's account, or of all and of those to come.

        ``balance`` is what is left to spend from now on; the limits are totals, None lifts one.
        """
        self.settle()
        if not key:
            self.board.change({f"{name}_credits": amount for name, amount in amounts.items()})
        chosen = [self.account(fingerprint(key))] if key else list(self._accounts.values())
        for account in chosen:
            account.grant(amounts)

    def reset(self, *, settings: bool = False) -> None:
        """Forget tasks, money, files, script and counts; the settings too if asked."""
        if settings:
            self.board.restore()
        self.tasks.clear()
        self.files.clear()
        self.faults.clear()
        self.gallery.clear()
        self.courier.counts.clear()
        self.traffic = Traffic(open_posts=self.traffic.open_posts)
        self._accounts.clear()
        self._memories.clear()
        self._fetches.clear()
        self._readings.clear()

    # What the routes ask

    def settle(self) -> float:
        """Settle what has ended; returns the current time."""
        now = self.clock.now()
        self.tasks.settle_due(now)
        return now

    def fault(self, route: Route, text: str) -> Fault | None:
        """Count a request, and take the fault that it gets."""
        ordinal = self.traffic.requests[route]
        self.traffic.requests[route] += 1
        fault = self.faults.strikes(route, ordinal, text, self.settings)
        if fault is not None:
            self.traffic.faults[f"{route} {fault.fault}"] += 1
        return fault

    def account(self, name: str) -> Account:
        """The account of a key's fingerprint, opened on first use."""
        known = self._accounts.get(name)
        if known is None:
            known = self._accounts[name] = Account.opened(name, self.settings)
        return known

    def memory(self, account: Account) -> KeyMemory:
        """What is remembered about an account's submissions."""
        return self._memories.setdefault(account.name, KeyMemory())

    def links(self, task: SandboxTask) -> list[str]:
        """A completed task's result links, in this reading's order."""
        settings = self.settings
        extension = "png" if media_of(task, settings) == "png" else "jpg"
        base_url = self.base_url
        if settings.result_host:
            base_url = base_url.replace("127.0.0.1", settings.result_host)
        expires = f"{self.clock.now() + settings.renewed_link_life_s:.6f}" if settings.renewed_link_life_s else ""
        found = links.links(task, base_url, links.Look(extension, settings.link_form, expires), self.dice)
        if found:
            self._readings[task.ordinal] += 1
        if settings.reverse_later_results and self._readings[task.ordinal] > 1:
            found.reverse()
        if settings.shuffle_results and found:
            turn = self.traffic.requests.total() % len(found)
            found = [*found[turn:], *found[:turn]]
        return found

    def unripe(self, task: SandboxTask, index: int, now: float) -> Unripe:
        """Count a fetch of a picture; returns what is shown in its place while its link is young."""
        settings = self.settings
        self._fetches[task.ordinal, index] += 1
        tries, age_s = self._fetches[task.ordinal, index], now - task.ends_at
        if tries <= settings.young_link_tries or age_s < settings.young_link_s:
            return Unripe(status=settings.young_link_status)
        if tries <= settings.young_picture_tries or age_s < settings.young_picture_s:
            return Unripe(damage=settings.young_picture_damage)
        return Unripe()

    def queried(self, task: SandboxTask, read_by: ReadBy = "callback") -> dict[str, object]:
        """A task as a query, or its callback, shows it now."""
        now = self.clock.now()
        shown = task if read_by == "callback" else as_read(task, read_by, self.settings, self.dice, now)
        content = shapes.queried(shown, self.links(task), self.settings, now)
        content = with_late_parts(content, shown, read_by, self.settings, self.dice, now)
        if self.settings.shuffle_fields:
            content = shapes.shuffled(content, self.dice, self.traffic.requests.total())
        return content

    def references_fail(self, wanted: Wanted, now: float) -> ReferenceFault | None:
        """What fetching the references ends in; None if they are fine."""
        if not wanted.references:
            return None
        port = urlsplit(self.base_url).port
        return self.files.references_fail(wanted, now, frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}))

    def _settled(self, task: SandboxTask) -> None:
        self.courier.send(task)
