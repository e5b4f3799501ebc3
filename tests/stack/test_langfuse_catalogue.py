"""Which model prices a name, and what a model definition must say."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from harness.prices import ModelPrice, PriceBook
from harness.stack.langfuse.catalogue import Catalogue, ModelSent, described
from harness.stack.langfuse.pricing import Model, Tier

BOOK = PriceBook(
    (ModelPrice("gpt", "^gpt", {"input": 1e-6}), ModelPrice("any", ".*", {"input": 0}))
)
DEFAULT = {
    "name": "Standard",
    "isDefault": True,
    "priority": 0,
    "conditions": [],
    "prices": {"input": 1e-6},
}
LONG = {
    "name": "Long",
    "isDefault": False,
    "priority": 1,
    "conditions": [{"usageDetailPattern": "^IN", "operator": "gt", "value": 10}],
    "prices": {"input": 2e-6},
}


def model(identity, pattern):
    return Model(identity, identity, re.compile(pattern), (Tier("t", "Standard", {"input": 1.0}),))


def definition(*tiers, **changes):
    sent = {"modelName": "m", "matchPattern": "^m$", "unit": "TOKENS"}
    return ModelSent.model_validate(sent | ({"pricingTiers": tiers} if tiers else {}) | changes)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("gpt-5", "new", id="the newest created first"),
        pytest.param("gpt-4", "old", id="then older ones"),
        pytest.param("gpt-3", "price-book:gpt", id="then the price book"),
        pytest.param("llama", "price-book:any", id="in the order of the book"),
        pytest.param("", None, id="an observation without a model has no price"),
    ],
)
def test_a_name_finds_its_model(name, found):
    catalogue = Catalogue(BOOK)
    catalogue.add(model("old", "gpt-[45]"))
    catalogue.add(model("new", "gpt-5"))

    priced_by = catalogue.find(name)

    assert (priced_by.id if priced_by else None) == found


def test_without_a_price_book_nothing_has_a_price():
    assert Catalogue().find("gpt-5") is None


def test_flat_prices_are_one_standard_tier():
    made = definition(inputPrice=1e-6, outputPrice=4e-6).as_model()

    assert [(tier.name, tier.prices, tier.is_default) for tier in made.tiers] == [
        ("Standard", {"input": 1e-6, "output": 4e-6}, True)
    ]


def test_a_definition_with_tiers_is_answered_as_it_was_sent():
    made = definition(DEFAULT, LONG).as_model()

    assert described(made, "now") == {
        "id": made.id,
        "modelName": "m",
        "matchPattern": "^m$",
        "startDate": None,
        "unit": "TOKENS",
        "inputPrice": 1e-6,
        "outputPrice": None,
        "totalPrice": None,
        "tokenizerId": None,
        "tokenizerConfig": None,
        "isLangfuseManaged": False,
        "createdAt": "now",
        "prices": {"input": {"price": 1e-6}},
        "pricingTiers": [
            {"id": made.tiers[0].id, **DEFAULT},
            {
                "id": made.tiers[1].id,
                **LONG,
                "conditions": [
                    {
                        "usageDetailPattern": "^IN",
                        "operator": "gt",
                        "value": 10,
                        "caseSensitive": False,
                    }
                ],
            },
        ],
    }


@pytest.mark.parametrize(
    ("case_sensitive", "tier"),
    [
        pytest.param(False, "Long", id="^IN matches input when case does not matter"),
        pytest.param(True, "Standard", id="^IN does not match input when it does"),
    ],
)
def test_a_condition_heeds_case_when_asked_to(case_sensitive, tier):
    condition = LONG["conditions"][0] | {"caseSensitive": case_sensitive}
    made = definition(DEFAULT, LONG | {"conditions": [condition]}).as_model()

    assert made.tier_for({"input": 11}).name == tier


@pytest.mark.parametrize(
    ("tiers", "changes", "message"),
    [
        pytest.param([], {}, "give either flat prices or pricingTiers", id="no price at all"),
        pytest.param(
            [DEFAULT],
            {"inputPrice": 1},
            "give either flat prices or pricingTiers",
            id="prices said twice",
        ),
        pytest.param([LONG], {}, "exactly one tier is the default", id="no default tier"),
        pytest.param([DEFAULT, DEFAULT], {}, "exactly one tier is the default", id="two defaults"),
        pytest.param(
            [DEFAULT | {"priority": 1}], {}, "with priority 0", id="a default with a priority"
        ),
        pytest.param(
            [DEFAULT | {"conditions": LONG["conditions"]}],
            {},
            "no conditions",
            id="a default with a condition",
        ),
        pytest.param(
            [DEFAULT, LONG | {"prices": {"output": 1}}],
            {},
            "all tiers must have the same price keys",
            id="tiers that price different things",
        ),
        pytest.param(
            [DEFAULT | {"prices": {}}], {}, "at least 1 item", id="a tier without prices"
        ),
        pytest.param(
            [
                DEFAULT,
                LONG | {"conditions": [{"source": "metadata", "key": "tier", "values": ["x"]}]},
            ],
            {},
            "Extra inputs are not permitted",
            id="a condition on an attribute is not served",
        ),
    ],
)
def test_a_definition_is_refused(tiers, changes, message):
    with pytest.raises(ValidationError, match=message):
        definition(*tiers, **changes)
