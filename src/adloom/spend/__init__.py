"""Where money leaves: the only caller of the paid POST, and the handling of purchases without an answer.

May import collect, guards, plan, world, ledger, ports and core.
"""
