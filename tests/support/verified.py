"""Archives of real runs, to damage, to verify and to repair."""

from pathlib import Path

from support.shop import SandboxRig, campaign_text

from adloom.cli.archive import _fetcher
from adloom.edges.pictures import PictureDecoder
from adloom.publish.checksums import verify
from adloom.publish.repair import repair
from adloom.targets import new_ledger, open_target


async def an_archive(shop: SandboxRig) -> Path:
    """The folder of an edition with archived images, a shortfall and a refusal."""
    shop.write(campaign_text("  - {id: cup, prompt: a cup, variants: 3}\n  - {id: bad, prompt: forbidden}\n"))
    shop.sandbox.change(moderated_at_submit=("forbidden",))
    shop.sandbox.script(route="outcome", fault="completed", images=2)
    await shop.run()
    return shop.edition()


async def findings(shop: SandboxRig) -> list[str]:
    """The keys of what is damaged."""
    store, edition = open_target(str(shop.edition()), shop.settings)
    verdict = await verify(store, edition, new_ledger(store, edition))
    return [finding.key for finding in verdict.findings]


async def mend(shop: SandboxRig) -> list[str]:
    """Repair as the command does; what is left."""
    store, edition = open_target(str(shop.edition()), shop.settings)
    ledger = new_ledger(store, edition)
    verdict = await verify(store, edition, ledger)
    async with PictureDecoder() as decoder:
        await repair(store, edition, ledger, verdict, _fetcher(shop.settings), decoder)
    left = await verify(store, edition, new_ledger(store, edition))
    return [f"{finding}" for finding in left.findings]
