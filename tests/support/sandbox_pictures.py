"""Pictures that visitors of the sandbox upload, buy and paint."""

import base64
import io
from typing import Any

import httpx
from PIL import Image

from adloom.sandbox.painting.painter import Painting


def a_picture(media: str = "PNG", size: tuple[int, int] = (40, 50), colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, media)
    return out.getvalue()


def decoded(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def a_painting(prompt: str = "a red mug", index: int = 0, **more: Any) -> Painting:
    return Painting(**{"count": 3, "width_px": 448, "height_px": 560, "mark": "m"} | more, prompt=prompt, index=index)


async def upload(visitor: Any, content: bytes, **fields: str) -> httpx.Response:
    body = {"base64_data": base64.b64encode(content).decode(), **fields}
    return await visitor.http.post("/api/v1/files/upload/base64", json=body, headers=visitor.headers)


async def image_of(visitor: Any, **fields: Any) -> str:
    return (await visitor.result(**fields))["results"][0]
