"""Rows and what the archive covers become a frozen plan: what is to be bought, reserved before the first purchase.

May import world, ledger, ports and core.
"""
