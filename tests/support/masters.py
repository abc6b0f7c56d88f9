"""Pictures for the tests of delivery: masters of any size and kind, and readers that are not adloom's."""

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="needs exiftool (Debian: libimage-exiftool-perl)"
)


def picture(width: int, height: int, seed: int = 1, grain: int = 40) -> Image.Image:
    """A soft coloured picture; a smaller ``grain`` gives larger files."""
    colours = np.random.default_rng(seed).integers(0, 256, (max(2, height // grain), max(2, width // grain), 3))
    return Image.fromarray(colours.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def exiftool(content: bytes, folder: Path, name: str = "file") -> dict[str, object]:
    """Everything that exiftool finds, by ``group:name``."""
    path = folder / name
    path.write_bytes(content)
    done = subprocess.run(["exiftool", "-j", "-G1", "-n", str(path)], capture_output=True, check=True)
    return dict(json.loads(done.stdout)[0])
