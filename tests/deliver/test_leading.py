"""The edition's pages lead to its delivery, and their checksums follow them, whatever a killed process has left."""

from support.shop import SandboxRig, campaign_text

from adloom.deliver.edition import DeliverRequest
from adloom.gallery.render import DELIVERY_PAGE
from adloom.publish.checksums import verify
from adloom.targets import new_ledger, open_target
from adloom.wiring import deliver_target

TILES = campaign_text("  - {id: mug, prompt: a mug, deliver: [tile]}\n", more="channels: {tile: {pixels: 100x100}}\n")


async def test_a_delivery_again_writes_the_checksums_that_a_killed_one_did_not_come_to(shop: SandboxRig):
    shop.write(TILES)
    await shop.run()
    target, checksums = str(shop.campaign), shop.edition() / "checksums.txt"
    before = checksums.read_bytes()
    await deliver_target(target, shop.settings, "main", DeliverRequest(workers=1))
    assert DELIVERY_PAGE in (shop.edition() / "gallery.html").read_text()
    checksums.write_bytes(before)  # as a process that died after the pages left them
    again = await deliver_target(target, shop.settings, "main", DeliverRequest(workers=1))
    assert again.result.made == 0
    store, edition = open_target(str(shop.edition()), shop.settings)
    assert (await verify(store, edition, new_ledger(store, edition))).findings == ()
