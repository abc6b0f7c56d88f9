"""Reference images: ``reader`` turns names, addresses and files into values, ``check`` looks at addresses before a run.

May import what ``campaign`` may.
"""
