"""The shape of a campaign file: pydantic models, and their errors in a marketer's words.

Every scalar arrives as text. These models check shapes, whole numbers and closed word lists; what depends on the limits
profile (sizes, qualities, reference counts) is checked for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails, core_schema

from adloom.campaign.chains import references_of_job
from adloom.campaign.problems import Report, did_you_mean
from adloom.campaign.schema.checks import (
    amount,
    axes,
    extra_rows,
    fallback_models,
    fault,
    kind,
    number_text,
    one_of,
    patterns,
    price,
    prompt_text,
    reference,
    slug_text,
    text,
    texts,
    weight_table,
    whole_number,
    word_files,
    word_lists,
    zips,
)
from adloom.campaign.schema.delivery import (
    AfterRun,
    ChannelFile,
    ChannelNames,
    ChannelsFile,
    FocusText,
    Marking,
    MarkingFile,
    RightsFile,
    SafeFile,
    Share,
)
from adloom.campaign.sources.yaml_tree import Document, Path, Tree
from adloom.core.campaign import Budget, Duplicates, Grouping, Pace
from adloom.core.cheapest import CHEAPEST
from adloom.core.limits import MODELS, OPTIONS, PRIORITIES, PROFILES, QUALITIES, WIDE_RATIOS
from adloom.core.quoting import shown
from adloom.core.spelling import nearest

Text: TypeAlias = Annotated[str, BeforeValidator(text)]
Slug: TypeAlias = Annotated[str, BeforeValidator(slug_text), Field(pattern=r"^[a-z0-9-]{1,63}$")]
Texts: TypeAlias = Annotated[str | tuple[str, ...], BeforeValidator(texts)]
_APPROVED: dict[str, Any] = {
    "type": "object",
    "properties": {"job": {"type": "string"}, "approved": {"const": True}},
    "required": ["job", "approved"],
    "additionalProperties": False,
}
_REFERENCE: dict[str, Any] = {"anyOf": [{"type": "string"}, _APPROVED]}
References: TypeAlias = Annotated[
    str | tuple[str, ...],
    BeforeValidator(references_of_job),
    WithJsonSchema({"anyOf": [*_REFERENCE["anyOf"], {"type": "array", "items": _REFERENCE}]}),
]
_Counted: TypeAlias = Annotated[str, BeforeValidator(number_text), WithJsonSchema({"type": ["integer", "string"]})]
Amount: TypeAlias = Annotated[Decimal, BeforeValidator(amount)]
_Scalar: TypeAlias = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
_Value: TypeAlias = _Scalar | dict[str, Any]
_ListFile: TypeAlias = dict[str, str]
_AXIS: dict[str, Any] = {
    "anyOf": [{"type": "array"}, {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}]
}


Switch: TypeAlias = Annotated[str, BeforeValidator(text), WithJsonSchema({"type": "boolean"})]


_ZIP_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "object", "additionalProperties": _AXIS}, {"type": "array", "items": {"type": "object"}}]}
)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Model: TypeAlias = Annotated[str, BeforeValidator(one_of(*MODELS))]
_FallbackModel: TypeAlias = Annotated[str, BeforeValidator(one_of(*MODELS, CHEAPEST))]
_FALLBACK_SCHEMA = WithJsonSchema(
    {"anyOf": [{"const": CHEAPEST}, {"type": "array", "items": {"enum": [*MODELS]}}, {"enum": [*MODELS]}]}
)
_Price: TypeAlias = Annotated[Decimal | dict[str, Decimal], BeforeValidator(price(*QUALITIES))]


class BudgetFile(_File):
    """A cap on what an edition may spend; exactly one of the three."""

    usd: Amount | None = None
    credits: Amount | None = None
    images: Annotated[int, BeforeValidator(whole_number(1, 10_000_000))] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> BudgetFile:
        if len(self.model_fields_set) != 1:
            raise fault(
                f"a budget has exactly one amount, this one has {len(self.model_fields_set)}", "usd, credits or images"
            )
        return self

    def value(self) -> Budget:
        """The budget as the core knows it."""
        return Budget(self.usd, self.credits, self.images)


class PaceFile(_File):
    """How fast a run may buy."""

    in_flight: Annotated[int, BeforeValidator(whole_number(1, 1000))] = 16
    submits_per_minute: Annotated[int, BeforeValidator(whole_number(1, 100_000))] | None = None

    def value(self) -> Pace:
        """The pace as the core knows it."""
        return Pace(self.in_flight, self.submits_per_minute)


class SettingsFile(_File):
    """What a row is made with. A list of sizes, qualities or models is an axis."""

    variants: _Counted | None = Field(None, description="images wanted per row, 1 to 1,000")
    size: Texts | None = Field(None, description="a ratio or pixels such as 2048x2048", examples=[*WIDE_RATIOS])
    quality: Texts | None = Field(None, examples=[*QUALITIES])
    grouping: Text | None = Field(None, json_schema_extra={"enum": [*Grouping]})
    priority: Text | None = Field(None, json_schema_extra={"enum": [*PRIORITIES]})
    model: Texts | None = Field(None, examples=[*MODELS])
    output_format: Text | None = Field(None, json_schema_extra={"enum": [*OPTIONS["output_format"]]})
    background: Text | None = Field(None, json_schema_extra={"enum": [*OPTIONS["background"]]})
    watermark: Switch | None = Field(None, description="a visible mark that the API puts on the image")
    web_search: Switch | None = Field(None, description="the model may search the web; each search is charged")
    deliver: ChannelNames | None = Field(None, description="the channels that images are cut for")
    focus: FocusText | None = Field(None, description="the point that every crop keeps, or auto")
    alt: Text | None = Field(None, description="what the image shows, for people who do not see it; a template")
    name: Text | None = Field(None, description="what delivered files are called; a template")


class ReferenceFile(_File):
    """A reference image under a name: one address or one file."""

    url: Text | None = None
    file: Text | None = None
    rights: RightsFile | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ReferenceFile:
        if len(self.model_fields_set - {"rights"}) != 1:
            raise fault("a reference is one address or one file", "{url: https://…} or {file: path or s3://…}")
        return self


_NamedReference: TypeAlias = Annotated[
    ReferenceFile, BeforeValidator(reference, json_schema_input_type=str | ReferenceFile)
]


class SampleFile(_File):
    """A stable choice of some combinations."""

    count: Annotated[int, BeforeValidator(whole_number(1, 1_000_000))] | None = None
    seed: _Counted = "0"
    axes: dict[str, Annotated[int, BeforeValidator(whole_number(1, 1_000_000))]] = Field(
        default_factory=dict, description="how many values of an axis are taken"
    )
    weights: Annotated[dict[str, dict[str, float]], BeforeValidator(weight_table)] = Field(
        default_factory=dict, description="how much more often than others values are taken, by axis and value"
    )

    @model_validator(mode="after")
    def _takes_something(self) -> SampleFile:
        if self.count is None and not self.axes:
            raise fault("a sample needs a count, or axes", "{count: 6, seed: 7}, or {axes: {light: 2}}")
        return self


class JobFile(SettingsFile):
    """One block of the campaign file."""

    id: Slug
    prompt: Annotated[str | dict[str, str], BeforeValidator(prompt_text)] | None = Field(
        None, description="the template, or one for each locale and a fallback for all others"
    )
    references: References | None = Field(
        None, description="names, addresses (http, https, s3), paths, or the approved images of another job"
    )
    matrix: Annotated[str | dict[str, list[_Value] | _ListFile], BeforeValidator(axes)] | None = None
    zip: Annotated[list[dict[str, list[_Value] | _ListFile]], BeforeValidator(zips), _ZIP_SCHEMA] = Field(
        default_factory=list, description="axes whose values go side by side"
    )
    rows: Text | None = Field(None, description="the path of a CSV with one row per line")
    exclude: Annotated[list[dict[str, _Value]], BeforeValidator(patterns)] = Field(default_factory=list)
    include: Annotated[list[dict[str, Any]], BeforeValidator(extra_rows)] = Field(default_factory=list)
    sample: SampleFile | None = None


class WordsFile(_File):
    """Words that prompts may not have, and words that they must have; a list for all locales, or one for each."""

    forbid: Annotated[list[str] | dict[str, list[str]], BeforeValidator(word_lists)] = Field(default_factory=list)
    require: Annotated[list[str] | dict[str, list[str]], BeforeValidator(word_lists)] = Field(default_factory=list)
    file: Annotated[str | dict[str, str], BeforeValidator(word_files)] = Field(
        "", description="a text file of forbidden words, one per line, or one for each locale"
    )


class HeadFile(_File):
    """Everything of a campaign file but its jobs."""

    campaign: Slug
    model: Text | None = None
    budget: BudgetFile | None = None
    limits: PaceFile = PaceFile()
    profile: Annotated[str, BeforeValidator(one_of(*PROFILES)), Field(json_schema_extra={"enum": [*PROFILES]})] = (
        "strict"
    )
    defaults: SettingsFile = SettingsFile()
    references: dict[str, _NamedReference] = Field(default_factory=dict)
    prices: dict[_Model, _Price] = Field(default_factory=dict, description="credits per image, optionally by quality")
    fallback: Annotated[tuple[_FallbackModel, ...], BeforeValidator(fallback_models), _FALLBACK_SCHEMA] = Field(
        (), description="models to use if a row's own is unavailable, or cheapest"
    )
    callback_url: Text | None = None
    check_references: Annotated[str, BeforeValidator(one_of("true", "false")), WithJsonSchema({"type": "boolean"})] = (
        Field("false", description="look at reference addresses before anything is bought")
    )
    duplicates: Annotated[Duplicates, BeforeValidator(one_of(*Duplicates))] = Duplicates.KEEP
    words: WordsFile | None = None
    channels: ChannelsFile = Field(default_factory=dict, description="the campaign's own channels")
    keep: Share | None = Field(None, description="the share of an image that size: fit keeps at least; 0.6 by default")
    marking: Marking | None = Field(None, description="what is written into delivered files, or off")
    rights: RightsFile | None = Field(None, description="what may be done with the images")
    after_run: AfterRun = Field((), description="what every run ends with", examples=[["deliver"], ["sheet"]])


class CampaignFile(HeadFile):
    """A whole campaign file. Its JSON schema is for editors."""

    PARTS: ClassVar[Mapping[Path, type[BaseModel]]] = {
        ("budget",): BudgetFile,
        ("limits",): PaceFile,
        ("words",): WordsFile,
        ("defaults",): SettingsFile,
        ("references", "*"): ReferenceFile,
        ("references", "*", "rights"): RightsFile,
        ("channels", "*"): ChannelFile,
        ("channels", "*", "safe"): SafeFile,
        ("marking",): MarkingFile,
        ("rights",): RightsFile,
        ("jobs", "*"): JobFile,
        ("jobs", "*", "sample"): SampleFile,
    }

    jobs: list[JobFile] = Field(min_length=1)


def editor_schema() -> dict[str, Any]:
    """The JSON schema of a campaign file, by which editors complete and check one while it is written."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **CampaignFile.model_json_schema(schema_generator=_EditorSchema),
        "title": "adloom campaign",
    }


