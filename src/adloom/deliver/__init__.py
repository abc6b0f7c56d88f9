"""Delivery: archived masters become the files that ad platforms and shops take, marked as generated.

``channels`` says what those take, ``cut`` and ``encode`` make a rendition, ``marks`` writes into it that it was
generated. ``child`` does all of that in processes of its own, and ``delivery`` ties it together for an edition.
"""
