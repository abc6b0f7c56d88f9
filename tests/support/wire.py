"""A wire to a server: it can be slow, and it can be cut for good, as when the server is gone."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"


@dataclass
class Wire:
    """The way to a port of this machine. Each piece of an answer takes ``delay_s`` longer."""

    to_port: int
    delay_s: float = 0
    ends: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"wire": self})
        self._server = socketserver.ThreadingTCPServer((LOOPBACK, 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self) -> None:
        """End every connection, and refuse new ones from now on."""
        self._server.shutdown()
        self._server.server_close()
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Handler(socketserver.BaseRequestHandler):
    wire: Wire

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection((LOOPBACK, self.wire.to_port)) as far:
            self.wire.ends += [self.request, far]
            answering = threading.Thread(target=_carry, args=(far, self.request, self.wire.delay_s), daemon=True)
            answering.start()
            _carry(self.request, far, 0)
            answering.join()


def _carry(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            time.sleep(delay_s)
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def laid_wire(to_port: int, *, delay_s: float = 0) -> Iterator[Wire]:
    wire = Wire(to_port, delay_s)
    try:
        yield wire
    finally:
        wire.cut()
