"""The settings of a row, checked against the limits profile before anything is spent.

Texts go in (a cell, a key of the file, an option), values or faults come out. Equal settings are checked once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import TypeAlias

from adloom.campaign.chains import link_of
from adloom.campaign.problems import did_you_mean
from adloom.campaign.references.reader import ReferenceReader
from adloom.core.campaign import Grouping, Options
from adloom.core.chain import Chains
from adloom.core.family import Unsupported, standing_options, unsupported
from adloom.core.limits import (
    DEFAULT_MODEL,
    MODELS,
    OPTIONS,
    PRIORITIES,
    REFERENCES_AND_IMAGES,
    SIDE_RATIO,
    VARIANTS_PER_ROW,
    WIDE_RATIOS,
    Profile,
    images_per_call,
)
from adloom.core.quoting import shown
from adloom.core.reference import Reference, approved_images_of
from adloom.edges.addresses import BadAddress

Texts: TypeAlias = "str | tuple[str, ...]"
Settings: TypeAlias = Mapping[str, Texts]

AXES = ("size", "quality", "model")
"""The settings that may hold a list, in the order of their values in names."""

STANDARD: Settings = {
    "model": DEFAULT_MODEL, "size": "auto", "quality": "", "variants": "1", "grouping": "set", "priority": "standard",
    "references": (), **dict.fromkeys(OPTIONS, ""),
}  # fmt: skip

_in_order = itemgetter(*STANDARD)
_PIXELS = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::00)?(?: [AP]M)?")
_WHOLE = re.compile(r"[1-9][0-9]{0,5}")
_MISTYPED = str.maketrans("：×*/", ":xx:")
_CACHED = 4096
_QUALITIES = frozenset(quality for model in MODELS.values() for quality in model.qualities)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one setting, and what would be right."""

    setting: str
    message: str
    allowed: str


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One choice of the three settings that can be axes; ``axes`` are the texts of those that are.

    With ``faults`` its model does not accept it: an error unless the job excludes it.
    """

    model: str
    size: str
    quality: str
    axes: tuple[str, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class RowSettings:
    """All settings of a row. With ``faults`` the other fields are the parts that could be read."""

    formats: tuple[OutputFormat, ...]
    priority: str
    grouping: Grouping
    variants: int
    references: tuple[Reference, ...]
    options: Options
    faults: tuple[Fault, ...]
    named: tuple[Reference, ...]
    """The references as the file names them, a job's approved images as one: a row stays itself when these change."""

    def most_images(self, model: str) -> int:
        """The largest ``n`` that a call of the row to a model can have."""
        return _most_images(self.grouping, self.variants, images_per_call(model), len(self.references))


