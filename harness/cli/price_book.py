"""Which price book a command uses; without any, nothing can be priced."""

from __future__ import annotations

from pathlib import Path

from harness.model import HarnessError
from harness.prices import load_prices

DEFAULT = Path("prices.yaml")


class PriceBookError(HarnessError):
    """Why there are no prices, and the mend, in one sentence."""


def price_book(given: Path | None, own: Path = DEFAULT) -> Path | None:
    """
    Choose the file given, or else `own`, or else the one in this folder; None when none is there.

    The file chosen is read through. Raises PriceBookError when the one given is not
    there, and YamlError when something is wrong in it.
    """
    if given is not None and not given.exists():
        raise PriceBookError(
            f"--prices: there is no {given}; give a price book that is there, or leave --prices "
            "out where nothing need be priced"
        )
    chosen = given or next((path for path in (own, DEFAULT) if path.exists()), None)
    if chosen is not None:
        load_prices(chosen)
    return chosen


def needed_price_book(given: Path | None, why: str) -> Path:
    """Choose as `price_book` does, where it cannot go without; raises PriceBookError then."""
    chosen = price_book(given)
    if chosen is None:
        raise PriceBookError(
            f"{why} needs prices, and there is no {DEFAULT} in this folder; give a price book "
            "with --prices"
        )
    return chosen
