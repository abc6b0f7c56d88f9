"""Every switch of the sandbox, as one frozen value, and the holder of the settings in force."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

KeyState = Literal["revoked", "key_disabled", "key_expired", "user_disabled", "ip_restricted", "key_model_not_allowed"]
Rate = Annotated[float, Field(ge=0, le=1)]
ReplyLoss = Literal["drop", "hang", "status", "broken_json"]
LinkForm = Literal["path", "query", "signature"]
PictureDamage = Literal[
    "corrupt",
    "truncated",
    "padded",  # half of it with an end marker behind it
    "wrong_bytes",
    "html",
    "empty",
    "png",
    "off_size",
    "line_break",  # whole, behind a line break
    "animated",  # a WebP of three frames
    "blank",  # white all over
    "annotated",  # a PNG with text chunks that break metadata readers
    "labelled",  # a JPEG whose XMP says that it was generated, with the AIGC label of Chinese rules
    "turned",  # a JPEG whose Exif says that it lies on its side
]

TRANSIENT_CODES = (
    "service_error",
    "service_unavailable",
    "generation_timeout",
    "resource_exhausted",
    "quota_exceeded",
    "model_unavailable",
    "upstream_error",
    "rate_limited",
)
FINAL_CODES = (
    "content_policy_violation",
    "invalid_parameters",
    "image_processing_error",
    "image_dimension_mismatch",
    "request_cancelled",
    "generation_failed_no_content",
    "resource_not_found",
    "unknown_error",
)


def _span(value: object) -> object:
    """``0.5`` and ``"0.5"`` mean exactly that long; ``"0.5,2"`` and pairs are a range."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    elif isinstance(value, int | float):
        value = [value]
    if isinstance(value, list | tuple) and len(value) == 1:
        return (value[0], value[0])
    return value


Seconds = Annotated[float, Field(ge=0)]
Span = Annotated[tuple[Seconds, Seconds], BeforeValidator(_span)]


