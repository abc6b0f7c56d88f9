from pathlib import Path

import pytest
from support.reviewer import Reviewer
from support.shop import SandboxRig


@pytest.fixture
def reviewer(shop: SandboxRig) -> Reviewer:
    return Reviewer(shop)


@pytest.fixture(autouse=True)
def mugs(tmp_path: Path) -> None:
    """The rows of the campaigns here: a and b."""
    (tmp_path / "mugs.csv").write_text("id,n\na,a\nb,b\n")
