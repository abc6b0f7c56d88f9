"""The names of delivered files: by a template that the campaign or a person gives, else by job, label and variant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adloom.core.campaign import Variables
from adloom.core.template import is_template, prompt_template

LONGEST_NAME = 150
"""Characters of a file's name before its ending."""

NAMES = ("job", "row", "label", "variant", "take", "creative", "channel")
"""What a template may use in addition to the row's own variables, which take precedence."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICE = re.compile(r"^(con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)", re.IGNORECASE)
"""What Windows takes for a device, whatever ending follows: no such file can be made or unpacked there."""


@dataclass(frozen=True, slots=True)
class Named:
    """One image of a row, as file names are made from it."""

    job: str
    row: str
    label: str
    variant: int
    take: int
    variables: Variables

    @property
    def creative(self) -> str:
        """The stable id by which the numbers of an ad platform are joined to this image."""
        return f"{self.job}-{self.label}-v{self.variant}" + (f"-t{self.take}" if self.take > 1 else "")

    def stem(self, channel: str, template: str) -> str:
        """The file's name on a channel without its ending; empty where nothing of the text can be in a file name.

        Without a template it is the creative. Raises BadTemplate.
        """
        if not template:
            return safe(self.creative)
        own = dict(
            zip(
                NAMES,
                (self.job, self.row, self.label, str(self.variant), str(self.take), self.creative, channel),
                strict=True,
            )
        )
        text = prompt_template(template).render({**own, **self.variables}) if is_template(template) else template
        return safe(text)


def safe(text: str) -> str:
    """Text as a file name, with a dash in place of all that some system or address could stumble over."""
    name = _UNSAFE.sub("-", text).strip("-.")[:LONGEST_NAME].strip("-.")
    return _DEVICE.sub(r"\1-", name, count=1)
