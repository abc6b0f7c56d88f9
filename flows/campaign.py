"""The flows behind Prefect's forms: a campaign file, by hand or on a schedule, and a CSV in bulk.

A form's fields are flat and have defaults, choices and bounds; its help is the ``Args:`` of the docstring, the only
place where Prefect looks for it. No field is a secret: key and archive are those of the worker's environment.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from adloom.campaign.files import Defaults
from adloom.campaign.sources.workbook.reader import is_workbook
from adloom.core.campaign import Budget
from adloom.core.errors import AdloomError, CampaignInvalid, SettingInvalid
from adloom.core.identity import slug
from adloom.core.selection import Selection, again
from adloom.orchestration.approval import ask_for_approval
from adloom.orchestration.artifacts import Artifacts
from adloom.orchestration.editions import edition_of_flow_run
from adloom.orchestration.form_files import FILES, CampaignFile
from adloom.orchestration.form_limits import FormLimits, form_limits
from adloom.orchestration.purchase import Prepared, buy, interrupt_on_sigterm
from adloom.orchestration.shares import shares_of, start_others
from adloom.orchestration.states import bad_input
from adloom.plan.assessment import Share, Wish
from adloom.plan.text import plan_lines
from adloom.targets import RunRequest, open_store, settings_for
from adloom.wiring import assessment_of

PASTED_CHARACTERS = 100_000
"""Prefect's server takes 512 KiB of parameters; a character can need six bytes there. More rows come as a file."""

