"""Small pictures of every kind, as a decoder meets them."""

import io
import random

from PIL import Image


def image(kind="JPEG", size=(48, 32), mode="RGB", **options) -> bytes:
    width, height = size
    noise = random.Random(7).randbytes(width * height * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", size, noise).convert(mode).save(out, kind, **options)
    return out.getvalue()


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 8), color) for color in ("red", "blue", "green")]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def with_sampling(content: bytes, factors: int) -> bytes:
    """A JPEG whose first colour is sampled otherwise than it was made; its data then describe more or fewer rows."""
    frame = content.index(b"\xff\xc0")
    return content[: frame + 11] + bytes([factors]) + content[frame + 12 :]