STAND_IN = "a stand-in for a prompt that cannot be read"


class _EditorSchema(GenerateJsonSchema):
    """Keys may be left out but not left empty, and names speak for themselves."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own signature
        return False


def read_head(document: Document, content: Mapping[str, Tree], report: Report) -> HeadFile:
    """The head of a campaign file. Parts with problems are reported and treated as missing."""
    head = {name: value for name, value in content.items() if name != "jobs"}
    try:
        return HeadFile.model_validate(head)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        report_errors(document, (), errors, report)
        bad = {error["loc"][0] for error in errors if error["loc"]}
        return HeadFile.model_validate({"campaign": "unnamed"} | {n: v for n, v in head.items() if n not in bad})


def read_jobs(document: Document, content: Mapping[str, Tree], report: Report) -> list[tuple[int, JobFile]]:
    """The jobs that can be read, each with its position in the file; the others are reported."""
    jobs = content.get("jobs")
    if not isinstance(jobs, list) or not jobs:
        allowed = "jobs: with one block per job, starting with - id: hero"
        report.add(document.place(("jobs",), of_key=True), "a campaign needs a list of jobs", allowed)
        return []
    read: list[tuple[int, JobFile]] = []
    lines: dict[str, int] = {}
    for position, job in enumerate(jobs):
        try:
            read.append((position, JobFile.model_validate(job)))
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
            report_errors(document, ("jobs", position), errors, report)
            if (sound := _sound_part(job, errors)) is not None:
                read.append((position, sound))
        if isinstance(job, dict) and isinstance(name := job.get("id"), str):
            place = document.place(("jobs", position, "id"))
            if lines.setdefault(name, place.line) != place.line:
                report.add(place, f"the job id {shown(name)} is already taken in line {lines[name]}", "each id once")
    return read


_MAKES_ROWS = ("prompt", "matrix", "zip", "rows", "exclude", "include", "sample")


def _sound_part(job: object, errors: Sequence[ErrorDetails]) -> JobFile | None:
    """A job without its problems, so that the rest is checked as well; None if nothing is left to check.

    Nothing is bought of a campaign with such a job. If its row source is wrong, one row represents all.
    """
    bad = {str(error["loc"][0]) for error in errors if error["loc"]}
    if not isinstance(job, dict) or not bad:
        return None
    sound = {name: value for name, value in job.items() if name not in bad}
    bad |= {near for name in bad - {*JobFile.model_fields} for near in nearest(name, _MAKES_ROWS)}
    if bad.intersection(_MAKES_ROWS):
        sound = {name: value for name, value in sound.items() if name not in _MAKES_ROWS} | {"prompt": STAND_IN}
    try:
        return JobFile.model_validate({"id": "unnamed"} | sound)
    except ValidationError:
        return None


def report_errors(document: Document, prefix: Path, errors: Sequence[ErrorDetails], report: Report) -> None:
    """Report pydantic's errors in plain words, each at its place in the file."""
    for error in errors:
        path = tuple(part for part in (*prefix, *error["loc"]) if part != "[key]")  # pydantic's mark for a bad key
        name = str(path[-1]) if path else ""
        if error["type"] == "extra_forbidden":
            message, allowed = _unknown_key(name, path[:-1])
        elif error["type"] == "missing":
            report.add(document.place(path[:-1]), f"{shown(name)} is missing", _MISSING.get(name, ""))
            continue
        else:
            at = "" if name.isdecimal() or "[key]" in error["loc"] else f"{name}: "
            context = error.get("ctx", {})
            message = at + context.get("message", f"{kind(error['input'])} is not allowed here")
            allowed = context.get("allowed", _EXAMPLES.get(name, _NEEDED.get(error["type"], "")))
        of_key = error["type"] == "extra_forbidden" or "[key]" in error["loc"]
        report.add(document.place(path, of_key=of_key), message, allowed)


