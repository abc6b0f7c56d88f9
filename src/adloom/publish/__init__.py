"""What is derived from the ledger: manifest, seals and checksums; verifying and repairing an archive.

May import gallery, plan, world, ledger, ports and core.
"""
