"""The two HTTP clients under the image API: one for paid requests, each sent at most once, one for all others.

Both read proxies (``HTTPS_PROXY``, ``NO_PROXY`` …) and certificate authorities (``SSL_CERT_FILE``, ``SSL_CERT_DIR``)
from the environment the way httpx does, but no request to this machine goes through a proxy: with http it would carry
the key in the clear. Both follow no redirect, and keep no cookie. Neither holds the key: callers add it to the
individual request.
"""

from __future__ import annotations

import logging
import os
import ssl
import zlib
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from adloom import __version__
from adloom.core.errors import SettingInvalid
from adloom.edges.addresses import is_internal_address, is_loopback_host


class BadBody(Exception):
    """An answer's body that is not taken: too long, or not in the encoding that it says."""


TROUBLE = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, BadBody)
"""All that the wire raises: httpx's own, what slips through its aiohttp transport, time-outs (an OSError), ours."""

HEADERS = {
    "User-Agent": f"adloom/{__version__}",  # EvoLink's result host refuses the default agents of libraries
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # images are compressed already, and answers are bounded by what arrives
}


_ZIPPED = ("gzip", "x-gzip", "deflate")
_EITHER_FORMAT = zlib.MAX_WBITS | 32  # zlib reads by itself whether it is gzip or deflate


class InternalAddress(OSError):
    """A public name resolved to an address inside."""


def _no_cookies() -> CookieJar:
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def quiet_http_logs() -> None:
    """Keep full URLs out of the logs: at INFO httpx writes each of them, and result links are signed."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, logger.level))


def ssl_context() -> ssl.SSLContext:
    """One TLS context for all clients of this process, since loading the authorities costs some 20 ms."""
    return _context_of(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _context_of(*_authorities: str | None) -> ssl.SSLContext:
    """The context that httpx creates from these variables, which it reads itself."""
    try:
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        _refuse("SSL_CERT_FILE or SSL_CERT_DIR cannot be read", error)


def paid_client(context: ssl.SSLContext) -> httpx.AsyncClient:
    """The client of the paid POST: httpx's own transport, which reports when the first byte leaves, and never retries.

    Each request has a connection of its own: a kept one that the server just closed would turn a free retry into an
    unknown purchase.
    """
    try:
        return _DirectToThisMachine(
            verify=context,
            headers={**HEADERS, "Connection": "close"},
            cookies=_no_cookies(),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        _refuse("a proxy variable cannot be used", error)


def free_client(context: ssl.SSLContext, *, connections: int, public_only: bool = False) -> httpx.AsyncClient:
    """A client for reads and downloads over aiohttp, which costs a third of httpx's own transport per byte.

    ``public_only`` refuses names that resolve to internal addresses. The connection is made to the very addresses that
    were checked, so a name cannot change in between. Only ``localhost`` may lead to this machine: callers that allow it
    have decided so. Behind a proxy, the proxy resolves names.
    """
    try:
        return _FreeClient(context, connections=connections, public_only=public_only)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        _refuse("a proxy variable cannot be used", error)


async def read_body(response: httpx.Response, most_bytes: int) -> bytes:
    """The whole body of a streamed answer. Raises BadBody beyond ``most_bytes``, on the wire or inflated.

    Bodies are requested uncompressed; one that arrives compressed anyway is inflated no further than the limit.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", *_ZIPPED):
        raise BadBody("the answer came in an encoding that was not requested")
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > most_bytes:
            raise BadBody("the answer is too long")
    return _inflated(bytes(raw), most_bytes) if raw and encoding in _ZIPPED else bytes(raw)


def _inflated(content: bytes, most_bytes: int) -> bytes:
    inflater = zlib.decompressobj(_EITHER_FORMAT)
    try:
        body = inflater.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise BadBody("the answer cannot be inflated") from error
    if len(body) > most_bytes:
        raise BadBody("the answer is too long")
    if not inflater.eof:
        raise BadBody("the answer ends in the middle of its compression")
    return body


def _refuse(what: str, error: Exception) -> NoReturn:
    raise SettingInvalid(
        f"{what} ({type(error).__name__})",
        remedy="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
    ) from error


class _DirectToThisMachine(httpx.AsyncClient):
    """httpx's client with its proxy rules, except for this machine: httpx would send even that to a proxy."""

    def _transport_for_url(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        return self._transport if is_loopback_host(url.host) else super()._transport_for_url(url)


class _FreeClient(_DirectToThisMachine, HttpxAiohttpClient):
    """httpx's client, proxy rules included, with aiohttp sessions of our own making underneath."""

    def __init__(self, context: ssl.SSLContext, *, connections: int, public_only: bool) -> None:
        self._context = context
        self._connections = connections
        self._public_only = public_only
        super().__init__(verify=context, headers=HEADERS, cookies=_no_cookies(), follow_redirects=False)

    def _init_transport(self, *_args: Any, **_kwargs: Any) -> httpx.AsyncBaseTransport:  # noqa: ANN401 - httpx's seam
        public_only = self._public_only
        return AiohttpTransport(
            verify=self._context, client=lambda: self._session(PublicResolver() if public_only else None)
        )

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_args: Any, **_kwargs: Any) -> httpx.AsyncBaseTransport:  # noqa: ANN401
        return AiohttpTransport(verify=self._context, proxy=proxy, client=lambda: self._session(None))

    def _session(self, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=self._connections, resolver=resolver)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class PublicResolver(AbstractResolver):
    """Resolves names as aiohttp would, and refuses a name if any of its addresses is internal."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or DefaultResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401
        found = await self._inner.resolve(host, port, family)
        here = is_loopback_host(host)
        if any(is_internal_address(each["host"]) and not (here and is_loopback_host(each["host"])) for each in found):
            raise InternalAddress(f"{host} leads to an internal address")
        return found

    async def close(self) -> None:
        await self._inner.close()
