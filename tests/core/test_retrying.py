"""What is free is tried again; what is not, or would be in vain, is not."""

import asyncio

import pytest

from adloom.core.retrying import retried


class Flaky:
    """Fails with each of its errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []
        self.failures: list[str] = []
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def retried(self, tries: int = 99) -> str:
        return await retried(
            lambda: self.ask(),  # noqa: PLW0108 - callers pass lambdas, which tenacity alone does not await
            again=lambda error: isinstance(error, OSError),
            wait_s=lambda _, failures: 10.0 + failures,
            sleep=self.sleep,
            ends=lambda so_far: so_far >= tries,
            failed=lambda error: self.failures.append(str(error)),
        )


async def test_it_tries_again_until_it_succeeds_and_waits_as_it_is_told():
    flaky = Flaky(OSError("one"), OSError("two"))
    assert await flaky.retried() == "answer"
    assert (flaky.calls, flaky.waits, flaky.failures) == (3, [10.0, 11.0], ["one", "two"])


async def test_the_last_error_is_raised_as_it_was():
    flaky = Flaky(OSError("one"), OSError("two"), OSError("three"))
    with pytest.raises(OSError, match="two"):
        await flaky.retried(tries=2)
    assert (flaky.calls, flaky.waits, flaky.failures) == (2, [10.0], ["one", "two"])


async def test_another_error_is_raised_at_once():
    flaky = Flaky(ValueError("not worth a try"))
    with pytest.raises(ValueError, match="not worth"):
        await flaky.retried()
    assert (flaky.calls, flaky.waits) == (1, [])


async def test_being_cancelled_is_passed_on():
    flaky = Flaky()

    async def hang() -> str:
        raise asyncio.CancelledError

    flaky.ask = hang
    with pytest.raises(asyncio.CancelledError):
        await flaky.retried()
