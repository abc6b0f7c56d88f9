"""Callback addresses: one for each attempt, which only the holder of the secret can compute."""

import pytest

from adloom.core.callbacks import LONGEST_ADDRESS, CallbackAddresses, Secret, inbox, read_secrets, token
from adloom.core.errors import InputError

OLD, NEW = "0123456789abcdef" * 2, "fedcba9876543210" * 2


def _address(call: str = "c-1", attempt: int = 1, *, prefix: str = "mugs/main/", secret: Secret | None = None) -> str:
    addresses = CallbackAddresses("https://us.example/hook/", prefix, secret or Secret(OLD.encode()))
    return addresses.of(call, attempt)


def test_an_address_names_its_attempt_and_ends_with_its_token():
    start, _, sealed = _address(secret=Secret(NEW.encode(), 2)).rpartition("/")
    assert start == "https://us.example/hook/mugs/main/c-1/1"
    version, _, seal = sealed.partition("-")
    assert (version, len(seal)) == ("2", 64)


def test_no_two_attempts_and_no_two_secrets_share_a_token():
    addresses = [
        _address(),
        _address("c-2"),
        _address(attempt=2),
        _address(prefix="mugs/june/"),
        _address(secret=Secret(NEW.encode())),
    ]
    assert len({address.rpartition("/")[2] for address in addresses}) == len(addresses)
    assert _address() == addresses[0]  # a purchase that is sent again has the same bytes


def test_without_a_secret_every_call_has_the_address_of_the_campaign():
    addresses = CallbackAddresses("https://us.example/hook/", "mugs/main/")
    assert addresses.of("c-1", 1) == addresses.of("c-2", 7) == "https://us.example/hook/"


def test_an_address_that_the_api_would_refuse_is_bad_input():
    room = LONGEST_ADDRESS - len(_address(prefix=""))
    assert len(_address(prefix="x" * room)) == LONGEST_ADDRESS
    with pytest.raises(InputError, match=str(LONGEST_ADDRESS + 1)):
        _address(prefix="x" * (room + 1))


def test_secrets_are_read_newest_first_with_their_versions():
    assert read_secrets(OLD) == (Secret(OLD.encode(), 0),)
    assert read_secrets(f"v2:{NEW} v1:{OLD}") == (Secret(NEW.encode(), 2), Secret(OLD.encode(), 1))


@pytest.mark.parametrize("text", [OLD[:-1], f"v1:{OLD[:-1]}", f"{OLD} {NEW}", f"v1:{OLD} v1:{NEW}"])
def test_weak_or_ambiguous_secrets_are_refused_without_repeating_them(text: str):
    with pytest.raises(ValueError, match=r"too short|same version") as refused:
        read_secrets(text)
    assert not any(secret in str(refused.value) for secret in (OLD[:-1], NEW[:-1]))
    assert OLD not in repr(Secret(OLD.encode()))


def test_a_token_of_a_secret_without_a_version_is_the_bare_hash():
    assert "-" not in token(Secret(OLD.encode()), "mugs/main/", "c-1", 1)


def test_what_came_for_an_attempt_lies_outside_every_campaign():
    assert inbox("mugs/main/", "c-1", 2) == "_callbacks/mugs/main/c-1/a2."
