"""The commands about campaign files: explain a row, write the schema for editors, make a starter project."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adloom.core.errors import InputError
from adloom.core.exits import EXIT_OK

if TYPE_CHECKING:
    from adloom.core.explanation import Explanation, Part
    from adloom.targets import RunRequest

ROWS_EXPLAINED = 10
SCHEMA_FILE = "campaign.schema.json"
STARTER = ("campaign.yaml", "rows.csv", "README.md", ".gitignore")


def explain_rows(request: RunRequest, wanted: str, *, as_json: bool) -> int:
    """Show how the rows of a job, or one row, were put together. Raises InputError."""
    from adloom.campaign.explain import explain  # noqa: PLC0415
    from adloom.targets import open_source, settings_for  # noqa: PLC0415

    explanations, count = explain(open_source(request, settings_for(request)), wanted, ROWS_EXPLAINED)
    blocks = ["\n".join(_lines(each)) for each in explanations]
    if count > len(explanations):
        blocks.append(f"… and {count - len(explanations):,} more rows of this job; name one: --explain JOB/ROW")
    typer.echo("\n\n".join(blocks), err=as_json)
    if as_json:
        rows = [_as_data(each) for each in explanations]
        typer.echo(json.dumps({"explained": rows, "rows": count}, ensure_ascii=False))
    return EXIT_OK


def write_schema(path: Path | None, *, as_json: bool) -> int:
    """Write the JSON schema of campaign files for editors, to a file or to stdout. Raises InputError."""
    if path is None:
        text = _schema_text()
        typer.echo(json.dumps(json.loads(text), ensure_ascii=False) if as_json else text.rstrip("\n"))
        return EXIT_OK
    try:
        path.write_text(_schema_text(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="Choose another place.") from error
    told = f"wrote {path}; first line of a campaign file next to it:\n# yaml-language-server: $schema={path.name}"
    typer.echo(told, err=as_json)
    if as_json:
        typer.echo(json.dumps({"wrote": [str(path)]}, ensure_ascii=False))
    return EXIT_OK


def make_project(folder: Path, *, as_json: bool) -> int:
    """Create a starter project that plans and runs at once. Raises InputError rather than overwrite anything."""
    contents = {name: files("adloom").joinpath("starter", name).read_text(encoding="utf-8") for name in STARTER}
    contents[SCHEMA_FILE] = _schema_text()
    _refuse_overwriting(folder, list(contents))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            with (folder / name).open("x", encoding="utf-8", newline="\n") as file:
                file.write(content)
    except OSError as error:
        message = f"{folder}: the project cannot be created: {error.strerror}"
        raise InputError(message, remedy="Choose another folder, or fix its permissions.") from error
    typer.echo("\n".join([f"created {folder}: {', '.join(contents)}", *_NEXT]).format(folder=folder), err=as_json)
    if as_json:
        typer.echo(json.dumps({"wrote": [str(folder / name) for name in contents]}, ensure_ascii=False))
    return EXIT_OK


_NEXT = (
    "next, no key needed, no money spent:",
    "  adloom plan {folder}/campaign.yaml",
    "  adloom run {folder}/campaign.yaml --sandbox --archive {folder}/trial",
)


def _refuse_overwriting(folder: Path, names: list[str]) -> None:
    taken = [name for name in names if (folder / name).exists() or (folder / name).is_symlink()]
    if taken:
        raise InputError(
            f"{folder} already has files that init would write: {', '.join(taken)}. Nothing was written.",
            remedy="Choose a new folder, for example: adloom init my-campaign",
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file.", remedy="Choose a new folder, for example: adloom init my-campaign")


def _schema_text() -> str:
    from adloom.campaign.schema.campaign import editor_schema  # noqa: PLC0415 - pydantic takes a while to import

    return json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"


def _lines(explained: Explanation) -> list[str]:
    """One row in words: where it is, what filled its template, what it is made with, what is sent."""
    row = explained.row
    lines = [f"{row.job}/{row.name}", f"  row       {explained.place}"]
    lines += _parts("template", (explained.template,), named=False)
    lines += _parts("axis" if explained.is_combination else "variable", explained.variables)
    lines += _parts("setting", explained.settings)
    lines.append(f"  prompt    {row.prompt}")
    return lines + [f"  sent      {count} × {sent}" for sent, count in _sent(explained).items()]


def _parts(kind: str, parts: tuple[Part, ...], *, named: bool = True) -> list[str]:
    return [
        f"  {kind:<9} {f'{part.name} = ' if named else ''}{part.value or '(empty)'}   [{part.origin}]" for part in parts
    ]


def _sent(explained: Explanation) -> dict[str, int]:
    """The prompts of the calls that buy the whole row, each with how many calls send it."""
    from adloom.core.limits import images_per_call  # noqa: PLC0415
    from adloom.core.prompt import sent_prompt  # noqa: PLC0415
    from adloom.core.split import split  # noqa: PLC0415

    row = explained.row
    sent: dict[str, int] = {}
    most = images_per_call(row.model)
    for numbers in split(range(row.variants), references=len(row.references), grouping=row.grouping, most=most):
        prompt = sent_prompt(row.prompt, len(numbers))
        sent[prompt] = sent.get(prompt, 0) + 1
    return sent


def _as_data(explained: Explanation) -> dict[str, Any]:
    row = explained.row
    return {
        "job": row.job,
        "row": row.name,
        "place": explained.place,
        "prompt": row.prompt,
        "template": _part(explained.template),
        "variables": {part.name: _part(part) for part in explained.variables},
        "settings": {part.name: _part(part) for part in explained.settings},
        "sent": list(_sent(explained)),
    }


def _part(part: Part) -> dict[str, str]:
    return {"value": part.value, "origin": part.origin}
