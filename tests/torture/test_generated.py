"""The short form of the generated provider: histories of one seed, and what they must have met."""

from torture.generated import play
from torture.simulation import quiet

MUST_HAPPEN = (
    "crash after an effect",
    "fetch image",
    "lie empty",
    "lie failed",
    "lie zero",
    "purchase false-id",
    "purchase html-502-taken",
    "purchase plain",
    "purchase zero-reserve",
    "summary in a batch",
    "unknown",
    "variant archived",
    "variant held",
)


def test_no_answer_that_the_facts_permit_makes_a_run_buy_twice_or_lose_an_image():
    with quiet():
        tally = play(40, first_seed=10)
    assert tally.failures == []
    assert [what for what in MUST_HAPPEN if not tally.counts[what]] == []
