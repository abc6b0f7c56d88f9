"""Settings from the environment: read once, on request, checked as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from adloom.core.callbacks import Secret, read_secrets
from adloom.core.errors import SettingInvalid
from adloom.core.origin import SANDBOX, Origin
from adloom.edges.addresses import is_loopback_host

API_URL = "https://api.evolink.ai"
FILES_URL = "https://files-api.evolink.ai"
ARCHIVE = "./archive"
POLL_INTERVAL_S = 3.0  # EvoLink's own clients read an image task every 3 s (read out of its CLI, 2026-10)

_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


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


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, checked. URLs carry no trailing slash; ``loopback`` is true when the API is on this machine."""

    api_key: SecretText | None
    base_url: str
    files_url: str
    archive: str
    poll_interval_s: float
    dedicated_key: bool
    loopback: bool
    callback_secrets: tuple[Secret, ...] = ()
    """The first makes addresses; the others are recognised as well."""
    embedded: bool = False
    """Whether the API is the sandbox that adloom has started itself."""

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
    problems: list[str] = []
    loopback = is_loopback_host(_host(environ.get("EVOLINK_BASE_URL") or API_URL))
    settings = Settings(
        api_key=_key(environ, problems),
        base_url=_url(environ, "EVOLINK_BASE_URL", API_URL, problems, loopback=loopback),
        files_url=_url(environ, "EVOLINK_FILES_URL", FILES_URL, problems, loopback=loopback),
        archive=environ.get("ADLOOM_ARCHIVE", "").strip() or ARCHIVE,
        poll_interval_s=_seconds(environ, "ADLOOM_POLL_INTERVAL_S", POLL_INTERVAL_S, problems),
        dedicated_key=_flag(environ, "ADLOOM_DEDICATED_KEY", problems),
        loopback=loopback,
        callback_secrets=_callback_secrets(environ, problems),
        embedded=_embedded(environ, problems, loopback=loopback),
    )
    if problems:
        raise SettingInvalid("\n".join(problems), remedy="Change or unset what is named above; nothing was sent.")
    return settings


def _key(environ: Mapping[str, str], problems: list[str]) -> SecretText | None:
    text = environ.get("EVOLINK_API_KEY", "").strip()  # a key read from a file often ends in a line feed
    if not text:
        return None
    if not (text.isascii() and text.isprintable() and " " not in text):
        problems.append(
            "EVOLINK_API_KEY: the value contains spaces, line breaks or characters that no key has; copy the key again"
        )
        return None
    return SecretText(text)


def _embedded(environ: Mapping[str, str], problems: list[str], *, loopback: bool) -> bool:
    embedded = _flag(environ, "ADLOOM_EMBEDDED_SANDBOX", problems)
    if embedded and not loopback:
        problems.append("ADLOOM_EMBEDDED_SANDBOX: EVOLINK_BASE_URL does not point at this machine; unset one of them")
    return embedded


def _callback_secrets(environ: Mapping[str, str], problems: list[str]) -> tuple[Secret, ...]:
    try:
        return read_secrets(environ.get("ADLOOM_CALLBACK_SECRET", ""))
    except ValueError as error:
        problems.append(f"ADLOOM_CALLBACK_SECRET: {error}")
        return ()


def _host(url: str) -> str:
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def _url(environ: Mapping[str, str], name: str, default: str, problems: list[str], *, loopback: bool) -> str:
    text = environ.get(name, "").strip() or default
    problem = _url_problem(text, loopback=loopback)
    if problem:
        problems.append(f"{name}: {problem}")
    return text.rstrip("/")


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


def _seconds(environ: Mapping[str, str], name: str, default: float, problems: list[str]) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        problems.append(f"{name}: not a number of seconds above 0; write it like 3 or 0.5")
        return default
    return seconds


def _flag(environ: Mapping[str, str], name: str, problems: list[str]) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in _YES + _NO:
        problems.append(f"{name}: write 1 or leave it unset")
    return text in _YES
