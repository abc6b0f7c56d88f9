"""Prefect's server as adloom runs it: it requires a secret, and answers only to its own names and pages.

``python -m adloom.orchestration.server``, in the environment of prefect.env with PREFECT_SERVER_API_AUTH_STRING.
Prefect itself requires no secret and answers pages of any origin under any ``Host``: even if it listens on loopback
only, any web page that is visited, or another user of the machine, could start runs.
"""

import base64
import os
import secrets
import sys
from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adloom.orchestration.first_database import lay_out_first_database

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SECRET = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - the name of the setting
CLIENTS_SECRET = "PREFECT_API_AUTH_STRING"  # noqa: S105 - the same
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
NO_ORIGIN = "https://none.invalid"
"""Means no origin at all: Prefect treats an empty list as its default, which is all of them."""

LOOPBACK = ("127.0.0.1", "localhost")
PORT = "4200"
"""Prefect's own default."""

SECRET_BYTES = 32


def kept_secret(file: Path) -> str:
    """The secret in a file that only its owner reads, made at the first call. Prefect wants ``user:password``."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    with os.fdopen(descriptor, "w") as opened:
        secret = new_secret()
        opened.write(secret + "\n")
    return secret


def new_secret() -> str:
    """A secret that cannot be guessed: 256 random bits."""
    return f"adloom:{secrets.token_urlsafe(SECRET_BYTES)}"


def authorization(secret: str) -> dict[str, str]:
    """The header that a request to the API needs."""
    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


def own_origins(environ: Mapping[str, str]) -> str:
    """The origins whose pages may use the API: the server's own, under the names of loopback and as browsers see it."""
    port = environ.get("PREFECT_SERVER_API_PORT", PORT)
    seen = urlsplit(environ.get("PREFECT_UI_API_URL", ""))
    outside = [f"{seen.scheme}://{seen.netloc.lower()}"] if seen.netloc else []
    return ",".join([*(f"http://{host}:{port}" for host in LOOPBACK), *outside])


def own_hosts(environ: Mapping[str, str]) -> list[str]:
    """The names that a request may call the server by: those of loopback, and of the addresses that are set for it.

    A page whose own name was made to point at this machine (DNS rebinding) comes with another.
    """
    addresses = (environ.get(name, "") for name in ("PREFECT_API_URL", "PREFECT_UI_API_URL"))
    named = {host for address in addresses if (host := urlsplit(address).hostname)}
    return sorted({*LOOPBACK, *named})


class OwnPagesOnly:
    """Refuses requests of pages of other origins before they have any effect.

    CORS alone only keeps the answer from the page. Behind a proxy that signs people on and adds the secret, a foreign
    page could otherwise act for whoever opened it. Clients other than browsers send no ``Origin``.
    """

    def __init__(self, app: "ASGIApp", origins: Collection[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        origin = next((value for name, value in scope.get("headers", ()) if name == b"origin"), None)
        if origin is None or "*" in self._origins or origin.decode("latin-1") in self._origins:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain"), (b"vary", b"origin")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"Not for pages of another origin"})


def without_proxy(environ: MutableMapping[str, str]) -> None:
    """Keep what is sent to loopback, including the secret, off a proxy that is set for the internet."""
    for name in ("NO_PROXY", "no_proxy"):
        there = [host for host in environ.get(name, "").split(",") if host]
        environ[name] = ",".join([*there, *(host for host in LOOPBACK if host not in there)])


def main() -> None:
    """Serve until a signal ends it."""
    if not os.environ.get(SECRET):
        sys.exit(
            f"{SECRET} is not set: without it, anyone who reaches the server can start runs and so execute code.\n"
            f"Set it, and {CLIENTS_SECRET} of the workers, to the same: user:password, long and random."
        )
    os.environ.setdefault(ORIGINS, own_origins(os.environ))
    import uvicorn  # noqa: PLC0415 - Prefect reads its settings when it is imported
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from prefect.settings import get_current_settings  # noqa: PLC0415
    from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415

    current = get_current_settings()
    lay_out_first_database(current)
    settings = current.server
    guarded = OwnPagesOnly(create_app(final=True), settings.api.cors_allowed_origins.split(","))
    uvicorn.run(  # as `prefect server start` does it
        TrustedHostMiddleware(guarded, own_hosts(os.environ), www_redirect=False),
        host=settings.api.host,
        port=settings.api.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
