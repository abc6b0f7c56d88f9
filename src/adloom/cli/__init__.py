"""What people type and what they see on a terminal.

At the top: may import every other room, and nothing imports it.
"""
