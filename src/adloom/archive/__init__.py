"""Where bytes land: images are fetched, proven to be images and stored; this is the only writer of assets.

May import collect, guards, world, ledger, ports and core.
"""
