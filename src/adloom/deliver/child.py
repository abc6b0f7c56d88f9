"""The child process that handles images for a delivery; ``children`` starts it and talks to it over pipes.

It runs as a script, without the parent's environment, without network, with bounds of memory and time, and may write to
no file. A request is one line of JSON (``do``, what it needs, and ``size``) and that many bytes; the answer has the
same form. ``{"failed": reason}`` answers what cannot be done. The first line is ``{"ready": true}``. It ends with
stdin.

``open`` decodes a master, ``make`` cuts and encodes a rendition of it, ``remake`` does so once more to compare.
``identity``, ``parent`` and ``sign`` are for a second child that receives the key and decodes nothing. ``inspect``
reads what a file carries. Where a command signs instead of a key, ``sign`` asks its parent: ``{"ask": "signature"}``
and the bytes to sign, answered like a request.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from PIL import Image

from adloom.core.carried import carried
from adloom.core.channel import Gate
from adloom.core.crop import Crop, Focus, Pixels, crop, kept, serves
from adloom.deliver.encode import FLOOR_QUALITY, DoesNotFit, Encoder, encode, fit
from adloom.deliver.marks import credentials
from adloom.deliver.pixels import Master, Unusable, cut, open_master, xmp_of
from adloom.deliver.saliency import salient_point
from adloom.edges.picture_child import LIMITS, leave_the_network, limit, limit_cpu

Answer: TypeAlias = tuple[dict[str, Any], bytes]
Request: TypeAlias = Mapping[str, Any]

MEMORY_BYTES = 2 * 1024**3
"""A master of 49 million pixels of 4 bytes three times over, the libraries, and the files made from it."""

CPU_S = 60
"""For one request: a rendition as AVIF of 4K takes some 3 s."""


class Bench:
    """What one child holds between requests: the master that it cuts, or the identity that it signs with."""

    def __init__(self, ask: Callable[[bytes], bytes]) -> None:
        self._ask = ask
        self._master: Master | None = None
        self._cuts: dict[tuple[Pixels, Crop, str, str], Encoder] = {}
        """Of the master that is open: several channels often take the same pixels, of a kind, with the same marks."""
        self._identity = credentials.Identity("")
        self._parent: credentials.Parent | None = None

    def answer(self, request: Request, content: bytes) -> Answer:
        """The answer to a request."""
        try:
            work: Callable[[Request, bytes], Answer] = getattr(self, f"do_{request['do']}")
            return work(request, content)
        except (Unusable, DoesNotFit, credentials.Unsignable) as error:
            return {"failed": str(error)}, b""
        except MemoryError:
            self._master, self._cuts = None, {}
            return {"failed": "it needs more memory than the process may have"}, b""

    def do_open(self, request: Request, content: bytes) -> Answer:
        """Decode a master: its pixels the right way up, and the focus that was asked for or is proposed."""
        self._master, self._cuts = None, {}  # before the next one needs the memory
        self._master = open_master(content)
        focus = salient_point(self._master.image) if request["focus"] == "auto" else Focus(*request["focus"])
        pixels = self._master.pixels
        return {"width_px": pixels.width, "height_px": pixels.height, "focus": list(focus)}, b""

    def do_make(self, request: Request, _: bytes) -> Answer:
        """Cut and encode one rendition of the master that is open."""
        if self._master is None:
            raise Unusable("no master is open")
        master, wanted = self._master.pixels, Pixels(request["width_px"], request["height_px"])
        if not serves(master, wanted):
            have, need = f"{master.width}x{master.height}", f"{wanted.width}x{wanted.height}"
            raise Unusable(f"the master has {have} pixels: {need} cannot be cut from it without enlarging")
        part = crop(master, wanted, Focus(*request["focus"]))
        name = (wanted, part, request["kind"], request["xmp"])
        if name not in self._cuts:
            image = cut(self._master, part, wanted, opaque=request["kind"] == "jpeg")
            self._cuts[name] = Encoder(image, request["kind"], request["xmp"].encode())
        gate, signature = Gate(request["gate"]), request["signature_bytes"]
        made = fit(self._cuts[name], request["most_bytes"], gate, signature)
        told = {"quality": made.quality, "crop": list(part), "kept": kept(master, wanted), "warning": made.warning}
        return told, made.content

    def do_remake(self, request: Request, content: bytes) -> Answer:
        """Make a rendition of the master that is open once more, with the marks of the file that was made of it."""
        if self._master is None:
            raise Unusable("no master is open")
        part, wanted = Crop(*request["crop"]), Pixels(request["width_px"], request["height_px"])
        master = self._master.pixels
        if part.x < 0 or part.y < 0 or part.x + part.width > master.width or part.y + part.height > master.height:
            raise Unusable("the crop is not inside the master")
        kind = request["kind"]
        image = cut(self._master, part, wanted, opaque=kind == "jpeg")
        return {}, encode(image, kind, request["quality"], xmp_of(content))

    def do_identity(self, request: Request, _: bytes) -> Answer:
        """Take the identity to sign with, and prove that it makes a valid signature."""
        ask = None if request["key"] else self._ask
        self._identity = credentials.Identity(request["certificate"], request["key"], ask)
        credentials.prove(self._identity, encode(Image.new("RGB", (16, 16)), "jpeg", FLOOR_QUALITY, b""))
        return {}, b""

    def do_parent(self, request: Request, content: bytes) -> Answer:
        """Take a master as the parent of what is signed next."""
        self._parent = credentials.parent_of(
            self._identity, content, request["media_type"], request["title"], request["system"]
        )
        return {}, b""

    def do_sign(self, request: Request, content: bytes) -> Answer:
        """Sign a rendition."""
        parent = self._parent if request["with_parent"] else None
        made = credentials.signed(
            self._identity, content, request["media_type"], request["title"], parent, tuple(request["changes"])
        )
        return {}, made

    def do_inspect(self, request: Request, content: bytes) -> Answer:
        """What a file carries. The manifest is read only where the extra is installed."""
        found = carried(content)
        known = credentials.is_installed() and request["media_type"] in credentials.SIGNABLE
        reading = credentials.read(content, request["media_type"], request["anchors"]).as_data() if known else None
        told = {"carried": asdict(found), "manifest": reading}
        return {}, json.dumps(told).encode()


def main() -> None:
    """Serve requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    leave_the_network()
    if credentials.MANIFESTS in sys.argv and credentials.is_installed():
        import c2pa  # noqa: F401, PLC0415 - loaded while files may still be opened
    for what, most in (LIMITS | {resource.RLIMIT_AS: MEMORY_BYTES}).items():
        limit(what, most)
    source, answers = sys.stdin.buffer, sys.stdout.buffer

    def send(told: Mapping[str, Any], content: bytes) -> None:
        answers.write(json.dumps({**told, "size": len(content)}).encode() + b"\n" + content)
        answers.flush()

    def receive() -> tuple[Request, bytes] | None:
        if not (line := source.readline()):
            return None
        request = json.loads(line)
        content = source.read(request["size"])
        return (request, content) if len(content) == request["size"] else None

    def ask(content: bytes) -> bytes:
        send({"ask": "signature"}, content)
        received = receive()
        return received[1] if received else b""

    bench = Bench(ask)
    send({"ready": True}, b"")
    while (received := receive()) is not None:
        limit_cpu(CPU_S)
        send(*bench.answer(*received))


if __name__ == "__main__":
    main()
