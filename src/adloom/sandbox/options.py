"""The command line of ``python -m adloom.sandbox``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from pydantic import ValidationError

from adloom.sandbox.server import serve_forever
from adloom.sandbox.settings import SandboxSettings

_EPILOG = "example: python -m adloom.sandbox --port 0 --seed 7 --set lose_reply_rate=0.33 --set fast_pictures=true"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve with the given command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = SandboxSettings.model_validate(_switches(options))
    except (ValidationError, ValueError) as error:
        parser.error(str(error))
    try:
        serve_forever(options.port, settings, exit_with_parent=options.exit_with_parent)
    except OSError as error:
        parser.exit(2, f"adloom.sandbox: port {options.port} cannot be used: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("adloom.sandbox", description="A stand-in for the image API.", epilog=_EPILOG)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--seed", help="seed of every chance")
    parser.add_argument("--profile", choices=("strict", "wide"), help="which reading of the API's limits")
    parser.add_argument("--task-seconds", metavar="MIN[,MAX]", help="how long tasks take")
    parser.add_argument("--lose-reply-rate", metavar="RATE", help="share of accepted submissions whose answer is lost")
    parser.add_argument("--balance-credits", metavar="CREDITS", help="what each account has")
    parser.add_argument("--fast-pictures", action="store_true", default=None, help="one plain picture per size")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any switch by name; JSON or text"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop at the end of stdin")
    return parser


def _switches(options: argparse.Namespace) -> dict[str, object]:
    named = ("seed", "profile", "task_seconds", "lose_reply_rate", "balance_credits", "fast_pictures")
    switches = {name: value for name in named if (value := getattr(options, name)) is not None}
    for wish in options.set:
        name, equals, text = wish.partition("=")
        if not equals:
            raise ValueError(f"--set needs NAME=VALUE, not {wish}")
        switches[name.replace("-", "_")] = _value(text)
    return switches


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
