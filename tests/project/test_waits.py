"""Waits and counts that decide when money is spent, risked or given up: what the pages promise, by default.

Who changes one of them changes what a run costs when something is wrong, so each number stands here a second time.
"""

from decimal import Decimal

import pytest

from adloom.archive import rescue
from adloom.archive.fetch import DOWNLOAD_TRIES
from adloom.collect import failure, poller
from adloom.core import results
from adloom.guards import backlog, retrying_store
from adloom.run import batches, fulfilment
from adloom.spend import spender, unknown
from adloom.world import DEFAULT_INTERVAL_S

MINUTE_S = 60


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [
        pytest.param(poller.PATIENCE_INTERVALS, 5 * MINUTE_S, id="an API that cannot be read"),
        pytest.param(poller.ABSENT_INTERVALS, 10 * MINUTE_S, id="a task that the API does not know, or not yet"),
        pytest.param(poller.STUCK_INTERVALS, 120 * MINUTE_S, id="a task that does not end"),
        pytest.param(failure.RELEASE_INTERVALS, MINUTE_S, id="the charge of a failed task that has to come back"),
        pytest.param(failure.SILENT_INTERVALS, 10 * MINUTE_S, id="a failed task that the API has forgotten"),
        pytest.param(results.READ_ON_INTERVALS, 5 * MINUTE_S, id="images that are billed and not shown"),
        pytest.param(retrying_store.PATIENCE_INTERVALS, 5 * MINUTE_S, id="an archive that fails"),
        pytest.param(fulfilment.OTHERS_INTERVALS, 10 * MINUTE_S, id="calls of another run that lives"),
        pytest.param(unknown.PURSUED_INTERVALS, MINUTE_S, id="purchases without an answer, after all others"),
    ],
)
def test_a_run_waits_as_long_as_the_pages_say(intervals: float, seconds: float):
    assert intervals * DEFAULT_INTERVAL_S == seconds


@pytest.mark.parametrize(
    ("number", "promised"),
    [
        pytest.param(spender.SENDS_WITHOUT_CONNECTION, 5, id="sends without a connection until buying stops"),
        pytest.param(spender.THROTTLED_FOR_S, 3600, id="seconds that an API may say 'slower' to one purchase"),
        pytest.param(unknown.RESEND_GAP_INTERVALS * DEFAULT_INTERVAL_S, 15, id="a key that was sent again rests first"),
        pytest.param(unknown.LONGEST_GAP_S, 60 * MINUTE_S, id="the longest rest of a key"),
        pytest.param(unknown.CALLBACK_SKEW_S, 60 * MINUTE_S, id="the API's clock beside a callback's token"),
        pytest.param(unknown.LEAST_TO_STOP, 3, id="purchases without an answer until buying stops"),
        pytest.param(unknown.SHARE_TO_STOP, Decimal("0.01"), id="or this share of all calls"),
        pytest.param(fulfilment.WAITS_FOR_A_FORMER_TASK, 3, id="new attempts that a former task puts off"),
        pytest.param(rescue.LISTED_S, 30 * 3600, id="how far back tasks are looked for that no ledger knows"),
        pytest.param(DOWNLOAD_TRIES, 8, id="tries of one download in one run"),
        pytest.param(backlog.BACKLOG_IMAGES, 500, id="finished images that may wait to be fetched"),
        pytest.param(backlog.LINKS_WAIT_S, 2 * 3600, id="seconds of a link's 24 hours after which buying waits"),
        pytest.param(backlog.LEFT_IMAGES, 50, id="images that could not be fetched until buying stops"),
        pytest.param(batches.DRAIN_S, 20, id="seconds for what is under way in an interrupted run"),
    ],
)
def test_a_run_gives_up_where_the_pages_say(number: object, promised: object):
    assert number == promised
