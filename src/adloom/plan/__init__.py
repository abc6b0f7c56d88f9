"""Rows and what the archive covers become a frozen plan: what will be bought, reserved before the first purchase.

May import world, ledger, ports and core.
"""
