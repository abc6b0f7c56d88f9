"""S3 clients as boto3 resolves them: it reads endpoint, region, profile, role and credentials.

What adloom adds was measured (2026-11, boto3 1.43 over HTTPS). A put with its SHA-256 and an unsigned payload costs
half the CPU of boto3's own way, and sends one plain body with a length, which every S3 understands: boto3's chunked way
is refused by some and stored framing and all by others. Over http nothing but the signature would vouch for the body,
so there it is signed; http is only for this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import boto3.session
from botocore.config import Config

from adloom.core.errors import StoreRefused
from adloom.edges.addresses import is_loopback_host

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_Result = TypeVar("_Result")

CONNECT_TIMEOUT_S = 5
TRIES_PER_READ = 4
"""boto3's own, within seconds of each other, for a single read. A store tries again by itself: see ``store``."""

_SPARE_CONNECTIONS = 4
_AWS = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class Lane:
    """A client and a pool of threads of its own, so that a burst of images never delays a claim."""

    threads: int
    read_timeout_s: int


RECORDS = Lane(threads=8, read_timeout_s=10)
IMAGES = Lane(threads=16, read_timeout_s=30)


class Connection:
    """Both lanes to one S3. Clients are made at the first use, in a lane's thread, and again after ``close``.

    ``tries`` is how often boto3 itself sends a request.
    """

    def __init__(self, *, tries: int) -> None:
        self._tries = tries
        self._lock = threading.Lock()
        self._session: boto3.session.Session | None = None
        self._clients: dict[Lane, S3Client] = {}
        self._pools: dict[Lane, ThreadPoolExecutor] = {}

    def pool(self, lane: Lane) -> ThreadPoolExecutor:
        """The threads of a lane."""
        with self._lock:
            if lane not in self._pools:
                self._pools[lane] = ThreadPoolExecutor(lane.threads, thread_name_prefix="s3")
            return self._pools[lane]

    def do(self, lane: Lane, action: Callable[[S3Client], _Result]) -> _Result:
        """Do something with a lane's client, in the calling thread."""
        return action(self._client(lane))

    def renew(self) -> None:
        """Forget clients and credentials: the next use reads them again from their source."""
        with self._lock:
            self._session = None
            self._clients = {}

    def close(self) -> None:
        """Close what is open. A later use opens it again."""
        with self._lock:
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            for client in self._clients.values():
                client.close()
            self._pools, self._clients, self._session = {}, {}, None

    def _client(self, lane: Lane) -> S3Client:
        with self._lock:
            if lane not in self._clients:
                self._session = self._session or boto3.session.Session()
                self._clients[lane] = _open_client(self._session, lane, self._tries)
            return self._clients[lane]


def _open_client(session: boto3.session.Session, lane: Lane, tries: int) -> S3Client:
    """A client configured for AWS, or for another place if boto3's configuration leads there."""
    client: S3Client = session.client("s3", config=_config(lane, tries, payload_signing_enabled=False))
    endpoint = urlsplit(client.meta.endpoint_url)
    host = endpoint.hostname or ""
    if endpoint.scheme == "https" and host.endswith(_AWS):
        return _tuned(client, lane)
    if endpoint.scheme != "https" and not is_loopback_host(host):
        raise StoreRefused(
            f"the S3 endpoint {endpoint.scheme}://{host} would carry the images in the clear",
            remedy="Give its https:// address in AWS_ENDPOINT_URL_S3; http is only for this machine.",
        )
    here = Config(proxies={}) if is_loopback_host(host) else None  # requests to this machine never go through a proxy
    own: dict[str, Any] = {"payload_signing_enabled": False} if endpoint.scheme == "https" else {}
    settings: Mapping[str, object] = getattr(client.meta.config, "s3", None) or {}  # ours, and the profile's
    if "addressing_style" not in settings:  # a bucket name in the host needs DNS that few such servers have
        own["addressing_style"] = "path"
    client.close()
    config = _config(lane, tries, **own)
    return _tuned(session.client("s3", config=config.merge(here) if here else config), lane)


def _config(lane: Lane, tries: int, **s3: object) -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=lane.read_timeout_s,
        max_pool_connections=lane.threads + _SPARE_CONNECTIONS,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": tries},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=s3,  # type: ignore[arg-type]
    )


def _tuned(client: S3Client, lane: Lane) -> S3Client:
    if lane is RECORDS:
        client.meta.events.register_last("before-call.s3.PutObject", _do_not_ask_first)
    return client


def _do_not_ask_first(params: dict[str, Any], **_: object) -> None:
    """Send a small body at once: ``Expect: 100-continue`` would cost a round trip more than it saves."""
    params["headers"].pop("Expect", None)
