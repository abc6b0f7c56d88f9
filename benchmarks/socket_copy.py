"""The floor: bytes from a socket, hashed, written and synced, one connection after another in one thread.

    python benchmarks/socket_copy.py BASE_URL FOLDER --images 1000

There is no API behind it, no waiting and no judging: nothing that stores images can take less processor time.
"""

import argparse
import hashlib
import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

PIECE_BYTES = 1 << 18


def copy(base_url: str, folder: Path, images: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    server = http.client.HTTPConnection(urlsplit(base_url).netloc)
    for number in range(images):
        server.request("GET", f"/files/floor-{number}.jpg")
        answer = server.getresponse()
        digest = hashlib.sha256()
        with (folder / f"{number}.jpg").open("wb") as file:
            while piece := answer.read(PIECE_BYTES):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Bytes from a socket, hashed and written.")
    parser.add_argument("base_url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    given = parser.parse_args()
    copy(given.base_url, given.folder, given.images)
