"""The models that the stand-in can price: those created through the API, then the price book's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic.alias_generators import to_camel

from harness.prices import PriceBook
from harness.stack.langfuse.pricing import Comparison, Condition, Model, Tier


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        msg = f"not a regular expression: {error}"
        raise ValueError(msg) from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
Prices = Annotated[Mapping[str, FiniteFloat], Field(min_length=1)]


class _Sent(BaseModel):
    # A key that the stand-in does not know might change a price, so it is refused.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, validate_by_name=True
    )


class ConditionSent(_Sent):
    """A tier's condition as the API takes it: on usage only, not on observation attributes."""

    usage_detail_pattern: Pattern
    operator: Comparison
    value: FiniteFloat
    case_sensitive: bool = False


class TierSent(_Sent):
    """A pricing tier as the API takes it."""

    name: str
    is_default: bool
    priority: int
    conditions: tuple[ConditionSent, ...]
    prices: Prices


class ModelSent(_Sent):
    """
    A model definition as ``POST /api/public/models`` takes it: flat prices or tiers.

    ``startDate`` and tokenizers are not served, and refused like any unknown key.
    """

    model_name: str
    match_pattern: Pattern
    unit: Literal["TOKENS"] | None = None
    input_price: FiniteFloat | None = None
    output_price: FiniteFloat | None = None
    total_price: FiniteFloat | None = None
    pricing_tiers: tuple[TierSent, ...] | None = None

    @property
    def flat_prices(self) -> dict[str, float]:
        """The prices given outside any tier, by usage key."""
        prices = {
            "input": self.input_price,
            "output": self.output_price,
            "total": self.total_price,
        }
        return {key: price for key, price in prices.items() if price is not None}

    @model_validator(mode="after")
    def _prices_are_said_once(self) -> Self:
        if bool(self.flat_prices) == bool(self.pricing_tiers):
            msg = "give either flat prices or pricingTiers"
            raise ValueError(msg)
        tiers = self.pricing_tiers or ()
        defaults = [tier for tier in tiers if tier.is_default]
        if tiers and not (
            len(defaults) == 1 and defaults[0].priority == 0 and not defaults[0].conditions
        ):
            msg = "exactly one tier is the default, with priority 0 and no conditions"
            raise ValueError(msg)
        if any(tier.prices.keys() != defaults[0].prices.keys() for tier in tiers):
            msg = "all tiers must have the same price keys"
            raise ValueError(msg)
        return self

    def as_model(self) -> Model:
        """Make the model that this defines, with ids of its own."""
        tiers = self.pricing_tiers or (
            TierSent(
                name="Standard",
                is_default=True,
                priority=0,
                conditions=(),
                prices=self.flat_prices,
            ),
        )
        return Model(
            id=uuid4().hex,
            name=self.model_name,
            pattern=re.compile(self.match_pattern),
            tiers=tuple(_as_tier(tier) for tier in tiers),
        )


class Catalogue:
    """Finds the model that prices an observation."""

    def __init__(self, book: PriceBook | None = None) -> None:
        """Start from the models of a price book, if there is one."""
        self._created: list[Model] = []
        self._booked: list[Model] = [
            Model(
                id=f"price-book:{entry.name}",
                name=entry.name,
                pattern=re.compile(entry.match),
                tiers=(Tier(f"price-book:{entry.name}:standard", "Standard", entry.per_token),),
            )
            for entry in (book.models if book else ())
        ]

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model in the order of trial: newest created first, then the book's."""
        return (*reversed(self._created), *self._booked)

    def add(self, model: Model) -> None:
        """Price later observations by this model too; earlier ones are never priced again."""
        self._created.append(model)

    def find(self, name: str) -> Model | None:
        """Find the first model whose pattern occurs in this name; none goes by an empty name."""
        if not name:
            return None
        return next((model for model in self.models if model.pattern.search(name)), None)


def described(model: Model, created_at: str) -> dict[str, object]:
    """Describe a model as the API does; its flat prices repeat those of the default tier."""
    prices = model.default_tier.prices
    return {
        "id": model.id,
        "modelName": model.name,
        "matchPattern": model.pattern.pattern,
        "startDate": None,
        "unit": "TOKENS",
        "inputPrice": prices.get("input"),
        "outputPrice": prices.get("output"),
        "totalPrice": prices.get("total"),
        "tokenizerId": None,
        "tokenizerConfig": None,
        "isLangfuseManaged": False,
        "createdAt": created_at,
        "prices": {key: {"price": price} for key, price in prices.items()},
        "pricingTiers": [
            {
                "id": tier.id,
                "name": tier.name,
                "isDefault": tier.is_default,
                "priority": tier.priority,
                "conditions": [
                    {
                        "usageDetailPattern": condition.pattern.pattern,
                        "operator": condition.comparison.value,
                        "value": condition.value,
                        "caseSensitive": not condition.pattern.flags & re.IGNORECASE,
                    }
                    for condition in tier.conditions
                ],
                "prices": dict(tier.prices),
            }
            for tier in model.tiers
        ],
    }


def _as_tier(sent: TierSent) -> Tier:
    return Tier(
        id=uuid4().hex,
        name=sent.name,
        prices=dict(sent.prices),
        is_default=sent.is_default,
        priority=sent.priority,
        conditions=tuple(
            Condition(
                pattern=re.compile(
                    condition.usage_detail_pattern,
                    0 if condition.case_sensitive else re.IGNORECASE,
                ),
                comparison=condition.operator,
                value=condition.value,
            )
            for condition in sent.conditions
        ),
    )
