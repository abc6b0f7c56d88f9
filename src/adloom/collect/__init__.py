"""Tasks at the API become outcomes in the ledger: one poller, and the handling of completed and failed tasks.

May import guards, ledger, ports and core.
"""
