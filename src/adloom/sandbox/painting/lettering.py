"""The text on a stand-in picture, in a font that has its characters, or else a note about them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_SYSTEM_FONTS = (  # tried in this order for what the built-in font lacks
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "C:/Windows/Fonts/arial.ttf",
)
_SCRIPTS = {
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "CYRILLIC": "Cyrillic",
    "ARABIC": "Arabic",
}

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_LONG_WORD = 24


def sandbox_on_top(picture: Image.Image, ink: Colour) -> None:
    """``SANDBOX``, with wide letter spacing, centred at the top."""
    draw = ImageDraw.Draw(picture)
    font = _latin(max(8, min(picture.size) // 12))
    gap = _line_height(font) * 0.28
    widths = [draw.textlength(letter, font=font) for letter in "SANDBOX"]
    x = (picture.width - sum(widths) - gap * (len(widths) - 1)) / 2
    for letter, letter_width in zip("SANDBOX", widths, strict=True):
        draw.text((x, picture.height * 0.05), letter, font=font, fill=ink)
        x += letter_width + gap


def caption(picture: Image.Image, prompt: str, number: str, ink: Colour) -> None:
    """The prompt at the bottom; below a line, the number of the image, the total, and its pixels."""
    width, height = picture.size
    unit = min(width, height)
    draw = ImageDraw.Draw(picture)
    margin = unit // 14
    small = _latin(max(7, unit // 42))
    bottom = height - margin
    draw.text((margin, bottom), number, font=small, fill=ink, anchor="ls")
    draw.text((width - margin, bottom), f"{width} x {height}", font=small, fill=ink, anchor="rs")
    rule = bottom - round(_line_height(small) * 1.7)
    draw.line((margin, rule, width - margin, rule), fill=ink, width=max(1, unit // 700))
    font, text = _readable(prompt, max(8, unit // 30))
    step = round(_line_height(font) * 1.3)
    lines = _wrapped(text, font, width - 2 * margin, most=3 if width > height else 4)
    for place, line in enumerate(reversed(lines)):
        draw.text((margin, rule - round(step * 0.6) - place * step), line, font=font, fill=ink, anchor="ls")


def _wrapped(text: str, font: Font, width: int, *, most: int) -> list[str]:
    """Lines no wider than ``width``; a word too long, or a text without spaces, breaks anywhere."""
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        if not line or font.getlength(line + piece.rstrip()) <= width:
            line += piece
            continue
        lines.append(line.rstrip())
        line = piece.lstrip()
        if len(lines) == most:
            return [*lines[:-1], f"{lines[-1]} …"]
    return [*lines, line.rstrip()]


def _pieces(text: str) -> list[str]:
    """Words with the space after them; long words and CJK text as single characters."""
    pieces: list[str] = []
    for word in " ".join(text.split()).split(" "):
        wide = len(word) > _LONG_WORD or any(unicodedata.east_asian_width(letter) in "WF" for letter in word)
        pieces += [*word[:-1], f"{word[-1:]} "] if wide else [f"{word} "]
    return pieces


def _readable(prompt: str, size: int) -> tuple[Font, str]:
    """A font with the prompt's characters; without one, the prompt without accents, or a note about it."""
    text = "".join(letter if letter.isprintable() else " " for letter in prompt)
    for font in _fonts(size):
        if _covers(font, text):
            return font, text
    plain_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    if len(plain_text.strip()) * 2 > len(text):
        return _latin(size), plain_text
    return _latin(size), f"({_script(text)} prompt, {len(prompt)} characters)"


def _script(text: str) -> str:
    for letter in text:
        word = unicodedata.name(letter, "").split(" ")[0]
        if word in _SCRIPTS:
            return _SCRIPTS[word]
    return "Foreign"


def _covers(font: Font, text: str) -> bool:
    return all(_has(font, letter) for letter in set(text) if not letter.isspace())


def _has(font: Font, letter: str) -> bool:
    """Whether a font has a character, that is, does not draw the box for missing ones."""
    return bytes(font.getmask(letter)) != _box(font)


@lru_cache(maxsize=64)
def _box(font: Font) -> bytes:
    return bytes(font.getmask("\uffff"))


def _fonts(size: int) -> list[Font]:
    return [_latin(size), *(_system(path, size) for path in _SYSTEM_FONTS if Path(path).exists())]


@lru_cache(maxsize=64)
def _latin(size: int) -> Font:
    """The font that comes with Pillow: plain ASCII only."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _system(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


def _line_height(font: Font) -> int:
    left, top, right, bottom = font.getbbox("Ag")
    return round(bottom - top) if right > left else 10
