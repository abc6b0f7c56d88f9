"""The arguments and options that several commands share, and their conversion."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adloom.core.campaign import Budget, is_amount
from adloom.core.decision import Verdict
from adloom.core.errors import SettingInvalid
from adloom.core.outcomes import Status
from adloom.core.selection import Again

if TYPE_CHECKING:
    from adloom.targets import RunRequest

Source = Annotated[
    str,
    typer.Argument(help="A campaign: a .yaml, .csv or .xlsx file; book.xlsx#May is its sheet May.", show_default=False),
]
Target = Annotated[str, typer.Argument(help="A campaign file, or <archive>/<campaign>/<edition>.", show_default=False)]
Archive = Annotated[
    str | None, typer.Option(help="Where images are archived; by default ADLOOM_ARCHIVE, else ./archive.")
]
EditionName = Annotated[str, typer.Option(help="The issue of the campaign. Using the same one again resumes it.")]
BudgetUsd = Annotated[str | None, typer.Option(help="The cap in US dollars, instead of the file's budget.")]
AsJson = Annotated[bool, typer.Option("--json", help="The last line of output is one JSON object.")]
AsServerJson = Annotated[bool, typer.Option("--json", help="Print the address as a JSON object.")]
Model = Annotated[str | None, typer.Option(help="For a CSV: the model of rows that do not name one.")]
Size = Annotated[str | None, typer.Option(help="For a CSV: the size of rows that do not name one, such as 4:5.")]
Quality = Annotated[str | None, typer.Option(help="For a CSV: the quality of rows that do not name one, such as 2K.")]
Variants = Annotated[int | None, typer.Option(help="For a CSV: images per row where the row gives no number.")]
Prompt = Annotated[str | None, typer.Option(help="For a CSV: the prompt template of rows without a prompt.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Request again what ended as failed, short or refused, or was rejected.")
]
Refresh = Annotated[
    list[str] | None,
    typer.Option(metavar="JOB", help="Buy this job again with what is approved now of the job it has references from."),
]
Jobs = Annotated[list[str] | None, typer.Option("--job", help="Only this job.")]
Where = Annotated[
    str, typer.Option(help='Only rows that meet this condition, such as: locale == "zh-CN" and size == "9:16".')
]
First = Annotated[int | None, typer.Option(help="Only the first N rows.")]
Sample = Annotated[int | None, typer.Option(help="Only N rows, spread over the plan; always the same ones.")]
Seed = Annotated[str, typer.Option(help="A different seed selects a different sample.")]


def request_of(
    source: str,
    archive: str | None,
    edition: str,
    defaults: Any,  # noqa: ANN401 - imported late
    wish: Any,  # noqa: ANN401
) -> RunRequest:
    """The campaign that a command was asked for."""
    from adloom.targets import RunRequest  # noqa: PLC0415

    return RunRequest(source, archive, edition, wish, defaults)


def defaults_of(source: str, **given: Any) -> Any:  # noqa: ANN401 - imported late
    """The defaults for rows of a CSV or a workbook. Raises SettingInvalid for a YAML file, which has its own."""
    from adloom.campaign.files import Defaults  # noqa: PLC0415

    names = [f"--{name}" for name, value in given.items() if value is not None]
    if names and source.lower().endswith((".yaml", ".yml")):
        raise SettingInvalid(
            f"{', '.join(names)}: only for a CSV or a workbook, and {source} is a YAML file",
            remedy=f"Set {'it' if len(names) == 1 else 'them'} in the file.",
        )
    return Defaults(**given)


def budget_of(usd: str | None) -> Budget | None:
    """The cap of ``--budget-usd``. Raises SettingInvalid for what is not an amount."""
    if usd is None:
        return None
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        amount = Decimal(-1)
    if not is_amount(amount):
        raise SettingInvalid(f"--budget-usd {usd[:40]!r} is not an amount", remedy="Write it like --budget-usd 12.50.")
    return Budget(usd=amount)


_AGAIN: tuple[Again, ...] = (Status.FAILED, Status.SHORT, Status.REFUSED, Verdict.REJECTED)


def only_of(words: list[str]) -> frozenset[Again]:
    """The outcomes and the decision of ``--only``. Raises SettingInvalid for any other word."""
    allowed = {each.value: each for each in _AGAIN}
    for word in words:
        if word not in allowed:
            raise SettingInvalid(f"--only {word[:40]!r} is not known", remedy="Use failed, short, refused or rejected.")
    return frozenset(allowed[word] for word in words)
