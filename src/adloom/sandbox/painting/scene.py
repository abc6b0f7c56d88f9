"""The scene of a stand-in picture: a wall, an arch or a disc, a table, and a vessel on a plinth."""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageColor, ImageDraw, ImageFilter

_SCENE_SIDE = 720  # longest side of the painted scene before it is enlarged
_SMOOTHING = 2  # the scene's shapes are drawn this much larger and reduced, which smooths their edges
_SHADOW_SHRINK = 8
_TURN = 0.04  # of the colour wheel: images of a prompt turn it in alternating directions, further each time
_MOODS = (  # wall, glow, table, sun, vessel, shade, ink
    "E6D8C3 F8F1E4 CDB594 E8B27A A9552D 6A513C 3A2A1E",  # travertine
    "C9D4BE EFF3E7 9CAF8B F3D9A2 47694C 3F5643 22302A",  # sage
    "EFD3C9 FBEFEA DBAA9A F7BE9F B04E45 7A4540 42201F",  # blush
    "C6D8E5 EEF5FA 8BADC3 FBE3B5 2B5A7A 2F5069 182A38",  # morning
    "D8CFE5 F4F0FA A698C2 F8CDB9 65478F 4E3D6C 2A2040",  # lilac
    "EFDCA2 FCF5DC D4AE58 EB9150 2C6C70 7A6128 3A2E12",  # ochre
    "C3E0D6 EDF8F4 86B8A6 F9D8BE D2624A 3D6B5C 17332B",  # mint
    "3B4351 5D697C 2B313C E9BB72 C9663F 12151A F2E9DC",  # night
    "D9A286 F0CDB8 B97A5C F6DDB0 5C3A4A 6B3E30 35190F",  # terracotta
    "2F4A44 4E6E66 223833 F0D9B5 D98E73 0E1B18 F1EDE2",  # forest
)
Colour = tuple[int, int, int]
Profile = list[tuple[float, float]]
_VESSELS: tuple[Profile, ...] = (  # half width and height of the outline, from the foot up, in units of the picture
    [(0.085, 0.00), (0.085, 0.24), (0.06, 0.29), (0.028, 0.31), (0.028, 0.38)],  # bottle
    [(0.12, 0.00), (0.12, 0.15), (0.11, 0.17), (0.11, 0.20), (0.11, 0.22)],  # jar
    [(0.06, 0.00), (0.12, 0.10), (0.13, 0.18), (0.05, 0.28), (0.06, 0.34)],  # vase
    [(0.10, 0.00), (0.07, 0.16), (0.05, 0.26), (0.03, 0.30), (0.03, 0.36)],  # carafe
)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one picture."""

    wall: Colour
    glow: Colour
    table: Colour
    sun: Colour
    vessel: Colour
    shade: Colour
    ink: Colour

    @classmethod
    def of(cls, prompt: str, index: int) -> Palette:
        """Colours of a prompt's mood; further images turn the colour wheel in alternating directions."""
        mood = random.Random(prompt).choice(_MOODS)
        turn = (index + 1) // 2 * (-_TURN if index % 2 else _TURN)
        return cls(*(_turned(ImageColor.getrgb(f"#{word}"), turn) for word in mood.split()))


@dataclass(frozen=True, slots=True)
class _Place:
    """The layout: the middle of the plinth, the edge of the table, and the unit of all lengths."""

    centre: int
    horizon: int
    unit: int


def painted(size: tuple[int, int], seed: str, palette: Palette) -> Image.Image:
    """The scene at a size. The same arguments give the same pixels."""
    scale = _SCENE_SIDE / max(size)
    width, height = (max(8, round(side * scale)) * _SMOOTHING for side in size)
    chance = random.Random(seed)
    scene = _wall(width, height, palette, chance)
    _still_life(scene, palette, chance)
    return scene.reduce(_SMOOTHING).resize(size, Image.Resampling.BICUBIC)


def _turned(colour: tuple[int, ...], turn: float) -> Colour:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour[:3]))
    red, green, blue = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _wall(width: int, height: int, palette: Palette, chance: random.Random) -> Image.Image:
    """A soft wall: a few pixels of light, enlarged; the light comes from one side."""
    seed = Image.new("RGB", (5, 5), palette.wall)
    light = chance.uniform(0.5, 3.5)
    for x in range(5):
        for y in range(5):
            near = max(0.0, 1.0 - (abs(x - light) + abs(y - 1.2) * 0.8) / 3)
            seed.putpixel((x, y), _mixed(palette.wall, palette.glow, near))
    return seed.resize((width, height), Image.Resampling.BICUBIC)


def _still_life(scene: Image.Image, palette: Palette, chance: random.Random) -> None:
    width, height = scene.size
    unit = round(min(width, height * 0.82))
    place = _Place(round(width * chance.uniform(0.42, 0.58)), round(height * 0.60), unit)
    draw = ImageDraw.Draw(scene)
    _backdrop(draw, palette, chance, place)
    draw.rectangle((0, place.horizon, width, height), fill=palette.table)
    _shadow(scene, palette, place)
    draw = ImageDraw.Draw(scene)
    foot = _plinth(draw, palette, chance, place)
    _vessel(draw, palette, chance, _Place(place.centre, foot, unit))


