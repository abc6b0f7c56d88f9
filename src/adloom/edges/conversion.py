"""Converts reference files in formats that not every API accepts to PNG, in a child process without secrets.

The file's own content remains its identity; only the hosted copy is the PNG. For a GIF it is the first frame.
"""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

CONVERTIBLE = ("webp", "gif", "bmp", "tiff")
LONGEST_S = 60
"""36 million pixels, the most that a reference may have, take about 8 s."""


class NotConverted(Exception):
    """The file is not an image that can be converted."""


def to_png(content: bytes) -> bytes:
    """The image as a PNG. Raises NotConverted."""
    command = [sys.executable, "-m", "adloom.edges.conversion"]
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter, and a module of this package
            command, input=content, capture_output=True, env={}, timeout=LONGEST_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotConverted(str(error)) from error
    if done.returncode or not done.stdout:
        raise NotConverted("the image cannot be decoded")
    return done.stdout


def _converted(content: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - the parent process never decodes

    out = io.BytesIO()
    with Image.open(io.BytesIO(content), formats=CONVERTIBLE) as image:
        image.seek(0)
        mode = "RGBA" if image.has_transparency_data else "RGB"
        pixels = image.convert(mode)
        pixels.info = {}
        pixels.save(out, "PNG", compress_level=6)
    return out.getvalue()


def main() -> None:
    """Convert stdin to stdout."""
    from adloom.edges.picture_child import LIMITS, leave_the_network, limit, limit_cpu  # noqa: PLC0415 - as above

    warnings.simplefilter("ignore")
    content = sys.stdin.buffer.read()
    from PIL import Image  # noqa: PLC0415 - loaded before files are limited

    Image.init()
    leave_the_network()
    for what, most in LIMITS.items():
        limit(what, most)
    limit_cpu()
    sys.stdout.buffer.write(_converted(content))


if __name__ == "__main__":
    main()
