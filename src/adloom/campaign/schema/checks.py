"""Checks of a campaign file's values in a marketer's words; pydantic calls these before its own checks.

Each takes what the YAML reader made (text, list or mapping), returns it in the form that the model wants, and raises
pydantic's custom error with what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pydantic_core import PydanticCustomError

from adloom.campaign.problems import did_you_mean
from adloom.core.cheapest import CHEAPEST
from adloom.core.identity import slug
from adloom.core.locale import FALLBACK
from adloom.core.quoting import shown

OVERRIDES = ("id", "prompt", "variants", "size", "quality", "references", "grouping", "priority", "model")
"""Columns and keys of a row that are not variables."""

_FOCUS = "focus"
_LISTED = ("size", "quality", "model", "references")
_SLUG_LENGTH = 63
_SLUG = re.compile(r"[a-z0-9-]{1,63}")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,11}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}|fallback")
_SIDE_BY_SIDE = "zip: {name: [text, text], sku: [text, text]}, lists of equal length"
_HEAVIEST = 1_000_000
_WEIGHTS = "weights: {light: {golden hour: 3}}; values without one have 1"
_MONEY = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,8})?")


def fault(message: str, allowed: str) -> PydanticCustomError:
    """The error that pydantic is to report."""
    return PydanticCustomError("campaign", "{message}", {"message": message, "allowed": allowed})


def kind(value: object) -> str:
    """A value as a message names it."""
    if isinstance(value, str):
        return f"the text {shown(value)}" if value else "nothing"
    what = "list" if isinstance(value, list) else "mapping"
    return f"a {what}" if value else f"an empty {what}"


def text(value: object) -> object:
    """Text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise fault(f"text is needed here, this is {kind(value)}", "text on one line, or a block after |")
    return value


def number_text(value: object) -> object:
    """One number as text; how large it may be is checked with the rest of a row."""
    if not isinstance(value, str) or not value.strip():
        raise fault(f"a number is needed here, this is {kind(value)}", "digits only, for example 4")
    return value


def slug_text(value: object) -> object:
    """A name that is safe in every store and file system."""
    if value == "":
        raise fault("the name is empty", "1 to 63 of a-z, 0-9 and -, for example spring-launch")
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        meant = slug(value, 63) if isinstance(value, str) and len(value) <= _SLUG_LENGTH else ""
        near = f", did you mean {shown(meant)}?" if meant else ""
        raise fault(f"{kind(value)} cannot be a name{near}", "1 to 63 of a-z, 0-9 and -, for example spring-launch")
    return value


def whole_number(low: int, high: int) -> Callable[[object], object]:
    """A check for a whole number between two bounds, both allowed."""

    def check(value: object) -> object:
        if not isinstance(value, str) or not _WHOLE.fullmatch(value) or not low <= int(value) <= high:
            raise fault(f"{kind(value)} is not a whole number in range", f"{low} to {high:,}, digits only")
        return value

    return check


def amount(value: object) -> object:
    """A number above 0 with at most eight decimals."""
    if not isinstance(value, str) or not _MONEY.fullmatch(value) or not Decimal(value):
        raise fault(f"{kind(value)} is not an amount", "a number above 0 like 12.50, without a currency sign")
    return value


def one_of(*words: str) -> Callable[[object], object]:
    """A check for one of these words."""

    def check(value: object) -> object:
        if value not in words:
            near = did_you_mean(value, words) if isinstance(value, str) else ""
            raise fault(f"{kind(value)} is not known here{near}", "one of " + ", ".join(words))
        return value

    return check


def price(*qualities: str) -> Callable[[object], object]:
    """A check for an amount, or a mapping with one per quality."""
    quality = one_of(*qualities)

    def check(value: object) -> object:
        if isinstance(value, dict) and value:
            return {quality(name): amount(each) for name, each in value.items()}
        return amount(value)

    return check


def texts(value: object) -> object:
    """One text, or a list of one or more."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item.strip() for item in items):
        raise fault(
            f"text or a list of texts is needed here, this is {kind(value)}", 'for example "4:5" or ["1:1", "9:16"]'
        )
    stripped = [str(item).strip() for item in items]
    return stripped if isinstance(value, list) else stripped[0]


def each_once(value: object) -> object:
    """A list of texts, or one, without a repetition."""
    items = value if isinstance(value, list) else [value]
    texts(items)
    if len(set(items)) < len(items):
        raise fault("this list has a value twice", "each once")
    return items


def fallback_models(value: object) -> object:
    """A list of models, each once, or the one word that leaves the choice to adloom."""
    items = each_once(value)
    if isinstance(items, list) and CHEAPEST in items and len(items) > 1:
        raise fault(
            f"{shown(CHEAPEST)} leaves the choice to adloom, so it cannot be combined", "cheapest, or a list of models"
        )
    return items


def reference_list(value: object) -> object:
    """Texts, or an empty list, which takes a default away."""
    return [] if value == [] else texts(value)


def reference(value: object) -> object:
    """A bare address or path in its long form."""
    if isinstance(value, str) and value:
        return {"url": value} if "://" in value and not value.startswith("s3://") else {"file": value}
    return value


def _value_is_good(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_value_is_good(part) for part in value.values())
    return isinstance(value, str)


def axes(value: object) -> object:
    """The axes of a matrix, or the path of a CSV."""
    if isinstance(value, str) and value.strip():
        return value
    if not isinstance(value, dict) or not value:
        raise fault(f"axes are needed here, this is {kind(value)}", "axis: [value, value], or the path of a CSV")
    read = {name: _with_points_as_text(name, values) for name, values in value.items()}
    for name, values in read.items():
        if not name.isidentifier():
            raise fault(
                f"{shown(name)} cannot be the name of an axis", "letters, digits and _, not starting with a digit"
            )
        if name == "id":
            raise fault("an id cannot be an axis", "another name")
        if list_file(values):
            continue
        if not isinstance(values, list) or not values or not all(map(_value_is_good, values)):
            raise fault(
                f"the axis {shown(name)} needs a list with at least one value",
                "[text, text], [{name: text, …}], or {file: values.txt}",
            )
        if name in OVERRIDES and not all(isinstance(item, str) for item in values):
            raise fault(f"the axis {shown(name)} sets the row's {name}, so its values are plain text", "[text, text]")
    return read


def _with_points_as_text(name: str, values: object) -> object:
    """The values of an axis in which each focus is text, as a cell of a table has it."""
    if not isinstance(values, list):
        return values
    return [point_text(item) if name == _FOCUS else _with_point_as_text(item) for item in values]


def _with_point_as_text(item: Any) -> Any:  # noqa: ANN401 - what a file holds
    return {**item, _FOCUS: point_text(item[_FOCUS])} if isinstance(item, dict) and _FOCUS in item else item


def point_text(value: object) -> object:
    """A list of two texts as one text; anything else as it is."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):  # noqa: PLR2004
        return ", ".join(value)
    return value


