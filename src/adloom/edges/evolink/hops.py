"""Follows an untrusted link hop by hop, never to an internal address, and without the key.

Each hop must be a public https address. Only for an API on this machine may it also lead to this machine, over http as
well; never to other internal hosts.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import httpx

from adloom.edges.addresses import is_internal_host, is_loopback_host
from adloom.edges.evolink import transport

_REDIRECTS = (301, 302, 303, 307, 308)


class NotFollowed(Exception):
    """The link leads to a forbidden address; ``why`` is a verb phrase about it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Hops:
    """Opens links; ``connections`` at once, ``redirects`` for each."""

    def __init__(
        self, context: ssl.SSLContext, *, loopback: bool, connections: int, redirects: int, timeouts: httpx.Timeout
    ) -> None:
        self._loopback = loopback
        self._redirects = redirects
        self._timeouts = timeouts
        self._client = transport.free_client(context, connections=connections, public_only=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def opened(
        self, url: str, method: str = "GET", headers: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[httpx.Response]:
        """The first answer that is not a redirect; each hop is checked before it is requested. Raises NotFollowed."""
        place = self._checked(url)
        for _hop in range(self._redirects + 1):
            request = self._client.build_request(method, place, headers=dict(headers), timeout=self._timeouts)
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                place = self._checked(response.headers.get("location", ""), base=place)
            finally:
                await response.aclose()
        raise NotFollowed(f"redirects more than {self._redirects} times")

    def _checked(self, link: str, base: httpx.URL | None = None) -> httpx.URL:
        """The address of the next hop."""
        try:
            place = base.join(link) if base else httpx.URL(link)
        except (httpx.InvalidURL, ValueError) as error:
            raise NotFollowed("is not an address") from error
        if not link or place.scheme not in ("https", "http"):
            raise NotFollowed("is not a web address")
        if place.userinfo:
            raise NotFollowed("carries a user name")
        here = self._loopback and is_loopback_host(place.host)
        if not here and place.scheme != "https":
            raise NotFollowed("is not https")
        if not here and is_internal_host(place.host):
            raise NotFollowed("leads to an internal address")
        return place.copy_with(fragment=None)
