"""The shape of a campaign file, as pydantic models: which keys there are, and what each may hold.

May import ``campaign.problems``, ``campaign.sources`` and core.
"""
