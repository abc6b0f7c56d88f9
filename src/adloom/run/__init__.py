"""One run from a frozen plan to its manifest, the checks before it, and the sweep for what runs left behind.

May import every room of the steps: publish, spend, archive, collect, guards, plan, ledger and core.
"""
