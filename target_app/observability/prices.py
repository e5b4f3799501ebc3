"""What LLM calls cost: the prices that the operator wrote down, per model and kind of token."""

from __future__ import annotations

import logging
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from target_app.agent.messages import Usage

logger = logging.getLogger(__name__)

USUAL_PATH = Path("prices.yaml")
"""Where prices are looked for when no other place is named."""

MILLION = 1_000_000
MODEL_CHARACTERS = 200
REMEMBERED_MODELS = 100
"""An LLM names itself, at any length and as it likes: that must not cost time or memory."""


class PricesError(Exception):
    """The price list cannot be used; the message names file and field."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What a call cost: `model` is its name in the price list."""

    model: str
    usd: float


KINDS = ("input", "input_cached_tokens", "output", "output_reasoning_tokens")
"""The kinds of tokens, named as in price lists, which is as Langfuse names them."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model: US dollars for a token of each of KINDS; None is not known."""

    model: str
    pattern: re.Pattern[str]
    per_token: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Prices:
    """The price list; the first pattern that a model's name matches is the one that counts."""

    listed: tuple[Price, ...]
    _known: dict[str, Price | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def models(self) -> tuple[str, ...]:
        """The names in the list, which are the only ones that may become labels."""
        return tuple(dict.fromkeys(price.model for price in self.listed))

    def cost(self, model: str, usage: Usage) -> Priced | None:
        """
        Answer what a call cost, or None when the model or a kind of its tokens has no price.

        A token without a price is not free: what it costs is not known.
        """
        price = self._find(model[:MODEL_CHARACTERS])
        if price is None:
            return None
        usd = 0.0
        amounts = (usage.input, usage.cached_input, usage.output, usage.reasoning)
        for tokens, per_token in zip(amounts, price.per_token, strict=True):
            if tokens:
                if per_token is None:
                    return None
                usd += tokens * per_token
        return Priced(price.model, usd)

    def _find(self, model: str) -> Price | None:
        if model not in self._known:
            if len(self._known) >= REMEMBERED_MODELS:
                self._known.clear()
            found = (price for price in self.listed if price.pattern.search(model))
            self._known[model] = next(found, None)
        return self._known[model]


def find_prices(path: Path | None, usual: Path = USUAL_PATH) -> Prices | None:
    """
    Read the price list at `path`; without one that at the `usual` place, if there is any.

    None is no prices, and one log line says so. Raises PricesError when a list is there but cannot
    be used, or is not where it was said to be.
    """
    if path is None and not usual.is_file():
        logger.info("costs are not counted: there is no %s, and PRICES_PATH names none", usual)
        return None
    return read_prices(path or usual)


def read_prices(path: Path) -> Prices:
    """Read a price list. Raises PricesError that names file and field."""
    try:
        text = path.read_text(encoding="utf-8")
        # Every scalar is a text at first, so that 1e-3 is a number and yes is none.
        written = yaml.load(text, _Loader)  # noqa: S506 - it makes nothing but texts
    except OSError as error:
        raise PricesError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PricesError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise PricesError(f"{path}: {' '.join(str(error).split())}") from None
    try:
        listed = _File.model_validate(written).models
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the whole"
        reason = fault["msg"].removeprefix("Value error, ")
        raise PricesError(f"{path}: {place}: {reason}") from None
    return Prices(tuple(model.price() for model in listed))


class _Loader(yaml.BaseLoader):
    """Reads texts, lists and mappings only, and refuses a key that is given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as it is called
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                msg = f"{key} is given twice"
                raise yaml.constructor.ConstructorError(None, None, msg, node.start_mark)
        return super().construct_mapping(node, deep)


_Text = Annotated[str, Field(min_length=1)]
_USD = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: _Text
    match: _Text | None = None
    usd_per_million_tokens: Annotated[dict[_Text, _USD], Field(min_length=1)]

    @field_validator("match")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            msg = f"is no regular expression: {error}"
            raise ValueError(msg) from None
        return value

    def price(self) -> Price:
        per_million = map(self.usd_per_million_tokens.get, KINDS)
        return Price(
            self.model,
            re.compile(self.match or f"^{re.escape(self.model)}$"),
            tuple(None if usd is None else usd / MILLION for usd in per_million),
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal["1"]
    currency: Literal["USD"] = "USD"
    models: Annotated[list[_Model], Field(min_length=1)]