class SettingsReader:
    """Checks the settings of a campaign's rows."""

    def __init__(self, profile: Profile, references: ReferenceReader, fallback: tuple[str, ...] = ()) -> None:
        """Set ``fallback``: the models that every row has to fit in addition to its own."""
        self._profile = profile
        self._references = references
        self._fallback = fallback
        self._checked = lru_cache(_CACHED)(self._check)

    @property
    def ratios(self) -> tuple[str, ...]:
        """The ratios that may be asked for, but for ``auto``."""
        return tuple(ratio for ratio in self._profile.ratios if ratio != "auto")

    @property
    def converted(self) -> Mapping[str, str]:
        """The format of each reference file that is converted before it is hosted, by its name."""
        return self._references.converted

    def refer(self, chains: Chains) -> None:
        """Give chained jobs the approved images of others as references."""
        self._references.refer(chains)
        self._checked.cache_clear()

    def read(self, settings: Settings) -> RowSettings:
        """The settings as values, with everything that is wrong with them."""
        return self._checked(_in_order(settings))

    def _check(self, values: tuple[Texts, ...]) -> RowSettings:
        settings = dict(zip(STANDARD, values, strict=True))
        faults: list[Fault] = []
        priority = _word("priority", str(settings["priority"]), PRIORITIES, faults)
        named, references = self._read_references(settings["references"], faults)
        variants = _variants(str(settings["variants"]), faults)
        grouping = Grouping(_word("grouping", str(settings["grouping"]), tuple(Grouping), faults))
        options = self._options(settings, references, faults)
        making = RowSettings((), priority, grouping, variants, references, options, (), named)
        of_looks: list[Fault] = []
        return replace(making, formats=self._looks(settings, making, of_looks), faults=(*of_looks, *faults))

    def _options(self, settings: Settings, references: tuple[Reference, ...], faults: list[Fault]) -> Options:
        """The options that are not at the API's default."""
        given = {name: str(settings[name]).lower() for name in OPTIONS}
        read = {name: _word(name, word, OPTIONS[name], faults) if word else "" for name, word in given.items()}
        if read["background"] == "transparent":
            if read["output_format"] == "jpeg":
                _add(faults, Fault("output_format", "a transparent background cannot be a JPEG", "png, or none"))
            for opaque in self._references.opaque_among(references):
                message = f"{shown(opaque)} is opaque, so there is no transparent background to keep"
                _add(faults, Fault("references", message, "a PNG with transparent pixels"))
        return standing_options(read)

    def _looks(self, settings: Settings, making: RowSettings, faults: list[Fault]) -> tuple[OutputFormat, ...]:
        """Every allowed choice once. A quality for a size in pixels is dropped: the API has it for ratios only."""
        rest = making.priority, making.options, len(making.references)
        models = [name for name in _listed(settings["model"]) if _model_is_known(name, faults)]
        sizes = [size for size in _listed(settings["size"]) if self._size_is_legal(size, faults)]
        qualities = _listed(settings["quality"])
        if not (sizes and models):  # then no combination tells of a wrong quality
            for quality in filter(None, qualities):
                _word("quality", quality, tuple(sorted(_QUALITIES)), faults)
        formats: dict[tuple[str, str, str], OutputFormat] = {}
        for size, quality, model in itertools.product(sizes, qualities, models):
            wrong = tuple(_as_fault(each, quality) for each in unsupported(MODELS[model], size, quality, *rest))
            wrong = wrong or tuple(self._misfits_of_fallback(model, size, quality, making))
            used = "" if _PIXELS.fullmatch(size) and not wrong else quality or MODELS[model].default_quality
            chosen = {"size": size, "quality": used, "model": model}
            axes = tuple(chosen[name] for name in AXES if not isinstance(settings[name], str) and chosen[name])
            formats.setdefault((model, size, used), OutputFormat(model, size, used, axes, wrong))
        return tuple(formats.values())

    def _misfits_of_fallback(self, model: str, size: str, quality: str, making: RowSettings) -> Iterator[Fault]:
        for other in self._fallback:
            for misfit in misfits_of_another(model, other, size, quality, making):
                message = f"the fallback {other} does not support every row: {misfit.message}"
                yield Fault("fallback", message, misfit.allowed)

    @lru_cache(32)  # noqa: B019 - a reader lives as long as its campaign
    def prompt_limits(self, model: str) -> tuple[int | None, int]:
        """The most characters, None for no such limit, and tokens of a prompt, for a model and all its fallbacks."""
        models = [MODELS[name] for name in (model or DEFAULT_MODEL, *self._fallback)]
        characters = [each.prompt_characters for each in models if each.prompt_characters is not None]
        return min(characters, default=None), min(each.prompt_tokens for each in models)

    def _size_is_legal(self, size: str, faults: list[Fault]) -> bool:
        if size in self._profile.ratios:
            return True
        pixels = _PIXELS.fullmatch(size)
        fault = _side_fault(int(pixels[1]), int(pixels[2])) if pixels else self._unknown(size)
        if fault is not None:
            _add(faults, fault)
        return fault is None

    def _unknown(self, size: str) -> Fault:
        ratios = self._profile.ratios
        meant = re.sub(r"\s", "", size.lower()).translate(_MISTYPED)
        near = f", did you mean {shown(meant)}?" if meant in ratios or _PIXELS.fullmatch(meant) else ""
        if size.upper() in _QUALITIES:
            near = ", that is a quality"
        if (clock := _TIME_OF_DAY.fullmatch(size)) and (meant := f"{int(clock[1])}:{int(clock[2])}") in WIDE_RATIOS:
            near = f", a spreadsheet turned {shown(meant)} into a time of day: give the column the Text format"
        if size in WIDE_RATIOS:
            near = f" to the {self._profile.name} limits, but `profile: wide` allows it"
        return Fault(
            "size", f"the size {shown(size)} is not known{near}", ", ".join(ratios) + ", or pixels like 2048x2048"
        )

    def _read_references(
        self, texts: Texts, faults: list[Fault]
    ) -> tuple[tuple[Reference, ...], tuple[Reference, ...]]:
        """The references as they are named and as they are sent, in order, each once."""
        listed = _listed(texts)
        most = min(self._profile.references.count, REFERENCES_AND_IMAGES - 1)
        allowed = f"at most {most} ({self._profile.name} limits)"
        if len(listed) > most:
            _add(faults, Fault("references", f"{len(listed)} reference images", allowed))
            return (), ()
        named: dict[Reference, None] = {}
        sent: dict[Reference, None] = {}
        approved: list[str] = []
        for text in listed:
            try:
                if link := link_of(text):
                    named[approved_images_of(link.of)] = None
                    images = self._references.approved(link)
                    approved.append(f"{len(images)} approved images of job {link.of}")
                    sent.update(dict.fromkeys(images))
                else:
                    named[reference := self._references.read(text)] = None
                    sent[reference] = None
            except BadAddress as bad:
                _add(faults, Fault("references", bad.message, bad.allowed))
        if len(sent) > most:
            message = f"{len(sent)} reference images, among them {' and '.join(approved)}"
            _add(faults, Fault("references", message, f"{allowed}: approve fewer"))
        return tuple(named), tuple(sent)