class SandboxSettings(BaseModel):
    """Rates are probabilities in [0, 1], drawn from ``seed`` and the ordinal of what they concern."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0

    # What is accepted
    profile: Literal["strict", "wide"] = "wide"
    short_prompts: bool = False  # the older page's 1000 characters instead of 2000
    refuse_unknown_fields: bool = True
    allow_loopback_callbacks: bool = False
    reference_check: Literal["task", "submit"] = "task"
    foreign_references: Literal["fine", "unfetchable", "anywhere"] = "fine"
    slow_references: int = Field(default=0, ge=0)  # so often, fetching a purchase's references takes too long
    moderated_at_submit: tuple[str, ...] = ()  # a prompt that contains one of these is refused with 400
    moderated_in_task: tuple[str, ...] = ()  # … or its task fails with content_policy_violation
    moderation_code: str = "content_policy_violation"
    unavailable_models: tuple[str, ...] = ()
    unavailable_at: Literal["submit", "task"] = "submit"  # refused at once, or a task that fails with model_unavailable
    unavailable_status: int = Field(default=404, ge=400, le=599)
    key_states: dict[str, KeyState] = {}  # by the key itself or by its fingerprint

    # Money
    credits_per_image: Decimal | None = None  # instead of the list price
    prices_by_quality: dict[str, Decimal] = {}  # credits per image, instead of all of the above
    price_steps: dict[int, Decimal] = {}  # {3: 2}: from the third accepted purchase on, twice that; {5: 1} ends it
    charge_factor: Decimal = Field(default=Decimal(1), ge=0)  # the charge, as a multiple of the correct one
    balance_credits: Decimal = Decimal(100_000)
    key_limit_credits: Decimal | None = None
    daily_limit_credits: Decimal | None = None
    credits_lag_s: Seconds = 0
    cancelled_is_charged: bool = True
    show_reserve: bool = True  # else purchases are answered with a reserve of 0
    show_credits_used: bool = True
    show_billing: bool = True
    user_group: str = "default"

    # Idempotency
    idempotency: Literal["ignored", "honoured", "unsure"] = "ignored"
    unsure_status: int = 409

    # Ids
    posts_an_id: int = Field(default=1, ge=1)  # this many accepted POSTs in a row are answered with the first one's id

    # Life of a task
    task_seconds: Span = (0.5, 0.5)
    slow_task_rate: Rate = 0
    slow_task_seconds: Span = (60, 90)
    start_at_processing: bool = False
    processing_word: str = "processing"
    strange_word: str = "archived"  # the status of a task whose outcome is "strange"
    estimated_time: int = 45
    task_retention_s: float = Field(default=7 * 86_400, gt=0)
    model_alias: str = ""

    # How tasks end
    never_finish_rate: Rate = 0
    transient_failure_rate: Rate = 0
    transient_codes: tuple[str, ...] = Field(default=TRANSIENT_CODES, min_length=1)
    final_failure_rate: Rate = 0
    final_codes: tuple[str, ...] = Field(default=FINAL_CODES, min_length=1)
    unknown_failure_rate: Rate = 0
    unknown_code: str = "flux_capacitor_drift"
    errorless_failure_rate: Rate = 0
    cancelled_rate: Rate = 0
    strange_rate: Rate = 0
    empty_results_rate: Rate = 0
    missing_results_rate: Rate = 0
    duplicate_results_rate: Rate = 0
    surplus_rate: Rate = 0
    hole_rate: Rate = 0  # for each image: moderation removes it from the set
    tail_cut_rate: Rate = 0  # for each task: a fault in the middle ends the set

    # How the end of a task wavers; its charge does not
    late_results_rate: Rate = 0  # share of completed tasks that show fewer results than they made,
    late_results_s: Seconds = 0  # for so long after their end,
    late_results_readings: int = Field(default=0, ge=0)  # and to so many readings (a line of a batch is one too)
    late_results: Literal["empty", "null", "missing", "partial"] = "empty"  # partial: the first half of them
    late_results_in: Literal["all", "task", "batch"] = "all"  # in the answers to a GET, or to a batch read, alone
    late_results_billed: bool = False  # with the charge for what they show, not for all
    late_usage_s: Seconds = 0  # a completed task does not report its charge for this long,
    late_usage: Literal["missing", "zero"] = "missing"  # or reports one of 0 until then
    failed_first_rate: Rate = 0  # share of completed tasks that first read failed,
    failed_first_s: Seconds = 0  # for so long after their end,
    failed_first_readings: int = Field(default=0, ge=0)  # and to so many readings
    failed_first_code: str = "service_error"
    failed_first_in: Literal["all", "task", "batch"] = "all"  # in the answers to a GET, or to a batch read, alone

    # How answers look
    shuffle_results: bool = False
    shuffle_fields: bool = False
    minimal_answers: bool = False
    string_error_codes: bool = False
    batch_status: Literal[200, 403, 404] = 200
    list_status: Literal[200, 403, 404] = 200

    # Limits
    requests_per_minute: int | None = None
    running_tasks_limit: int | None = None
    burst_429_every_s: Seconds = 0
    burst_429_for_s: Seconds = 0
    limit_retry_after: str = "60"  # "" for none, seconds, or "date:SECONDS" for an HTTP date that far ahead

    # Faults of the paid POST
    lose_reply_rate: Rate = 0
    lose_reply_kinds: tuple[ReplyLoss, ...] = Field(default=("drop",), min_length=1)
    submit_429_rate: Rate = 0
    submit_429_retry_after: str = ""
    submit_error_rate: Rate = 0
    submit_drop_rate: Rate = 0
    submit_slow_rate: Rate = 0

    # Faults of reads and of downloads
    read_429_rate: Rate = 0
    read_error_rate: Rate = 0
    read_drop_rate: Rate = 0
    read_partial_rate: Rate = 0
    read_broken_json_rate: Rate = 0
    read_slow_rate: Rate = 0
    download_error_rate: Rate = 0
    download_drop_rate: Rate = 0
    download_partial_rate: Rate = 0
    download_slow_rate: Rate = 0
    download_damage_rate: Rate = 0  # for each fetch: the next one may be whole
    download_damage_kinds: tuple[PictureDamage, ...] = Field(default=("corrupt", "truncated"), min_length=1)
    picture_damage_rate: Rate = 0  # for each picture: every fetch of it has the same damage
    picture_damage_kinds: tuple[PictureDamage, ...] = Field(default=("off_size",), min_length=1)

    # How faults look
    error_statuses: tuple[int, ...] = Field(default=(500, 502, 503), min_length=1)
    html_error_rate: Rate = 0  # of the errors above: an HTML page instead of JSON
    slow_s: Seconds = 2
    hang_s: Seconds = 120

    # Result links
    result_host: Literal["", "localhost"] = ""
    link_life_s: float = Field(default=86_400, gt=0)
    dead_link_status: Literal[403, 404, 410] = 403
    link_form: LinkForm = "path"  # what distinguishes a task's pictures: path, a query parameter, or the signature
    renewed_link_life_s: Seconds = 0  # above 0 every reading of a task signs its links again, for this long
    reverse_later_results: bool = False  # from its second reading on, a task's links are in reverse order
    young_link_tries: int = Field(default=0, ge=0)  # the first fetches of a picture are answered young_link_status …
    young_link_s: Seconds = 0  # … and so is every fetch until this long after its task's end
    young_link_status: Literal[403, 404, 410] = 404
    young_picture_tries: int = Field(default=0, ge=0)  # the first fetches of a picture return young_picture_damage …
    young_picture_s: Seconds = 0  # … and so does every fetch until this long after its task's end
    young_picture_damage: PictureDamage = "html"
    picture_format: Literal["jpeg", "png"] = "jpeg"
    fast_pictures: bool = False
    picture_bytes: int = Field(default=0, ge=0)  # picture files are padded to this many bytes with comments
    picture_cache_bytes: int = Field(default=64_000_000, ge=0)

    # Callbacks
    deliver_foreign_callbacks: bool = False  # otherwise callbacks to other machines are counted, never sent
    callback_retry_waits_s: tuple[Seconds, ...] = (1, 2, 4)
    callback_timeout_s: float = Field(default=10, gt=0)
    callback_lost_rate: Rate = 0
    callback_duplicate_rate: Rate = 0
    callback_late_rate: Rate = 0
    callback_late_s: Seconds = 120
    callback_forged_rate: Rate = 0
    callback_disagrees_rate: Rate = 0
    callbacks_out_of_order: bool = False  # they are sent in pairs, the later one first
    callback_before_answer: bool = False  # the task ends at once and calls back before the POST is answered

    # Hosted files
    max_files: int = Field(default=2000, ge=0)
    quota_skew: int = 0  # added to remain_files, which is then inconsistent
    file_life_s: float = Field(default=72 * 3600, gt=0)
    largest_file_bytes: int = Field(default=95_000_000, gt=0)
    stale_read_s: Seconds = 0  # how long an overwritten name still shows its old content


class LiveSettings:
    """Holds the settings in force, so that they can change while the sandbox runs."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._initial = settings
        self.settings = settings

    def change(self, changes: Mapping[str, object]) -> None:
        """Replace some switches. Raises pydantic's ValidationError and then changes nothing."""
        self.settings = SandboxSettings.model_validate({**self.settings.model_dump(), **changes})

    def restore(self) -> None:
        """Restore the initial settings."""
        self.settings = self._initial