def list_file(value: object) -> str:
    """The path of the file that an axis has its values from, empty for an axis without one."""
    named = value.get("file") if isinstance(value, dict) and len(value) == 1 else None
    return named if isinstance(named, str) and named.strip() else ""


def zips(value: object) -> object:
    """Axes with paired values: one mapping of them, or a list of such."""
    groups = value if isinstance(value, list) else [value]
    for group in groups:
        if not isinstance(group, dict) or not group:
            raise fault(f"lists of equal length are needed here, this is {kind(group)}", _SIDE_BY_SIDE)
    groups = [axes(group) for group in groups]
    if not groups:
        raise fault("an empty list is not allowed here", _SIDE_BY_SIDE)
    names = [name for group in groups if isinstance(group, dict) for name in group]
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        raise fault(f"{shown(repeated)} appears twice", "each name once")
    return groups


def prompt_text(value: object) -> object:
    """A template, or one per locale."""
    if not isinstance(value, dict):
        return text(value)
    if not value:
        raise fault("an empty mapping cannot be a prompt", "text, or a prompt for each locale: {en: …, zh-CN: …}")
    for locale, template in value.items():
        if not _LOCALE.fullmatch(locale):
            raise fault(f"{shown(locale)} is not a locale", "codes like en, zh-CN or pt-BR, and fallback")
        text(template)
    return value


def word_lists(value: object) -> object:
    """Words, or words by locale."""
    if isinstance(value, dict) and value:
        for locale, each in value.items():
            _check_locale(locale)
            texts(each)
        return {locale: each if isinstance(each, list) else [each] for locale, each in value.items()}
    read = texts(value)
    return read if isinstance(read, list) else [read]


def word_files(value: object) -> object:
    """The path of a file with words, or one per locale."""
    if not isinstance(value, dict) or not value:
        return text(value)
    for locale, each in value.items():
        _check_locale(locale)
        text(each)
    return value


def _check_locale(locale: str) -> None:
    if not _LOCALE.fullmatch(locale) or locale == FALLBACK:
        raise fault(f"{shown(locale)} is not a locale", "codes like en, zh-CN or pt-BR")


def weight_table(value: object) -> object:
    """How much more often than others values of axes are to be chosen: numbers by axis and value."""
    if not isinstance(value, dict) or not value:
        raise fault(f"weights by axis and value are needed here, this is {kind(value)}", _WEIGHTS)
    if wrong_axis := next((name for name, each in value.items() if not isinstance(each, dict) or not each), None):
        raise fault(f"{shown(wrong_axis)} needs weights by value, this is {kind(value[wrong_axis])}", _WEIGHTS)
    for name, each in value.items():
        if wrong := next((word for word in each.values() if not _is_weight(word)), None):
            raise fault(f"{kind(wrong)} is not a weight in {shown(name)}", "a number from 0 to 1,000,000 like 3 or 0.5")
    return value


def _is_weight(value: object) -> bool:
    return isinstance(value, str) and (value == "0" or bool(_MONEY.fullmatch(value))) and float(value) <= _HEAVIEST


def patterns(value: object) -> object:
    """The combinations that a job leaves out."""
    _check_list_of_mappings(value, "[{surface: linen, light: softbox}]")
    if isinstance(value, list) and not all(map(_value_is_good, value)):
        raise fault("a value in this list is empty or is a list", "[{surface: linen, light: softbox}]")
    return value


def _check_list_of_mappings(value: object, allowed: str) -> None:
    if not isinstance(value, list):
        raise fault(f"a list of mappings is needed here, this is {kind(value)}", allowed)
    wrong = next((item for item in value if not isinstance(item, dict) or not item), None)
    if wrong is not None:
        raise fault(f"a list of mappings is needed here, this one has {kind(wrong)}", allowed)


def extra_rows(value: object) -> object:
    """The rows that a job adds to its matrix."""
    _check_list_of_mappings(value, "[{surface: snow, light: dawn}]")
    rows = [_with_point_as_text(row) for row in value] if isinstance(value, list) else []
    for name, part in (entry for row in rows for entry in row.items()):
        if name == "references" and isinstance(part, list) and any(isinstance(item, dict) for item in part):
            raise fault("only a whole job can have the approved images of another as references", "names and addresses")
        if name in _LISTED and isinstance(part, list):
            (reference_list if name == "references" else texts)(part)
        elif not _value_is_good(part) or (name in OVERRIDES and not isinstance(part, str)):
            raise fault(f"{shown(name)} of an included row cannot be {kind(part)}", "text, or for a variable a mapping")
    return rows
