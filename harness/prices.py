"""The price book: what a token costs, by model and usage key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.yamlfile import Fields, YamlError, read_yaml

_PER_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Prices of the models whose name matches a pattern, in USD per token by usage key."""

    name: str
    match: str
    per_token: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices of all known models; the first pattern that matches wins."""

    models: tuple[ModelPrice, ...]

    def find(self, model: str) -> ModelPrice | None:
        """Give the prices of a model by its name; None when nobody priced it."""
        return next((m for m in self.models if re.search(m.match, model)), None)

    def cost(self, model: str, usage: Mapping[str, int]) -> float:
        """
        USD for the tokens of one call: the sum over usage keys, "total" apart.

        Raises LookupError for a model or a usage key that has no price: an
        unpriced token is an error, not free.
        """
        price = self.find(model)
        if price is None:
            msg = f"no price for model {model!r}"
            raise LookupError(msg)
        unpriced = sorted(
            k for k, n in usage.items() if n and k not in (*price.per_token, "total")
        )
        if unpriced:
            msg = f"no price for {', '.join(unpriced)} of model {model!r}"
            raise LookupError(msg)
        return sum(n * price.per_token[k] for k, n in usage.items() if n and k != "total")


def load_prices(path: Path) -> PriceBook:
    """Read a price book; raises YamlError that names the line and field at fault."""
    top = read_yaml(path)
    top.only("version", "currency", "models")
    if top.text("version") != "1":
        raise top.error("version", f"{top.text('version')!r} is not known; this harness reads 1")
    if top.text("currency", "USD") != "USD":
        raise top.error("currency", "only USD is known")
    models = tuple(_model(item) for item in top.items("models"))
    if not models:
        raise top.error("models", "a price book needs at least one model")
    return PriceBook(models)


def _model(item: Fields) -> ModelPrice:
    item.only("model", "match", "usd_per_million_tokens")
    name = item.text("model")
    pattern = item.text("match", f"^{re.escape(name)}$")
    try:
        re.compile(pattern)
    except re.error as error:
        raise item.error("match", f"not a regular expression: {error}") from error
    prices = item.fields("usd_per_million_tokens")
    per_token = {key: prices.number(key) / _PER_MILLION for key in prices.keys()}  # noqa: SIM118
    if not per_token:
        raise item.error("usd_per_million_tokens", "give the price of at least one usage key")
    return ModelPrice(name, pattern, per_token)


__all__ = ["ModelPrice", "PriceBook", "YamlError", "load_prices"]
