"""``python -m adloom``."""

from adloom.cli.app import main

main()
