"""A reviewer: somebody who decides on what a shop has bought."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.shop import SandboxRig

from adloom.core.decision import Verdict
from adloom.gallery.choosing import Choosing, read_choosing
from adloom.ledger.edition import Edition
from adloom.plan.assessment import Assessment
from adloom.review.apply import Applied, apply
from adloom.review.table import read_review
from adloom.run.run import Result
from adloom.targets import new_ledger, open_store
from adloom.wiring import assessment_of

EDITION = Edition("test", "main")
REJECTED = frozenset({Verdict.REJECTED})


@dataclass
class Reviewer:
    """Somebody who decides by files on what a shop has bought."""

    shop: SandboxRig

    async def choosing(self) -> Choosing:
        store = open_store(self.shop.settings.archive)
        ledger = new_ledger(store, EDITION)
        await ledger.load()
        return await read_choosing(store, EDITION, ledger)

    async def decide(self, *lines: str, header: str = "row,variant,take,decision,change", by: str = "ann") -> Applied:
        text = "\n".join([f"job,{header}", *(f"mug,{line}" for line in lines)]) + "\n"
        return await self.apply(text, by=by)

    async def apply(self, text: str, *, name: str = "review.csv", by: str = "ann") -> Applied:
        path = self.shop.folder / name
        path.write_text(text, encoding="utf-8")
        now = datetime.now(UTC)
        store = open_store(self.shop.settings.archive)
        return await apply(store, await self.choosing(), read_review(path, now), by, now)

    async def assessment(self, **wish: object) -> Assessment:
        store = open_store(self.shop.settings.archive)
        return await assessment_of(self.shop.request(**wish), self.shop.settings, store, to_run=False)

    async def buy_rejected(self, **wish: object) -> Result:
        return await self.shop.run(only=REJECTED, **wish)

    def facts(self) -> list[Path]:
        return sorted(self.shop.edition().glob("decisions/*/*.json"))
