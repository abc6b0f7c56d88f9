"""The database behind the checksums: what is in them, and which earlier ones are believed."""

import hashlib
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few, spooled

from adloom.publish.checksums import _from_text, _to_text
from adloom.publish.sums import FormerSums, Sums

ONE, TWO = "1" * 64, "2" * 64
_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), min_size=1)


def _written(sums: Sums) -> dict[str, str]:
    return _from_text(sums.written().file().read())


def test_what_was_known_counts_only_where_the_object_is_still_there():
    with closing(Sums()) as sums:
        sums.learn([("gone", ONE), ("there", ONE)])
        sums.keep([("kept", ONE)])
        assert [sums.see(name) for name in ("there", "new", "kept")] == [True, False, True]
        assert _written(sums) == {"there": ONE, "kept": ONE}


def test_the_later_word_on_an_object_counts():
    with closing(Sums()) as sums:
        sums.learn([("learned", ONE), ("kept", ONE)])
        sums.keep([("kept", TWO)])
        sums.learn([("learned", TWO)])
        sums.see("learned")
        assert _written(sums) == {"learned": TWO, "kept": TWO}


@few
@given(st.dictionaries(_NAMES, st.sampled_from([ONE, TWO]), max_size=8))
def test_checksums_are_written_and_read_as_ever(known: dict[str, str]):
    with closing(Sums()) as sums:
        sums.keep(known.items())
        content = sums.written().file().read()
    assert content == _to_text(known)
    assert dict(FormerSums(spooled(content))) == known


def _closed(lines: str) -> bytes:
    return lines.encode() + f"# {hashlib.sha256(lines.encode()).hexdigest()}\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        f"{ONE}  a\n".encode(),
        _closed(f"{ONE}  a\n")[:-1],
        _closed(f"{ONE}  a\n").replace(b"1", b"3", 1),
        _closed(f"{ONE}  b\n{TWO}  a\n"),
        _closed(f"{ONE}  a\n{TWO}  a\n"),
        _closed(f"{ONE} *a\n"),
        _closed("short\n"),
    ],
)
def test_checksums_that_are_not_as_they_were_written_are_not_believed(content: bytes):
    assert list(FormerSums(spooled(content))) == []
