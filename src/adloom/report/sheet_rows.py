"""The rows of an edition's sheet, from what there is to choose from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

from adloom.core.campaign import flat
from adloom.core.identity import thumb_key
from adloom.core.pricing import usd
from adloom.gallery.choosing import Choosing
from adloom.ports import Store
from adloom.report.sheet import MOST_THUMBNAILS, SheetRow


async def sheet_rows(store: Store, choosing: Choosing) -> AsyncIterator[SheetRow]:
    """One row per wanted image, in plan order, with thumbnails up to a workbook's limit."""
    standing, left = choosing.standing, MOST_THUMBNAILS
    for each in choosing.candidates:
        line, decision = each.line, standing.get(each.variant.key)
        thumbnail = b""
        if line["key"] and left:
            thumbnail = await store.read(choosing.edition.key(thumb_key(line["key"]))) or b""
            left -= 1
        values = {
            **dict(zip(("job", "row", "variant", "take"), each.place, strict=True)),
            "status": str(line["status"]),
            "decision": line.get("decision") or "",
            "stars": decision.stars if decision else None,
            "note": decision.note if decision else "",
            "change": decision.change if decision else "",
            "by": decision.by if decision else "",
            "decided_at": decision.record()["time"] if decision else "",
            "credits": line["credits"],
            "usd": float(usd(Decimal(str(line["credits"])))),
            "reason": line["reason"] or "",
            "prompt": line["prompt"],
        }
        link = store.link(choosing.edition.key(line["key"])) if line["key"] else ""
        yield SheetRow(each.place, values, dict(flat(line["vars"])), link, thumbnail)
