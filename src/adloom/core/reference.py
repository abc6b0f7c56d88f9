"""Reference images: what an image is made from in addition to its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_OF_JOB = "job:"


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference image.

    ``content`` is its identity: ``url:<address>`` for a link that is passed on unfetched, ``sha256:<hex>`` for a file.
    ``url`` is what the API is given; None for a file that is not hosted yet. ``shown`` carries no query string.
    ``asset`` is the key of an archived image of the same edition, empty for a file of the campaign.

    ``job:<name>`` as the content stands for the images of another job that are still to be approved.
    """

    content: str
    url: str | None
    shown: str
    asset: str = ""

    @property
    def awaited_job(self) -> str:
        """The job whose approved images it represents, empty for an image."""
        return self.content.removeprefix(_OF_JOB) if self.content.startswith(_OF_JOB) else ""

    def to_json(self) -> dict[str, Any]:
        """As a frozen plan stores it."""
        return {"content": self.content, "url": self.url, "shown": self.shown} | (
            {"asset": self.asset} if self.asset else {}
        )


def approved_images_of(job: str) -> Reference:
    """The placeholder for a job's images until some are approved."""
    return Reference(_OF_JOB + job, None, f"the approved images of job {job}")
