"""The campaign files that a form offers: those in the deployment's own folder when it is deployed."""

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field

from adloom.orchestration.form_limits import CAMPAIGNS


def campaign_files() -> list[str]:
    """The campaign files in the folder of this deployment, by their paths."""
    return sorted(path.as_posix() for path in Path(CAMPAIGNS).glob("*.y*ml"))


FILES = campaign_files() or [""]
CampaignFile: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": FILES})]
"""A list to choose from in the form, frozen when the deployment is made; the run takes any that a form may name."""
