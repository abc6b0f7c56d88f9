"""Chance of a seed: the same in every run, whatever else was asked before."""

from adloom.sandbox.dice import SeededRandom


def test_a_roll_depends_on_its_seed_name_and_numbers_and_on_nothing_else():
    first, again = SeededRandom(7), SeededRandom(7)
    again.roll("something else")
    rolls = [first.roll("reply", 1), first.roll("reply", 2), first.roll("hole", 1), SeededRandom(8).roll("reply", 1)]
    assert again.roll("reply", 1) == rolls[0]
    assert len(set(rolls)) == 4


def test_the_parts_of_a_name_cannot_run_into_each_other():
    dice = SeededRandom(7)
    assert dice.roll("hole", 1, 12) != dice.roll("hole", 11, 2)


def test_a_rate_hits_about_as_often_as_it_says_and_the_limits_always_or_never():
    dice = SeededRandom(7)
    hits = [sum(dice.hits(rate, "reply", number) for number in range(1000)) for rate in (0, 0.3, 1)]
    assert (hits[0], hits[2]) == (0, 1000)
    assert 250 < hits[1] < 350


def test_numbers_lie_between_their_bounds_and_bounds_that_are_no_range_are_their_lower_one():
    dice = SeededRandom(7)
    assert all(2 <= dice.between((2, 3), "task", number) < 3 for number in range(100))
    assert dice.between((5, 5), "task") == dice.between((5, 1), "task") == 5


def test_every_option_can_be_picked():
    assert {SeededRandom(7).pick("abc", "code", number) for number in range(50)} == set("abc")