def _unknown_key(name: str, path: Path) -> tuple[str, str]:
    """The message about a key that does not exist at this path."""
    known = _keys_at(path)
    if not path and name in JobFile.model_fields:
        place = "a job or in defaults" if name in SettingsFile.model_fields else "a job"
        return f"the key {shown(name)} belongs in {place}", "known here: " + ", ".join(known)
    return f"unknown key {shown(name)}{did_you_mean(name, known)}", "known here: " + ", ".join(known)


_EXAMPLES = {
    "budget": "like budget: {usd: 12.50}",
    "limits": "like limits: {in_flight: 16}",
    "defaults": 'like defaults: {variants: 4, size: "4:5"}',
    "words": "like words: {forbid: [cheap]}",
    "sample": "like sample: {count: 6, seed: 7}",
    "axes": "like axes: {light: 2}",
    "references": "like references: {bottle: {file: references/bottle.png}}",
    "prices": "like prices: {doubao-seedream-4.0: 1.53}",
    "channels": "like channels: {shop-hero: {pixels: 2000x800, max_bytes: 200000}}",
    "marking": "off, or like marking: {creator: ACME}",
    "rights": "like rights: {owner: ACME, valid_until: 2027-03-31}",
    "safe": "like safe: {top: 0.14, bottom: 0.2}",
}
_MISSING = {
    "campaign": "a name, like campaign: spring-launch",
    "id": "a name for the job, like id: hero",
}
_NEEDED = {
    "dict_type": "a mapping, key: value",
    "model_type": "a mapping, key: value",
    "model_attributes_type": "a mapping, key: value",
    "list_type": "a list",
    "string_type": "text",
}


def _keys_at(path: Path) -> list[str]:
    """The keys that are known at a path of a campaign file."""
    for pattern, model in CampaignFile.PARTS.items():
        if len(pattern) == len(path) and all(want in ("*", part) for want, part in zip(pattern, path, strict=True)):
            return list(model.model_fields)
    return list(CampaignFile.model_fields)
