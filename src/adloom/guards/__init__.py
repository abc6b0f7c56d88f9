"""Whether purchases may go on, and how fast: the gate, the pace, the price, the store and the backlog of downloads.

May import world, ledger, ports and core.
"""
