"""The axes of a job: ``reader`` takes them from a campaign file, ``product`` makes rows of them.

May import what ``campaign`` may.
"""
