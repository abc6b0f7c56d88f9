"""Settings from the environment: read once, on request, checked as a whole.

pydantic-settings checks the variables and collects every problem; what is wrong with a value is said here, without
repeating it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from adloom.core.callbacks import Secret, read_secrets
from adloom.core.errors import SettingInvalid
from adloom.core.origin import SANDBOX, Origin
from adloom.edges.addresses import is_loopback_host

API_URL = "https://api.evolink.ai"
FILES_URL = "https://files-api.evolink.ai"
ARCHIVE = "./archive"
POLL_INTERVAL_S = 3.0  # EvoLink's own clients read an image task every 3 s (read out of its CLI, 2026-10)


class SecretText:
    """A secret that no log, traceback or pickle can show by accident: only ``reveal`` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: read it from the environment where it is used")


def _wrong(problem: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "{problem}", {"problem": problem})


def _key(text: str | SecretText) -> SecretText:
    if isinstance(text, SecretText):
        return text
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise _wrong("the value contains spaces, line breaks or characters that no key has; copy the key again")
    return SecretText(text)


def _seconds(text: str | float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise _wrong("not a number of seconds above 0; write it like 3 or 0.5")
    return seconds


def _flag(text: str | bool) -> bool:  # noqa: FBT001 - what a variable or a caller gives
    if isinstance(text, bool):
        return text
    if text not in ("", "0", "1"):
        raise _wrong("write 1 or leave it unset")
    return text == "1"


def _secrets(text: str | tuple[Secret, ...]) -> tuple[Secret, ...]:
    if not isinstance(text, str):
        return text
    try:
        return read_secrets(text)
    except ValueError as error:
        raise _wrong(str(error)) from None


_Flag = Annotated[bool, BeforeValidator(_flag)]


class Settings(BaseSettings):
    """The environment, checked. URLs carry no trailing slash."""

    model_config = SettingsConfigDict(
        frozen=True,
        arbitrary_types_allowed=True,
        case_sensitive=True,
        extra="ignore",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    api_key: Annotated[SecretText, BeforeValidator(_key)] | None = Field(None, alias="EVOLINK_API_KEY")
    base_url: str = Field(API_URL, alias="EVOLINK_BASE_URL")
    files_url: str = Field(FILES_URL, alias="EVOLINK_FILES_URL")
    archive: str = Field(ARCHIVE, alias="ADLOOM_ARCHIVE")
    poll_interval_s: Annotated[float, BeforeValidator(_seconds)] = Field(
        POLL_INTERVAL_S, alias="ADLOOM_POLL_INTERVAL_S"
    )
    dedicated_key: _Flag = Field(default=False, alias="ADLOOM_DEDICATED_KEY")
    callback_secrets: Annotated[tuple[Secret, ...], BeforeValidator(_secrets)] = Field(
        (), alias="ADLOOM_CALLBACK_SECRET"
    )
    """The first makes addresses; the others are recognised as well."""
    embedded: _Flag = Field(default=False, alias="ADLOOM_EMBEDDED_SANDBOX")
    """Whether the API is the sandbox that adloom has started itself."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature, as are the next three
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``read_settings`` is given: an environment of the caller's, without values that are blank."""
        return (init_settings,)

    @field_validator("base_url", "files_url")
    @classmethod
    def _is_url(cls, text: str, info: ValidationInfo) -> str:
        api = text if info.field_name == "base_url" else info.data.get("base_url", text)
        if problem := _url_problem(text, loopback=is_loopback_host(_host(api))):
            raise _wrong(problem)
        return text.rstrip("/")

    @field_validator("embedded")
    @classmethod
    def _is_on_this_machine(cls, embedded: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if embedded and not is_loopback_host(_host(info.data.get("base_url", ""))):
            raise _wrong("EVOLINK_BASE_URL does not point at this machine; unset one of them")
        return embedded

    @property
    def loopback(self) -> bool:
        """Whether the API is on this machine."""
        return is_loopback_host(_host(self.base_url))

    @property
    def origin(self) -> Origin:
        """The API that is bought from. One on this machine is a stand-in."""
        if self.embedded:
            return Origin(SANDBOX, is_stand_in=True)
        parts = urlsplit(self.base_url)
        return Origin(f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}", is_stand_in=self.loopback)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read every variable of adloom's own.

    Raises SettingInvalid with all problems in one report. A missing key is not a problem: only what sends needs it.
    """
    variables = [str(field.alias) for field in Settings.model_fields.values()]
    given: dict[str, Any] = {name: environ[name].strip() for name in variables if environ.get(name, "").strip()}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        problems = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors()]
    raise SettingInvalid("\n".join(problems), remedy="Change or unset what is named above; nothing was sent.")


def _host(url: str) -> str:
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def _url_problem(text: str, *, loopback: bool) -> str:
    """The problem with a base URL, without repeating it: it may contain a password."""
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return "this is not a web address; write it like https://api.evolink.ai"
    plain = text.isascii() and text.isprintable() and " " not in text
    here = is_loopback_host(host)
    checks = (
        (not host or not plain or parts.scheme not in ("http", "https"), "this is not a web address; write https://…"),
        ("@" in parts.netloc, "a user name or password does not belong in it; the key goes into EVOLINK_API_KEY"),
        ("?" in text or "#" in text, "a query or fragment does not belong in it; end it after the host or path"),
        (parts.scheme == "http" and not (here and loopback), "http would send the key in the clear; use https"),
        (here and not loopback, "it points at this machine while EVOLINK_BASE_URL does not; set both, or neither"),
    )
    return next((problem for wrong, problem in checks if wrong), "")
