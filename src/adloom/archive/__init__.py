"""Where bytes land: images are fetched, checked and stored. This is the only writer of assets.

May import collect, guards, world, ledger, ports and core.
"""
