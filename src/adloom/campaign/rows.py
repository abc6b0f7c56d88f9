"""Source rows become rows: settings checked, prompts rendered, identities and names assigned, duplicates resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from adloom.campaign.chains import link_of
from adloom.campaign.delivery import DeliveryReader
from adloom.campaign.jobs import Job, SourceRow, too_many, words_of
from adloom.campaign.merging import SharedImages
from adloom.campaign.problems import Place, Report, did_you_mean
from adloom.campaign.seen import SeenRows, number_of
from adloom.campaign.settings import AXES, Fault, OutputFormat, RowSettings, Settings, SettingsReader
from adloom.core.alternatives import BadAlternatives, alternatives
from adloom.core.campaign import Duplicates, Row
from adloom.core.channel import ORIGINAL
from adloom.core.delivery import NOTHING_WANTED, Wanted
from adloom.core.family import those_that_take
from adloom.core.fit import FIT, Fit, NoFit, fit
from adloom.core.identity import content_identity, digest, explicit_identity, meaning, slug, variant_key
from adloom.core.limits import MODELS, OPTIONS, Model
from adloom.core.locale import FALLBACK, LOCALE, key_for
from adloom.core.matrix import Exclusions, sample, weighted_sample
from adloom.core.prompt import ADVISED_CHARACTERS, length_problem, names_its_own_count
from adloom.core.quoting import shown
from adloom.core.reference import Reference
from adloom.core.spelling import nearest
from adloom.core.template import LONGEST, BadTemplate, is_template, names_in, prompt_template

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGIT = re.compile(r"\d")
_NO_LOOK = OutputFormat(
    "", "", "", ()
)  # of a row whose model, size or quality is wrong: only its prompt is still examined
_EXCLUDABLE = (*AXES, "priority", "grouping", "variants")
_LABEL_LENGTH = 48
_HEX_LENGTHS = (6, 12, 64)
_SURELY_SHORT = 1200  # characters: even all Chinese and with a count phrase this is below every limit of the prompt

_OWN_COUNT = "{n} prompts seem to name a number of images, which contradicts the number requested"
_LONG = f"{{n}} prompts have more than {ADVISED_CHARACTERS:,} characters; the model begins to lose details there"
_BRACES = "{n} prompts still contain {{ or {% after rendering: only the prompt is a template, variables are not"


class RowReader:
    """A single pass over the rows of one job."""

    def __init__(
        self,
        job: Job,
        settings: SettingsReader,
        duplicates: Duplicates,
        report: Report,
        delivery: DeliveryReader,
        sharing: SharedImages,
    ) -> None:
        self._delivery = delivery
        self._sharing = sharing
        self._job = job
        self._settings = settings
        self._duplicates = duplicates
        self._report = report
        self._seen = SeenRows()
        self._exclusions = Exclusions(pattern.names for pattern in job.exclude)
        self._some_variables: Mapping[str, object] | None = None
        self._lack_of_prompt_is_said = False
        self._last_line: tuple[int, object] | None = None
        self._references_are_templates = any(map(is_template, job.settings["references"]))

    def rows(self, most: int) -> Iterator[tuple[Row, SourceRow]]:
        """Yield the rows in order, each with what it was made from; ``most`` is what the campaign may still have."""
        picked = self._sample(most)
        position, left = -1, most
        for source, making, look in self._candidates(self._report, most):
            if not source.extra:
                position += 1
                if picked is not None and position not in picked:
                    continue
            if (row := self._row(source, making, look)) is not None:
                if not left:
                    too_many(self._report, self._place_of_template(source), most + 1)
                    return
                left -= 1
                yield row, source
        self._report_useless_exclusions()

    def _sample(self, most: int) -> frozenset[int] | None:
        """The positions that the job's sample selects, None without one; needs a reading of the source of its own."""
        if self._job.sample is None:
            return None
        unheard = Report("")  # the reading that follows says everything again
        wanted = self._job.sample
        candidates = ((source, look) for source, _, look in self._candidates(unheard, most) if not source.extra)
        weighed = ((_content(source, look), wanted.weight(source)) for source, look in candidates)
        if wanted.weights:
            picked = weighted_sample(weighed, wanted.count, wanted.seed)
        else:
            picked = sample((content for content, _ in weighed), wanted.count, wanted.seed)
        self._seen, self._exclusions = SeenRows(), Exclusions(pattern.names for pattern in self._job.exclude)
        return picked

    def _candidates(self, report: Report, most: int) -> Iterator[tuple[SourceRow, RowSettings, OutputFormat]]:
        """Yield what is left after the exclusions, then the included rows."""
        for written in self._sources(report, most):
            self._check_id(written, report)
            for source in self._alternatives(written, report, most):
                if not source.extra:
                    self._some_variables = source.variables
                making = self._making(source, report)
                if making is None:
                    continue
                self._report_faults(source, making.faults, report)
                for look in making.formats or (_NO_LOOK,):
                    if source.extra or not self._is_excluded(source, making, look):
                        self._report_faults(source, look.faults, report)
                        yield source, making, look

    def _alternatives(self, source: SourceRow, report: Report, most: int) -> Iterator[SourceRow]:
        """The row once for each choice between the alternatives of its template, with its options as settings."""
        text = self._template_of(source, report)
        if text is None:
            return
        source = self._with_options(source, text)
        if "|" not in text or "{" not in text or len(text) > LONGEST:
            yield source
            return
        try:
            found = alternatives(text)
        except BadAlternatives as problem:
            if "prompt" in source.overrides or source.extra:  # the job's own was reported once
                report.add(self._place_of_template(source), f"the prompt: {problem.message}", problem.allowed)
            return
        if found.count * self._job.formats > most:
            too_many(report, self._place_of_template(source), found.count)
            return
        for choice, chosen in found.chosen():
            named = {f"choice_{number}": value for number, value in enumerate(choice, start=1)}
            yield replace(
                source,
                template=chosen,
                variables={**source.variables, **named},
                crossed={**source.crossed, **named},
            )

    def _template_of(self, source: SourceRow, report: Report) -> str | None:
        """The row's prompt before it is filled in; None if its locale has no prompt."""
        own = source.overrides.get("prompt")
        if own is not None or not self._job.prompts:
            return self._job.prompt if own is None else str(own)
        if (key := self._key_of(source)) is not None:
            return self._job.prompts[key]
        locale = str(source.variables.get(LOCALE, ""))
        locales = [each for each in self._job.prompts if each != FALLBACK]
        what = (
            f"for the locale {shown(locale)}{did_you_mean(locale, locales)}" if locale else "for a row without a locale"
        )
        allowed = f"{', '.join(locales)}; or one for all others, called {FALLBACK}"
        report.add(source.place_of(LOCALE), f"job {shown(self._job.name)} has no prompt {what}", allowed)
        return None

    def _key_of(self, source: SourceRow) -> str | None:
        """Which of the job's prompts by locale the row gets."""
        return key_for(self._job.prompts, str(source.variables.get(LOCALE, "")))

    def _place_of_template(self, source: SourceRow) -> Place:
        if "prompt" in source.overrides:
            return source.place_of("prompt")
        return self._job.place_of_prompt(self._key_of(source))

    def _with_options(self, source: SourceRow, template: str) -> SourceRow:
        """The row, with variables named like a model option turned into settings.

        A variable that the row's templates use remains a variable, as it was before there were options.
        """
        found = {name: value for name in OPTIONS if isinstance(value := source.variables.get(name), str) and value}
        if not found:
            return source
        used = names_in(template).union(*map(names_in, self._job.settings["references"]))
        options = {name: value.strip() for name, value in found.items() if name not in used}
        return replace(source, overrides={**options, **source.overrides}) if options else source

    def _sources(self, report: Report, most: int) -> Iterator[SourceRow]:
        yield from self._job.source(report, most // self._job.formats)
        yield from self._job.include

    def _making(self, source: SourceRow, report: Report) -> RowSettings | None:
        settings = self._settings_of(source, report)
        if settings is not None and settings["size"] == FIT:
            fitted = self._fitted(settings, source, report)
            settings = {**settings, "size": fitted.sizes} if fitted else None
        return None if settings is None else self._settings.read(settings)

    def _settings_of(self, source: SourceRow, report: Report) -> Settings | None:
        """The row's settings as texts, references filled in; None if their template cannot be filled in."""
        settings = self._job.settings
        if source.overrides:
            settings = {**settings, **source.overrides}
        if self._references_are_templates and "references" not in source.overrides:
            try:
                filled = (
                    text if link_of(text) else prompt_template(text).render(source.variables).strip()
                    for text in settings["references"]
                )  # fmt: skip
                settings = {**settings, "references": tuple(text for text in filled if text)}
            except BadTemplate as problem:
                report.add(self._job.origins["references"], f"references: {problem.message}", problem.allowed)
                return None
        return settings

    def _fitted(self, settings: Settings, source: SourceRow, report: Report) -> Fit | None:
        """The sizes of ``size: fit``; None where there are none, which is reported."""
        place = source.place_of("size") if "size" in source.overrides else self._job.origins["size"]
        quality, model = settings["quality"], settings["model"]
        if not isinstance(quality, str) or not isinstance(model, str):
            report.add(place, "size: fit goes with one quality and one model", "a job for each of them")
            return None
        wanted = self._delivery.wanted(self._job.delivery, source, settings["references"], report)
        if not (channels := self._delivery.channels_of(wanted)):
            report.add(place, "size: fit has no channels to fit", "deliver: [meta-story, …], or another size")
            return None
        chosen = quality or (MODELS[model].default_quality if model in MODELS else "")
        sizes = self._settings.ratios
        try:
            return fit(channels, sizes, chosen, self._bought(settings, source, sizes))
        except NoFit as problem:
            place = self._delivery.place_of_channels(self._job.delivery, source)
            report.add(place, f"size: fit: {problem.message}", "a larger quality, or a lower `keep`")
            return None

    def _bought(self, settings: Settings, source: SourceRow, sizes: tuple[str, ...]) -> frozenset[str]:
        """The sizes in which this row was bought before."""
        if self._delivery.is_bought is None:
            return frozenset()
        prompt = self._prompt(source)
        making = self._settings.read({**settings, "size": sizes})
        if prompt is None or making.faults:
            return frozenset()
        found = set()
        for look in making.formats:
            content = _meaning(prompt, making, look, making.named)
            sent = _meaning(prompt, making, look, making.references)
            if self._duplicates is Duplicates.MERGE:
                identity = self._sharing.identity(self._job.name, content, sent)
            elif "id" in source.overrides:
                identity = self._explicit(source)
            else:
                identity = content_identity(self._job.name, content, 1)
            if self._delivery.is_bought(variant_key(digest("row", identity, sent), 1)):
                found.add(look.size)
        return frozenset(found)

    def _wanted(self, source: SourceRow, look: OutputFormat) -> Wanted:
        """What becomes of the row's images; with ``size: fit`` only what is cut from this size."""
        if not self._delivery.concerns(self._job.delivery, source):
            return NOTHING_WANTED
        settings = self._settings_of(source, self._report)
        if settings is None:
            return NOTHING_WANTED
        wanted = self._delivery.wanted(self._job.delivery, source, settings["references"], self._report)
        if settings["size"] == FIT and (fitted := self._fitted(settings, source, self._report)):
            masters = tuple(name for name in wanted.channels if name == ORIGINAL)
            return replace(wanted, channels=(*fitted.channels.get(look.size, ()), *masters))
        place = self._delivery.place_of_channels(self._job.delivery, source)
        self._delivery.check(wanted, look.size, look.quality, place, self._report)
        return wanted

    def _report_faults(self, source: SourceRow, faults: tuple[Fault, ...], report: Report) -> None:
        for fault in faults:
            own = fault.setting in source.overrides
            place = source.place_of(fault.setting) if own else self._job.origins[fault.setting]
            report.add(place, fault.message, fault.allowed)

    def _check_id(self, source: SourceRow, report: Report) -> None:
        if (row_id := source.overrides.get("id")) is None:
            return
        if source.crossed and self._last_line == (source.place.line, row_id):
            return
        self._last_line = source.place.line, row_id
        place = source.place_of("id")
        if not _ID.fullmatch(str(row_id)):
            report.add(
                place,
                f"the id {shown(str(row_id))} cannot be used",
                "1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit",
            )
        self._seen.files[source.extra] = place.file
        line = 2 * place.line + source.extra
        first = self._seen.ids.first(number_of(str(row_id)), line)
        if first is not None and not (source.crossed and first == line):  # one line then makes several rows
            report.add(
                place,
                f"the id {shown(str(row_id))} is already taken in {self._seen.files[first % 2 == 1]}:{first // 2}",
                "each id once in a job",
            )

    def _is_excluded(self, source: SourceRow, making: RowSettings, look: OutputFormat) -> bool:
        if not self._job.exclude:
            return False
        settings = (look.size, look.quality, look.model, making.priority, making.grouping.value, str(making.variants))
        whole = {**dict(zip(_EXCLUDABLE, settings, strict=True)), **source.variables}
        return self._exclusions.leave_out(whole)

    def _report_useless_exclusions(self) -> None:
        if self._some_variables is None:
            return
        known = dict.fromkeys((*self._some_variables, *_EXCLUDABLE))
        first_known = ", ".join(list(known)[:12])
        wrong: dict[str, str] = {}
        for pattern in self._job.exclude:
            if self._exclusions.met(pattern.names):
                continue
            if unknown := [name for name in pattern.names if name not in known]:
                near = wrong.get(unknown[0]) or wrong.setdefault(unknown[0], did_you_mean(unknown[0], known))
                message = f"exclude: there is no {shown(unknown[0])} in this job{near}"
                self._report.add(pattern.place, message, f"known: {first_known}")
            else:
                where = f"{pattern.place.file}:{pattern.place.line}"
                self._report.warn(f"{where}: this exclude matches no row, so it excludes nothing")

    def _row(self, source: SourceRow, making: RowSettings, look: OutputFormat) -> Row | None:
        """The row, or None when it has a problem."""
        prompt = self._prompt(source)
        if prompt is None or not self._prompt_is_good(prompt, source, making, look.model):
            return None
        if making.faults or look.faults:
            return None
        if self._duplicates is Duplicates.KEEP and "id" in source.overrides:
            identity = own = self._explicit(source)
            shared = 0
        else:
            content = _meaning(prompt, making, look, making.named)
            if self._duplicates is Duplicates.MERGE:
                sent = _meaning(prompt, making, look, making.references)
                identity, own, shared = self._merged(source, content, sent, making.variants)
            elif (found := self._identity(source, content)) is None:
                return None
            else:
                identity = own = found
                shared = 0
        name, label = self._name(source, look, prompt, own)
        return Row(
            job=self._job.name, identity=identity, name=name, label=label, prompt=prompt, variables=source.variables,
            model=look.model, size=look.size, quality=look.quality, priority=making.priority,
            references=making.references, grouping=making.grouping, variants=making.variants, shared=shared,
            options=making.options, delivery=self._wanted(source, look),
        )  # fmt: skip

    def _prompt(self, source: SourceRow) -> str | None:
        own = source.overrides.get("prompt")
        if own is None and not self._job.prompt and not self._job.prompts and "prompt" not in source.columns:
            self._report_lack_of_prompt(source)
            return None
        text = self._template_of(source, self._report) if source.template is None else source.template
        if text is None:
            return None
        try:
            return prompt_template(text).render(source.variables) if is_template(text) else text
        except BadTemplate as problem:
            is_extra = own is None and source.extra
            place = source.place if is_extra else self._place_of_template(source)
            report_text = f"the prompt of job {shown(self._job.name)}: {problem.message}"
            self._report.add(place, report_text, problem.allowed)
            return None

    def _report_lack_of_prompt(self, source: SourceRow) -> None:
        if self._lack_of_prompt_is_said:
            return  # it is missing in every row of the job
        self._lack_of_prompt_is_said = True
        near = next(iter(nearest("prompt", map(str.lower, source.columns))), "")
        named = (column for column in source.columns.items() if column[0].lower() == near)
        name, column = next(named, ("", 0))
        if (place := self._job.origins["prompt"]).line:
            alike = f", but {source.place.file} has a column {shown(near)}" if near else ""
            message = f"job {shown(self._job.name)} has no prompt{alike}"
            allowed = "a prompt, or a column called prompt"
        else:
            alike = f", but one is called {shown(name)}" if near else ""
            place = Place(place.file, 1, column or 1)
            message, allowed = f"no column is called prompt{alike}", "a column called prompt, or the option --prompt"
        self._report.add(place, message, allowed)

    def _prompt_is_good(self, prompt: str, source: SourceRow, making: RowSettings, model: str) -> bool:
        if not prompt or prompt.isspace():
            message = f"the prompt{_which(source)} is empty"
            self._report.add(self._place_of_prompt(source), message, "text that says what to show")
            return False
        if len(prompt) > _SURELY_SHORT:
            most = making.most_images(model)
            if problem := length_problem(prompt, most, *self._settings.prompt_limits(model)):
                takers = those_that_take(partial(_takes_length, prompt, most))
                allowed = "; ".join(filter(None, ("a shorter prompt", takers)))
                self._report.add(self._place_of_prompt(source), f"{problem}{_which(source)}", allowed)
                return False
        for problem, allowed in self._job.words.problems(prompt, str(source.variables.get(LOCALE, ""))):
            message = problem.replace("the prompt", f"the prompt{_which(source)}", 1)
            self._report.add(self._place_of_prompt(source), message, allowed)
        if _DIGIT.search(prompt) and names_its_own_count(prompt):
            self._report.count(_OWN_COUNT, self._place_of_prompt(source))
        if len(prompt) > ADVISED_CHARACTERS:
            self._report.count(_LONG, self._place_of_prompt(source))
        if is_template(prompt):
            self._report.count(_BRACES, self._place_of_prompt(source))
        return True

    def _place_of_prompt(self, source: SourceRow) -> Place:
        return self._place_of_template(source) if source.combination else source.place_of("prompt")

    def _identity(self, source: SourceRow, content: tuple[object, ...]) -> str | None:
        """The identity of a row that buys images of its own, None where it is refused as a repetition."""
        job = self._job.name
        identity = content_identity(job, content, 1)
        key = int(identity[:32], 16)
        line = self._seen.contents.first(key >> 64, source.place.line)
        if line is None:
            return self._explicit(source) if "id" in source.overrides else identity
        if self._duplicates is Duplicates.ERROR:
            where = "of this line" if line == source.place.line else f"from line {line}"
            message = f"this row of job {shown(job)} is the same as an earlier one, {where}"
            self._report.add(source.place, message, "other words, or duplicates: keep or merge")
            return None
        what = f"{{n}} rows of job {shown(job)} are the same as an earlier one and buy separate images"
        self._report.count(what + " (duplicates: keep)", source.place)
        number = self._seen.repeats[key] = self._seen.repeats.get(key, 1) + 1
        return content_identity(job, content, number)

    def _merged(
        self, source: SourceRow, content: tuple[object, ...], sent: tuple[object, ...], variants: int
    ) -> tuple[str, str, int]:
        """The identity that a row has in common with equal ones, what it is named by, and how many variants it shares.

        The request alone is who they are, whatever their ids: so no order or removal buys again.
        """
        job = self._job.name
        identity = self._sharing.identity(job, content, sent)
        if not (shared := self._sharing.shared(identity, variants)):
            return identity, identity, 0
        what = f"{{n}} rows of job {shown(job)} are the same as an earlier one and share its images"
        self._report.count(what + " (duplicates: merge)", source.place)
        key = int(identity[:32], 16)
        known = self._seen.repeats.get(key, int(identity == content_identity(job, content, 1)))
        number = self._seen.repeats[key] = known + 1
        return identity, content_identity(job, content, number), shared

    def _explicit(self, source: SourceRow) -> str:
        """The identity of a row with an id: one of several rows of a line goes by the values of its axes, too."""
        row_id = str(source.overrides["id"])
        return explicit_identity(self._job.name, row_id, source.crossed)

    def _name(self, source: SourceRow, look: OutputFormat, prompt: str, identity: str) -> tuple[str, str]:
        """The row's name, unique in the job regardless of case, and its readable part."""
        if (row_id := source.overrides.get("id")) is not None:
            label = "-".join((str(row_id), *filter(None, map(slug, (*look.axes, *source.crossed.values())))))
            if self._is_unused(label):
                return label, label
            identity = digest(identity, look.model, look.size, look.quality)
            return self._one_of(label, identity), label
        ends: dict[str, str] = dict(source.crossed)
        if self._job.prompts and not source.axes:
            ends = {LOCALE: str(source.variables.get(LOCALE, "")), **ends}
        label = _label(source.axes or (words_of(prompt),), (*look.axes, *filter(None, ends.values())))
        return self._one_of(label, identity), label

    def _one_of(self, label: str, hexadecimal: str) -> str:
        """A name with enough digits that no other row of the job has it; more than the longest would not help."""
        names = tuple(f"{label}-{hexadecimal[:length]}" for length in _HEX_LENGTHS)
        return next(filter(self._is_unused, names), names[-1])

    def _is_unused(self, name: str) -> bool:
        """Whether no row of the job has this name yet; it is taken from now on."""
        return self._seen.names.first(number_of(name.lower()), 0) is None


def _meaning(
    prompt: str, making: RowSettings, look: OutputFormat, references: Sequence[Reference]
) -> tuple[object, ...]:
    return meaning(
        model=look.model, prompt=prompt, size=look.size, quality=look.quality, priority=making.priority,
        references=references, options=making.options,
    )  # fmt: skip


def _which(source: SourceRow) -> str:
    """What distinguishes a row from others of its line or job, for a message about its prompt."""
    texts = (*source.axes, *source.crossed.values()) if source.combination else (*source.crossed.values(),)
    return f" for {shown(' / '.join(texts), 80)}" if any(texts) else ""


def _content(source: SourceRow, look: OutputFormat) -> list[object]:
    """The key of a combination for sampling."""
    return [source.variables, source.overrides, look.model, look.size, look.quality]


def _takes_length(prompt: str, most: int, model: Model) -> bool:
    """Whether a model accepts a prompt of this length, in calls of its own size."""
    n = min(most, model.images_per_call)
    return length_problem(prompt, n, model.prompt_characters, model.prompt_tokens) is None


def _label(words: tuple[str, ...], axes: tuple[str, ...]) -> str:
    """Words and axis values as part of a file name; what is too long is cut from the words."""
    end = slug(" ".join(axes))
    start = slug(" ".join(words), max(8, _LABEL_LENGTH - len(end)))
    return "-".join(filter(None, (start or "row", end)))
