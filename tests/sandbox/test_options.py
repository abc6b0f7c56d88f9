"""The command line of the sandbox."""

from __future__ import annotations

import pytest

from adloom.sandbox import main


@pytest.mark.parametrize("options", [["--set", "nonsense=1"], ["--set", "nonsense"], ["--seed", "x"]])
def test_a_wrong_option_is_told_before_anything_serves(options, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(options)
    assert capsys.readouterr().out == ""
