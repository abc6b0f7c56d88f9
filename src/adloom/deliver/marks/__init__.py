"""What is written into a rendition and found in any file: XMP, C2PA credentials, and the keys that sign them.

May import core. Nothing here starts a process.
"""
