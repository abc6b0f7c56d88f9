"""Damaged campaigns are read or refused in words that a terminal can show, never anything else.

`tests/fuzz/readers.py` formats for the same with a fuzzer that is guided by coverage, for as long as one likes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adloom.campaign.files import open_campaign
from adloom.core.errors import CampaignInvalid
from adloom.core.template import BadTemplate, prompt_template

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
WRITTEN = {
    name: (CAMPAIGNS / name).read_bytes() for name in ("languages.yaml", "photos.yaml", "prompts.csv", "axes.csv")
}
PIECES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b"\0", b"\r", b"\xff\xfe", b'"', b'""', b",", b";", b"\t", b"\n\n", b": ", b"- ", b"{{", b"}}", b"{%", b"&a ",
         b"*a", b"!!", b"<<: ", b"[", b"}", b"\x1b[2J", "。".encode(), "\u2028".encode(), b"../", b"x" * 9000]
    ),
)  # fmt: skip
EXPRESSIONS = st.lists(
    st.sampled_from(
        ["{{", "}}", "{%", "%}", " a ", " b.c ", "a['c']", "|upper", "|replace('x', 'yy')", "|default('z')", "|length",
         " if ", " endif ", " else ", " == ", " in ", "'x'", "1", "-", "+", "~", "(", ")", "[0]", "[::-1]",
         ".__class__", " not ", " and ", " is defined", "{#", "#}", "\n"]
    ),
    max_size=14,
).map("".join)  # fmt: skip
bounded = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    copied = tmp_path_factory.mktemp("campaigns")
    shutil.copytree(CAMPAIGNS / "references", copied / "references")
    return copied


@bounded
@given(st.sampled_from(sorted(WRITTEN)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), PIECES), max_size=4))
def test_a_file_with_damaged_bytes_is_read_or_refused(folder: Path, name: str, damages):
    content = WRITTEN[name]
    for where, length, piece in damages:
        start = int(where * len(content))
        content = content[:start] + piece + content[start + length :]
    (folder / name).write_bytes(content)
    try:
        rows = list(open_campaign(folder / name).rows())
    except CampaignInvalid as invalid:
        texts = [str(problem) for problem in invalid.problems]
        assert texts
        assert [text for text in texts if not text.isprintable()] == []
    else:
        assert all(row.prompt.strip() and row.variants for row in rows)


@bounded
@given(EXPRESSIONS)
def test_any_template_is_filled_in_or_refused(text: str):
    try:
        assert isinstance(prompt_template(text).render({"a": "x", "b": {"c": "y"}}), str)
    except BadTemplate as bad:
        assert bad.message.strip()  # noqa: PT017
