"""The command ``adloom``, and ``python -m adloom``."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130
"""As in ``adloom.core.exits``, which takes a while to import."""


def main() -> None:
    """Run the command line. Ctrl-C while its parts are still being imported ends it quietly."""
    try:
        from adloom.cli.app import main as run_command  # noqa: PLC0415 - what can be interrupted
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run_command()


if __name__ == "__main__":
    main()