Only: TypeAlias = Literal["what is missing", "failed", "short", "refused", "rejected"]
Size: TypeAlias = Literal["auto", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"]
Quality: TypeAlias = Literal["1K", "1.5K", "2K", "3K", "4K"]
Model: TypeAlias = Literal[
    "doubao-seedream-4.0",
    "doubao-seedream-4.5",
    "doubao-seedream-5.0-lite",
    "doubao-seedream-5.0-flash",
    "doubao-seedream-5.0-pro",
]
Dollars: TypeAlias = Annotated[float, Field(ge=0)]
Runs: TypeAlias = Annotated[int, Field(ge=1, le=16)]


@flow(name="campaign", retries=0, persist_result=False)
async def run_campaign(
    campaign: CampaignFile = FILES[0],
    other_campaign: str = "",
    edition: str = "",
    budget_usd: Dollars = 0,
    dry_run: bool = True,
    only: Only = "what is missing",
    refresh: str = "",
    first_rows: Annotated[int, Field(ge=0)] = 0,
    job: str = "",
    where: str = "",
    approve_above_usd: Dollars = 20,
    runs: Runs = 1,
) -> State[Any]:
    """Buy what is missing of a campaign, archive every image, write the manifest.

    Args:
        campaign: The campaign file. A new file is in this list once `make up` or `prefect deploy --all` has run again.
        other_campaign: A campaign file that is not in the list, by its path in campaigns/ or in another place that
            the worker allows. Empty: the one chosen above.
        edition: One issue of the campaign, such as 2026-03-01. The same again buys only what is missing; another one
            buys new images. Empty: "main", and for a scheduled run its date.
        budget_usd: The most that this edition may cost in US dollars. 0: the budget in the campaign file.
        dry_run: On: show what would be bought and what it would cost, and send nothing.
        only: Request images again that ended as failed, short or refused, or that were rejected. They are paid for.
        refresh: Buy this job again with what is approved now of the job that it has references from; several are
            separated by commas. Empty: none.
        first_rows: Only the first N rows of the campaign, as a preview. 0: all.
        job: Only this job of the campaign; several are separated by commas. Empty: all.
        where: Only rows for which this is true, such as locale == "zh-CN". Empty: all.
        approve_above_usd: Above this amount the run waits for approval before the first purchase. 0: never.
        runs: How many flow runs share the work, each on a free worker. For thousands of images.
    """
    try:
        limits = form_limits()
        source = other_campaign.strip() or campaign
        limits.check_source("other_campaign" if other_campaign.strip() else "campaign", source)
        wish = Wish(
            budget=Budget(usd=Decimal(str(budget_usd))) if budget_usd else None,
            only=frozenset() if only == "what is missing" else frozenset({again(only)}),
            selection=selection_of(job, where, first_rows),
            ceiling=limits.ceiling,
            refresh=frozenset(names_of(refresh)),
        )
        name = edition.strip() or await edition_of_flow_run()
        request = RunRequest(source, None, name, wish, reference_roots=limits.reference_roots(source))
        asked = _Asked(dry_run, limits.approve_above(approve_above_usd), limits.runs(runs))
        return await _plan_or_buy(request, asked)
    except AdloomError as error:
        return bad_input(error)


@flow(name="csv", retries=0, persist_result=False)
async def run_csv(
    csv_file: str = "",
    csv_text: Annotated[str, Field(max_length=PASTED_CHARACTERS)] = "",
    name: str = "",
    prompt: str = "",
    model: Model = "doubao-seedream-4.0",
    size: Size = "auto",
    pixels: str = "",
    quality: Quality = "2K",
    variants: Annotated[int, Field(ge=1, le=1000)] = 1,
    budget_usd: Annotated[float, Field(gt=0)] = 5,
    edition: str = "",
    dry_run: bool = True,
    approve_above_usd: Dollars = 20,
    runs: Runs = 1,
) -> State[Any]:
    """Buy the images of a CSV: one row is one prompt, other columns are variables of the prompt template.

    Args:
        csv_file: Path of a .csv or .xlsx file in campaigns/ or in another place that the worker allows. Empty: the text
            pasted below.
        csv_text: The CSV itself, pasted from a spreadsheet, with its header line, for small jobs. Give a large one as a
            file.
        name: The name of a pasted CSV, such as lip-balm-banners. The same name again, in the same edition, buys only
            what is missing.
            Empty: a name made from its text.
        prompt: The prompt of rows without one, with columns in double braces, as in "{{ product }} on marble".
        model: The model of rows that do not name one.
        size: The shape of images whose row does not name one.
        pixels: Exact pixels such as 2048x1152, in place of the shape. Empty: the shape and quality.
        quality: The quality of images whose row does not name one.
        variants: Images per row where the row gives no number.
        budget_usd: The most that this edition may cost in US dollars.
        edition: One issue of the job, such as 2026-03-01. Empty: "main", and for a scheduled run its date.
        dry_run: On: show what would be bought and what it would cost, and send nothing.
        approve_above_usd: Above this amount the run waits for approval before the first purchase. 0: never.
        runs: How many flow runs share the work of a csv_file, each on a free worker. For thousands of images.
    """
    defaults = Defaults(
        model=model, size=pixels.strip() or size, quality=quality, variants=variants, prompt=prompt.strip() or None
    )
    try:
        limits = form_limits()
        if csv_text.strip() and runs > 1:
            raise SettingInvalid(
                f"runs: {runs} cannot share a pasted CSV, because only one of them has it",
                remedy="Set runs to 1, or save the CSV where every worker can read it and fill in csv_file.",
            )
        issue = edition.strip() or await edition_of_flow_run()
        wish = Wish(budget=Budget(usd=Decimal(str(budget_usd))), ceiling=limits.ceiling)
        with csv_source(csv_file.strip(), csv_text, name.strip(), limits) as source:
            references = limits.reference_roots(csv_file.strip() or None)
            request = RunRequest(source, None, issue, wish, defaults, references)
            asked = _Asked(dry_run, limits.approve_above(approve_above_usd), limits.runs(runs))
            return await _plan_or_buy(request, asked)
    except AdloomError as error:
        return bad_input(error)


def selection_of(job: str, where: str, first_rows: int) -> Selection:
    """What the fields of a form select."""
    return Selection(names_of(job), where.strip(), first_rows or None)


def names_of(text: str) -> tuple[str, ...]:
    """The names in a field that takes several, with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def csv_source(file: str, text: str, name: str, limits: FormLimits) -> Iterator[str]:
    """The file that a CSV job is read from. A pasted one is named after the job: its rows are known by that name.

    One without a name gets it from its text, so that the same text again buys nothing.

    Raises SettingInvalid for a form that does not say which, or names a file that it may not.
    """
    if bool(file) == bool(text.strip()):
        which = "both csv_file and csv_text are" if file else "neither csv_file nor csv_text is"
        raise SettingInvalid(f"{which} filled in", remedy="Fill in one of them.")
    if file:
        if not file.lower().endswith(".csv") and not is_workbook(Path(file)):
            raise SettingInvalid(
                f"csv_file: {file[:80]!r} is not a .csv or .xlsx file", remedy="Save the spreadsheet as one of them."
            )
        limits.check_source("csv_file", file)
        yield file
        return
    name = name or f"pasted-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if slug(name, 63) != name:
        meant = f", such as {slug(name, 63)}" if slug(name, 63) else ", such as lip-balm-banners"
        raise SettingInvalid(
            f"name: {name[:80]!r} is not a valid job name", remedy=f"Use lower-case letters, digits and dashes{meant}."
        )
    with tempfile.TemporaryDirectory(prefix="adloom-") as folder:
        path = Path(folder) / f"{name}.csv"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            yield str(path)
        except CampaignInvalid as error:
            problems = (replace(problem, file=problem.file.replace(str(path), path.name)) for problem in error.problems)
            raise CampaignInvalid(tuple(problems)) from None


class _Asked(NamedTuple):
    """What a form asks for in addition to what to buy, within the worker's limits."""

    dry_run: bool
    approve_above_usd: float
    runs: int


async def _plan_or_buy(request: RunRequest, asked: _Asked) -> State[Any]:
    settings = settings_for(request)
    store = open_store(settings.archive)
    assessment = await assessment_of(request, settings, store, to_run=not asked.dry_run)
    board = Artifacts(assessment.edition, is_sandbox=settings.loopback)
    await board.name_run()
    lines = plan_lines(assessment)
    await board.show_plan(lines)
    if asked.dry_run:
        return Completed(name="Planned", message="\n".join((*lines, "Nothing was sent: switch dry_run off to buy.")))
    if (declined := await ask_for_approval(assessment, asked.approve_above_usd)) is not None:
        return declined
    if (shares := shares_of(assessment, asked.runs)) > 1:
        await start_others(request, shares)
        assessment = replace(assessment, wish=replace(assessment.wish, share=Share(0, shares)))
    return await buy(Prepared(settings, store, assessment, interrupt_on_sigterm))
