"""The options that Locust gets from the harness, and what their values mean."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from typing import Any

from harness.load.arrivals import seconds

_TEXTS = (
    ("--run-dir", "Write into this run directory, which exists (default: a new one in reports)"),
    ("--harness-run-id", "Set by the harness itself: the run that workers belong to"),
)


def add_options(parser: Any) -> None:
    """Add our options to Locust's; they come to all load processes with Locust's own."""
    for flag, help_text in _TEXTS:
        parser.add_argument(flag, default="", help=help_text, include_in_web_ui=False)
    parser.add_argument(
        "--open-loop",
        action="store_true",
        help="Send at the arrivals that the scenario declares, whatever the server does",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--load-duration",
        default="",
        type=duration,
        help="With --open-loop: send for this long instead of what the scenario declares, as 30s",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--max-requests",
        type=count,
        default=None,
        help="Send at most so many requests, warm-up included, all load processes together",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--budget-usd",
        type=amount,
        default=None,
        help="Stop sending before all answers, warm-up included, cost more than this in tokens",
        include_in_web_ui=False,
    )


def duration(text: str) -> str:
    """Check a duration such as 30s; an empty one is that of the scenario."""
    if text:
        try:
            seconds(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from error
    return text


def count(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a count; give 1 or more")
    return int(text)


def amount(text: str) -> float:
    """Read an amount of money above 0."""
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise ArgumentTypeError(f"{text!r} is not an amount in USD; give more than 0, as 2.50")
    return amount
