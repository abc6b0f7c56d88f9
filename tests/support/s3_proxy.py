"""A proxy in front of a real S3 server that does what no server does on demand: lose replies, refuse, throttle."""

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = str
"""What goes wrong. ``<status> <code>``: answer that instead; ``<status> page``: as a gateway would.

``lose``: do it, answer nothing. ``cut``: do nothing, answer nothing. ``break``: do it, end in the middle of the answer.
"""


@dataclass
class Proxy:
    """The way to a server, with a rule that says what goes wrong: method and path in, a fault or nothing out.

    ``judge`` is asked after the rule, and is told the headers too, by their names in lower case.
    """

    upstream: str
    rule: Callable[[str, str], Fault | None] = lambda *_: None
    judge: Callable[[str, str, Mapping[str, str]], Fault | None] = lambda *_: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def fail_next(self, fault: Fault, *, method: str = "PUT", part: str = "", times: int = 1) -> None:
        """Let the next requests of a kind meet a fault."""
        left, lock = [times], threading.Lock()

        def rule(asked: str, path: str) -> Fault | None:
            with lock:
                if asked != method or part not in path or not left[0]:
                    return None
                left[0] -= 1
                return fault

        self.rule = rule


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.seen.append((self.command, self.path))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.proxy.rule(self.command, self.path) or self.proxy.judge(self.command, self.path, headers)
        if fault == "cut":
            self.close_connection = True
        elif fault in {None, "lose", "break"}:
            self._forward(body, fault)
        elif fault.endswith(" page"):
            self._answer(int(fault.split()[0]), [("Content-Type", "text/html")], b"<html><h1>Not here</h1></html>")
        else:
            status, code = fault.split()
            text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            self._answer(int(status), [("Content-Type", "application/xml")], text)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815 - the names that http.server asks for

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        upstream = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=120)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            upstream.close()
        if fault == "lose":
            self.close_connection = True
        else:
            skipped = ("transfer-encoding", "content-length", "connection")
            self._answer(
                answer.status,
                [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped],
                content,
                breaks_off=fault == "break",
            )

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, breaks_off: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if breaks_off else content)
        self.close_connection = self.close_connection or breaks_off

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