def misfits_of_another(own: str, other: str, size: str, quality: str, making: RowSettings) -> Iterator[Unsupported]:
    """What another model does not accept of a row's request, including its calls."""
    model = MODELS[other]
    yield from unsupported(model, size, quality, making.priority, making.options, len(making.references))
    if making.most_images(own) > model.images_per_call:
        message = f"it makes one image per call, and there are calls for {making.most_images(own)}"
        yield Unsupported("fallback", message, "grouping: independent, or a model that makes several images per call")


def _most_images(grouping: Grouping, variants: int, most: int, references: int) -> int:
    if grouping is Grouping.INDEPENDENT:
        return 1
    return min(variants, most, REFERENCES_AND_IMAGES - references)


def _side_fault(width: int, height: int) -> Fault | None:
    if max(width, height) > SIDE_RATIO * min(width, height):
        message = f"the size {width}x{height} is too long"
        return Fault("size", message, f"no side more than {SIDE_RATIO} times the other")
    return None


def _as_fault(misfit: Unsupported, quality: str) -> Fault:
    near = did_you_mean(quality, _QUALITIES) if misfit.field == "quality" and quality not in _QUALITIES else ""
    return Fault(misfit.field, misfit.message + near, misfit.allowed)


def _listed(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else texts


def _add(faults: list[Fault], fault: Fault) -> None:
    if fault not in faults:
        faults.append(fault)


def _model_is_known(name: str, faults: list[Fault]) -> bool:
    if name in MODELS:
        return True
    message = f"the model {shown(name)} is not known{did_you_mean(name, MODELS)}"
    _add(faults, Fault("model", message, "one of " + ", ".join(MODELS)))
    return False


def _variants(text: str, faults: list[Fault]) -> int:
    if _WHOLE.fullmatch(text) and int(text) <= VARIANTS_PER_ROW:
        return int(text)
    rule = "no leading zero" if text.isdecimal() and text.startswith("0") and len(text) > 1 else "digits only"
    _add(faults, Fault("variants", f"{shown(text)} is not a number of variants", f"1 to {VARIANTS_PER_ROW:,}, {rule}"))
    return 1


def _word(setting: str, text: str, words: tuple[str, ...], faults: list[Fault]) -> str:
    if text in words:
        return text
    message = f"the {setting} {shown(text)} is not known{did_you_mean(text, words)}"
    _add(faults, Fault(setting, message, "one of " + ", ".join(words)))
    return words[0]
