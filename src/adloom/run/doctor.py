"""The checks of ``adloom doctor``: what works, what does not, and what to do.

The probe of the API's memory buys one image like any campaign, in the edition ``adloom-probe/<time>``, and sends the
same purchase again under the same key. The API either answers with the first task (then an unknown purchase can be
settled by sending it again) or makes a second one, whose image is kept too. What it showed counts for 30 days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from adloom.core.campaign import Budget, Campaign, Grouping, Pace, Row
from adloom.core.chain import Chains
from adloom.core.check import Check
from adloom.core.errors import (
    AccountStopped,
    AdloomError,
    ApiError,
    ModelUnavailable,
    NotSent,
    OutcomeUnknown,
    Throttled,
)
from adloom.core.exits import EXIT_ACCOUNT, EXIT_HELD, EXIT_INPUT, EXIT_OUTAGE
from adloom.core.identity import explicit_identity
from adloom.core.limits import DEFAULT_MODEL, MODELS, STRICT
from adloom.core.origin import Origin
from adloom.ledger.create_once import prove_create_once
from adloom.ledger.ledger import Ledger
from adloom.ports import ImageApi, Store

PROBE_CAMPAIGN = "adloom-probe"
PROBE_PRICE = MODELS[DEFAULT_MODEL].credits(MODELS[DEFAULT_MODEL].qualities[0])
PROBE_IMAGES = 2
"""The most that a probe buys: one image, and another if the API does not remember keys."""

CLOCK_MAY_BE_OFF_S = 60
"""Links live 24 h and S3 takes signatures up to 15 min off; a clock that is a minute off is not synchronised."""


async def check_archive(store: Store, token: str) -> Check:
    """Whether the archive can be written, read and listed, keeps create-once and has room."""
    key = f"{PROBE_CAMPAIGN}/create-once/{token}.json"
    try:
        await prove_create_once(store, key)
        listed = [found.key async for found in store.list(key)]
        has_room = await store.has_room()
    except AdloomError as error:
        return Check("archive", works=False, found=error.message, remedy=error.remedy)
    if listed != [key]:
        found = f"{store.address} does not list what was just written"
        return Check("archive", works=False, found=found, remedy="use a store whose lists are up to date")
    if not has_room:
        return Check("archive", works=False, found=f"{store.address} is nearly full", remedy="free some space")
    return Check("archive", works=True, found=f"{store.address} is writable and creates an object only once")


async def check_account(api: ImageApi, origin: Origin) -> Check:
    """Whether the API answers, the key works, and what may still be spent."""
    try:
        left = await api.credits()
    except AdloomError as error:
        return Check("key", works=False, found=error.message, remedy=error.remedy)
    key = "no limit of its own" if left.key_remaining is None else f"{left.key_remaining:f} credits left on the key"
    return Check("key", works=True, found=f"{origin.word}{left.account_remaining:f} credits left on the account, {key}")


def check_api(origin: Origin, *, reached: bool) -> Check:
    """Whether anything answers at the API's address."""
    name = str(origin)
    if reached:
        return Check("api", works=True, found=f"{name} answers")
    remedy = "check EVOLINK_BASE_URL, the network and the proxy"
    return Check("api", works=False, found=f"{name} does not answer", remedy=remedy)


def check_clock(now: float, servers_now: float | None, *, reached: bool = True) -> Check:
    """Whether this machine's clock agrees with the API's.

    Both are Unix times; None if the API did not report its time.
    """
    if not reached:
        return Check("clock", works=True, found="not checked: the API was not reached")
    if servers_now is None:
        return Check("clock", works=True, found="the API does not report its time")
    off_s = now - servers_now
    if abs(off_s) > CLOCK_MAY_BE_OFF_S:
        return Check("clock", works=False, found=f"it is {off_s:+.0f} s off the API's", remedy="set it by NTP")
    return Check("clock", works=True, found=f"within {abs(off_s):.0f} s of the API's")


@dataclass(frozen=True, slots=True)
class ProbeSource:
    """The campaign that a probe buys: one small image."""

    @property
    def campaign(self) -> Campaign:
        return Campaign(
            name=PROBE_CAMPAIGN,
            source="adloom doctor --probe",
            budget=Budget(credits=PROBE_PRICE * PROBE_IMAGES),
            pace=Pace(in_flight=1),
            profile=STRICT.name,
            callback_url=None,
            prices={},
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    def knows(self, is_bought: Callable[[str], bool]) -> None:
        """Its one row is always the same."""

    @property
    def chained(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def refer(self, chains: Chains) -> None:
        """No job of it names another."""

    def rows(self) -> Iterator[Row]:
        yield Row(
            job="probe",
            identity=explicit_identity("probe", "one"),
            name="one",
            label="one",
            prompt="A plain grey card on a plain grey table",
            variables={},
            model=DEFAULT_MODEL,
            size="1:1",
            quality=MODELS[DEFAULT_MODEL].qualities[0],
            priority="fast",
            references=(),
            grouping=Grouping.SET,
            variants=1,
        )


def probe_check(ledger: Ledger, call: str, origin: Origin, *, remembers: bool) -> Check:
    """The result of a probe, and its cost."""
    tasks = len(ledger.facts(call).latest.tasks)
    cost = f"{origin.word}{PROBE_PRICE * Decimal(tasks):f} credits spent"
    if remembers:
        return Check("probe", works=True, found=f"a repeated key returns the first task ({cost})")
    remedy = "lost answers are resolved from the task list or held for a person"
    return Check("probe", works=True, found=f"a repeated key buys again ({cost})", remedy=remedy)


def exit_code_of(error: ApiError) -> int:
    """The exit code of a probe whose second purchase ended with an error."""
    return next((code for kind, code in _EXITS if isinstance(error, kind)), EXIT_INPUT)


_EXITS: tuple[tuple[type[ApiError], int], ...] = (
    (OutcomeUnknown, EXIT_HELD),
    (AccountStopped, EXIT_ACCOUNT),
    (NotSent, EXIT_OUTAGE),
    (Throttled, EXIT_OUTAGE),
    (ModelUnavailable, EXIT_OUTAGE),
)


def probe_failed(found: str, address: str, exit_code: int) -> Check:
    """A probe that has shown nothing, and what to do about what it bought; ``address`` is its edition's."""
    if exit_code != EXIT_HELD:
        return Check("probe", works=False, found=found, remedy="nothing is proven; try again later")
    remedy = f"it may have been charged and nothing is proven: `adloom resolve {address}` shows what is held"
    return Check("probe", works=False, found=found, remedy=remedy)
