"""``python -m adloom``."""

from adloom.cli import main

main()