def _backdrop(draw: ImageDraw.ImageDraw, palette: Palette, chance: random.Random, place: _Place) -> None:
    """A disc, an arch, or two arches one inside the other."""
    radius = round(place.unit * chance.uniform(0.25, 0.31))
    middle = place.centre + round(place.unit * chance.uniform(-0.12, 0.12))
    kind = chance.choice(("disc", "arch", "arches"))
    if kind == "disc":
        high = place.horizon - round(place.unit * 0.28)
        draw.ellipse((middle - radius, high - radius, middle + radius, high + radius), fill=palette.sun)
        return
    for step, share in enumerate((1.0,) if kind == "arch" else (1.1, 0.82)):
        half = round(radius * share)
        crown = place.horizon - round(place.unit * 0.26 * share)
        fill = _mixed(palette.sun, palette.glow, 0.45 * step)
        draw.pieslice((middle - half, crown - half, middle + half, crown + half), 180, 360, fill=fill)
        draw.rectangle((middle - half, crown, middle + half, place.horizon), fill=fill)


def _shadow(scene: Image.Image, palette: Palette, place: _Place) -> None:
    """A blurred shadow that falls to the right."""
    unit = place.unit / _SHADOW_SHRINK
    left, top = place.centre / _SHADOW_SHRINK - unit * 0.22, place.horizon / _SHADOW_SHRINK + unit * 0.07
    mask = Image.new("L", (max(1, scene.width // _SHADOW_SHRINK), max(1, scene.height // _SHADOW_SHRINK)), 0)
    ImageDraw.Draw(mask).ellipse((left, top, left + unit * 0.66, top + unit * 0.13), fill=130)
    blurred = mask.filter(ImageFilter.GaussianBlur(unit * 0.03)).resize(scene.size, Image.Resampling.BILINEAR)
    scene.paste(palette.shade, (0, 0), blurred)


def _plinth(draw: ImageDraw.ImageDraw, palette: Palette, chance: random.Random, place: _Place) -> int:
    """A round slab on the table; returns the height of its top."""
    half = round(place.unit * chance.uniform(0.20, 0.27))
    deep = round(place.unit * 0.09)
    top = place.horizon - round(place.unit * 0.02)
    left, right = place.centre - half, place.centre + half
    side = _mixed(palette.table, palette.shade, 0.35)
    draw.ellipse((left, top + deep, right, top + 2 * deep), fill=side)
    draw.rectangle((left, top + deep // 2, right, top + deep * 3 // 2), fill=side)
    draw.ellipse((left, top, right, top + deep), fill=_mixed(palette.table, palette.glow, 0.55))
    return top + deep // 2


def _vessel(draw: ImageDraw.ImageDraw, palette: Palette, chance: random.Random, place: _Place) -> None:
    """A bottle, a jar, a vase or a carafe, lit from the left. Its foot is at the place's horizon."""
    outline = _smooth([(half * place.unit, up * place.unit) for half, up in chance.choice(_VESSELS)])
    base, rim = outline[0][0], outline[-1][0]
    top = place.horizon - outline[-1][1]
    draw.polygon(_strip(outline, place, -1.0, 1.0), fill=palette.vessel)
    foot = (place.centre - base, place.horizon - base * 0.22, place.centre + base, place.horizon + base * 0.22)
    draw.ellipse(foot, fill=palette.vessel)
    dark = _mixed(palette.vessel, palette.shade, 0.45)
    for step in range(6):  # the shaded side, darker towards its edge
        shade = _mixed(palette.vessel, dark, (step + 1) / 6)
        draw.polygon(_strip(outline, place, 0.25 + step * 0.12, 1.0), fill=shade)
    draw.polygon(_strip(outline[2:-2], place, -0.78, -0.62), fill=_mixed(palette.vessel, palette.glow, 0.6))
    if chance.choice((True, True, False)):
        cap = (place.centre - rim * 1.25, top - place.unit * 0.05, place.centre + rim * 1.25, top)
        draw.rectangle(cap, fill=_mixed(palette.shade, palette.vessel, 0.2))
    else:
        draw.ellipse((place.centre - rim, top - rim * 0.3, place.centre + rim, top + rim * 0.3), fill=dark)


def _strip(outline: Profile, place: _Place, start: float, end: float) -> list[tuple[float, float]]:
    """The part of a vessel between two shares of its half width."""
    one = [(place.centre + half * start, place.horizon - up) for half, up in outline]
    other = [(place.centre + half * end, place.horizon - up) for half, up in outline]
    return [*one, *reversed(other)]


def _smooth(outline: Profile) -> Profile:
    """Corners cut twice (Chaikin), ends kept."""
    for _ in range(2):
        cut = [outline[0]]
        for (x0, y0), (x1, y1) in pairwise(outline):
            cut += [(0.75 * x0 + 0.25 * x1, 0.75 * y0 + 0.25 * y1), (0.25 * x0 + 0.75 * x1, 0.25 * y0 + 0.75 * y1)]
        outline = [*cut, outline[-1]]
    return outline


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(one + (other - one) * share) for one, other in zip(first, second, strict=True))
    return red, green, blue
