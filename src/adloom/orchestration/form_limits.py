"""What a worker allows at its forms: which files people may name, and how much they may spend.

All of it is set in the worker's environment, out of reach of any form. A form can only ask for less.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from adloom.campaign.sources.origin import S3
from adloom.campaign.sources.roots import is_below
from adloom.core.campaign import Budget, is_amount
from adloom.core.errors import SettingInvalid

CAMPAIGNS = "campaigns"
"""The folder of the deployment's own campaigns, next to prefect.yaml. A form may always name what is in it."""

ROOTS = "ADLOOM_CAMPAIGN_ROOTS"
MAX_USD = "ADLOOM_MAX_USD"
APPROVE_ABOVE_USD = "ADLOOM_APPROVE_ABOVE_USD"
MAX_RUNS = "ADLOOM_MAX_RUNS"


@dataclass(frozen=True, slots=True)
class FormLimits:
    """The limits of a worker; None where it has none. ``roots`` are folders and ``s3://`` prefixes."""

    roots: tuple[str, ...] = ()
    max_usd: Decimal | None = None
    approve_above_usd: Decimal | None = None
    max_runs: int | None = None

    @property
    def ceiling(self) -> Budget | None:
        """What an edition may cost, whatever its file and the form say."""
        return None if self.max_usd is None else Budget(usd=self.max_usd)

    def check_source(self, field: str, source: str) -> None:
        """Refuse a file that the form may not name. Raises SettingInvalid, which says nothing about the file."""
        if not is_below(source, (CAMPAIGNS, *self.roots)):
            raise SettingInvalid(
                f"{field}: {source[:80]!r} is not in a folder that a form may read",
                remedy=f"Put the file into {CAMPAIGNS}/, or ask for the folder to be added to {ROOTS} of the worker.",
            )

    def reference_roots(self, source: str | None) -> tuple[str, ...] | None:
        """Where objects may be that a campaign names as references; None for anywhere.

        The deployment's own campaigns are trusted with that; a pasted CSV (``source`` None) and files from a root,
        where more people may write, are not.
        """
        return None if source is not None and is_below(source, (CAMPAIGNS,)) else self.roots

    def approve_above(self, asked_usd: float) -> float:
        """The amount above which a run waits for approval: the lower of the two. 0 never asks."""
        own = math.inf if self.approve_above_usd is None else float(self.approve_above_usd)
        least = min(asked_usd or math.inf, own)
        return 0 if math.isinf(least) else least

    def runs(self, asked: int) -> int:
        """How many flow runs may share an edition."""
        return asked if self.max_runs is None else min(asked, self.max_runs)


def form_limits(environ: Mapping[str, str] = os.environ) -> FormLimits:
    """The limits of this worker. Raises SettingInvalid with all of their problems."""
    problems: list[str] = []
    runs = _number(environ, MAX_RUNS, problems)
    if runs is not None and runs != int(runs):
        problems.append(f"{MAX_RUNS}: not a whole number; write it like 4")
    limits = FormLimits(
        roots=_roots(environ, problems),
        max_usd=_number(environ, MAX_USD, problems),
        approve_above_usd=_number(environ, APPROVE_ABOVE_USD, problems),
        max_runs=None if runs is None else int(runs),
    )
    if problems:
        raise SettingInvalid("\n".join(problems), remedy="Change or unset it in the worker's environment.")
    return limits


def _roots(environ: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    roots = tuple(filter(None, map(str.strip, environ.get(ROOTS, "").split(","))))
    if any("://" in root.removeprefix(S3) or root == S3 for root in roots):
        problems.append(f"{ROOTS}: write folders and prefixes like /srv/campaigns, s3://bucket/campaigns")
    return roots


def _number(environ: Mapping[str, str], name: str, problems: list[str]) -> Decimal | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not is_amount(number):
        problems.append(f"{name}: not a number above 0 and below a billion; write it like 20")
        return None
    return number
