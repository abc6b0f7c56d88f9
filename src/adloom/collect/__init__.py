"""Tasks at the API become outcomes in the ledger: one poller, and what completed and failed tasks come to.

May import guards, ledger, ports and core.
"""
