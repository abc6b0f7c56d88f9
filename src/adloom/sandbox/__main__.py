"""``python -m adloom.sandbox``."""

from adloom.sandbox.options import main

main()
