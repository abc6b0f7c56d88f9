"""How a task will end: decided when it is accepted, from the script, the rates and the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from adloom.sandbox.counting import images_asked
from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.settings import SandboxSettings
from adloom.sandbox.submission import Wanted
from adloom.sandbox.tables import IMAGES_PER_CALL


class Ending(StrEnum):
    """What the task becomes."""

    COMPLETED = "completed"
    FAILED = "failed"
    ERRORLESS = "failed_without_error"
    CANCELLED = "cancelled"
    NEVER = "never"
    STRANGE = "strange"
    EMPTY = "empty"
    MISSING = "missing"
    DUPLICATE = "duplicate"
    SURPLUS = "surplus"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An ending; ``code`` for failures, ``images`` to override the number that the prompt asks for."""

    ending: Ending
    code: str = ""
    images: int | None = None


def fated(wanted: Wanted, ordinal: int, settings: SandboxSettings, dice: SeededRandom) -> Outcome:
    """The outcome of the task with this ordinal, from rates and words of the prompt."""
    if code := _code_of_request(wanted, settings):
        return Outcome(Ending.FAILED, code)
    for ending, rate in _rates(settings):
        if dice.hits(rate, f"ending {ending}", ordinal):
            return Outcome(ending)
    if dice.hits(settings.transient_failure_rate, "transient", ordinal):
        return Outcome(Ending.FAILED, dice.pick(settings.transient_codes, "transient code", ordinal))
    if dice.hits(settings.final_failure_rate, "final", ordinal):
        return Outcome(Ending.FAILED, dice.pick(settings.final_codes, "final code", ordinal))
    if dice.hits(settings.unknown_failure_rate, "unknown", ordinal):
        return Outcome(Ending.FAILED, settings.unknown_code)
    return Outcome(Ending.COMPLETED)


def _code_of_request(wanted: Wanted, settings: SandboxSettings) -> str:
    """The code with which a task fails for its model or for a word of its prompt."""
    if settings.unavailable_at == "task" and wanted.model.name in settings.unavailable_models:
        return "model_unavailable"
    return settings.moderation_code if any(word in wanted.prompt for word in settings.moderated_in_task) else ""


def images_made(wanted: Wanted, outcome: Outcome, ordinal: int, settings: SandboxSettings, dice: SeededRandom) -> int:
    """``min(count in the prompt, n, 15 - references)``, less what moderation and faults remove from the set."""
    if outcome.ending in {Ending.EMPTY, Ending.MISSING}:
        return 0
    if outcome.images is not None:
        return outcome.images
    if outcome.ending is Ending.SURPLUS:
        return wanted.n + 1
    whole = min(images_asked(wanted.prompt), wanted.n, IMAGES_PER_CALL - len(wanted.references))
    made = sum(not dice.hits(settings.hole_rate, "hole", ordinal, index) for index in range(whole))
    if made and dice.hits(settings.tail_cut_rate, "tail", ordinal):
        made = dice.number("tail length", ordinal) % made
    return made


def _rates(settings: SandboxSettings) -> tuple[tuple[Ending, float], ...]:
    return (
        (Ending.NEVER, settings.never_finish_rate),
        (Ending.STRANGE, settings.strange_rate),
        (Ending.CANCELLED, settings.cancelled_rate),
        (Ending.ERRORLESS, settings.errorless_failure_rate),
        (Ending.EMPTY, settings.empty_results_rate),
        (Ending.MISSING, settings.missing_results_rate),
        (Ending.DUPLICATE, settings.duplicate_results_rate),
        (Ending.SURPLUS, settings.surplus_rate),
    )
