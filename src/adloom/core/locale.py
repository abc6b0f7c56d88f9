"""Prompts by locale: which one a row gets."""

from __future__ import annotations

from collections.abc import Mapping

LOCALE = "locale"
"""The variable that names a row's locale."""

FALLBACK = "fallback"
"""The key of the prompt for locales without one of their own."""


def key_for(prompts: Mapping[str, str], locale: str) -> str | None:
    """The key of a locale's prompt: its own, its language's, or the fallback; None if there is none."""
    language = locale.replace("_", "-").partition("-")[0]
    return next((key for key in (locale, language, FALLBACK) if key and key in prompts), None)
