"""Tries again what is free, until it succeeds or its caller gives up. A paid POST never comes through here.

The caller brings the clock, the waits and the end; the arithmetic of the waits is in ``backoff``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

_Result = TypeVar("_Result")


async def retried(
    action: Callable[[], Awaitable[_Result]],
    *,
    again: Callable[[BaseException], bool],
    wait_s: Callable[[BaseException, int], float],
    sleep: Callable[[float], Awaitable[None]],
    ends: Callable[[int], bool] = lambda _: False,
    failed: Callable[[BaseException], None] = lambda _: None,
) -> _Result:
    """Call ``action`` until it succeeds.

    An error for which ``again`` is false is raised at once, and so is the last one when ``ends`` is true for the number
    of tries so far. ``wait_s`` gets the error and the number of failures before it, and returns seconds for ``sleep``.
    ``failed`` is called with every failure that is not raised at once.
    """

    async def once() -> _Result:  # tenacity awaits only what is declared async, which a lambda is not
        return await action()

    def failure_of(state: RetryCallState) -> BaseException:
        error = state.outcome.exception() if state.outcome else None
        assert error is not None  # noqa: S101 - tenacity asks after a failure only
        return error

    retrying = AsyncRetrying(
        retry=retry_if_exception(again),
        wait=lambda state: wait_s(failure_of(state), state.attempt_number - 1),
        stop=lambda state: ends(state.attempt_number),
        after=lambda state: failed(failure_of(state)),
        sleep=sleep,
        reraise=True,
    )
    return await retrying(once)
