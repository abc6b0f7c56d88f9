"""What is written down in an edition: facts of calls, heartbeats of runs, claims of tasks.

May import ports and core.
"""
