"""Delivery: archived masters become the files that ad platforms and shops take, marked as generated.

``channels`` lists what they take, ``pixels`` and ``encode`` make a rendition, ``marks`` writes into it that it was
generated. ``child`` does all of that in a process of its own, and ``delivery`` ties it together for an edition.
"""
