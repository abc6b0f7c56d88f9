"""How long a run that has ended waits for a Prefect server that has gone.

Task runs travel to the server as events, three each, and Prefect tries every one of them for 7 s before the process may
end: after a server's death 23 task runs were seen to hold a finished run for 5 minutes. Here all of them together get
``AFTER_THE_RUN_S`` once the run has ended; while it goes on they are kept and tried as Prefect does.
"""

import asyncio
import logging
import math
import time
from typing import ClassVar

from prefect.client.orchestration import get_client
from prefect.events import Event
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker, emit_events_to_cloud
from websockets.exceptions import WebSocketException

log = logging.getLogger(__name__)

AFTER_THE_RUN_S = 15
ONE_EVENT_S = 10


class BoundedEventsClient(PrefectEventsClient):
    """Sends events until a moment that is set when the run ends, and drops what is left then."""

    until: ClassVar[float] = math.inf

    async def emit(self, event: Event) -> None:
        left_s = self.until - time.monotonic()
        if left_s <= 0:
            return
        try:
            async with asyncio.timeout(min(left_s, ONE_EVENT_S)):
                await super().emit(event)
        except (WebSocketException, OSError) as error:
            log.info("Prefect did not take an event: %s", type(error).__name__)


def expect_server() -> None:
    """Send the events of this process with patience, from now on. Prefect Cloud keeps its own client."""
    BoundedEventsClient.until = math.inf
    if not emit_events_to_cloud():
        EventsWorker.set_client_override(BoundedEventsClient, api_url=str(get_client().api_url))


def expect_server_no_longer() -> None:
    """The run has ended: what has not reached the server soon is dropped."""
    BoundedEventsClient.until = time.monotonic() + AFTER_THE_RUN_S
