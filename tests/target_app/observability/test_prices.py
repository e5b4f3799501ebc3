"""The price list is read strictly, and the first pattern that matches counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from target_app.agent.messages import Usage
from target_app.observability.prices import (
    REMEMBERED_MODELS,
    Priced,
    Prices,
    PricesError,
    find_prices,
    read_prices,
)

ROOT = Path(__file__).parents[3]
USAGE = Usage(input=80, cached_input=20, output=7, reasoning=3)

TWO = """
version: 1
currency: USD
models:
  - model: small
    match: ^small(-\\d+)?$
    usd_per_million_tokens: {input: 1, input_cached_tokens: 0.5, output: 4, output_reasoning_tokens: 1e1}
  - model: any
    match: .
    usd_per_million_tokens: {input: 2, output: 2}
"""


def read(tmp_path: Path, text: str) -> Prices:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    return read_prices(path)


@pytest.mark.parametrize(
    ("model", "usage", "priced"),
    [
        pytest.param("small", USAGE, Priced("small", 148e-6), id="by its name"),
        pytest.param("small-7", USAGE, Priced("small", 148e-6), id="by a pattern"),
        pytest.param("Small", Usage(input=3), Priced("any", 6e-6), id="by the next pattern"),
        pytest.param("large", USAGE, None, id="a kind of token without a price"),
        pytest.param("", Usage(input=3), None, id="no name"),
        pytest.param("small", Usage(), Priced("small", 0.0), id="no tokens"),
    ],
)
def test_what_a_call_costs(
    tmp_path: Path, model: str, usage: Usage, priced: Priced | None
) -> None:
    cost = read(tmp_path, TWO).cost(model, usage)

    if priced is None:
        assert cost is None
    else:
        assert cost is not None
        assert (cost.model, cost.usd) == (priced.model, pytest.approx(priced.usd))


def test_a_model_without_a_pattern_is_meant_literally(tmp_path: Path) -> None:
    prices = read(
        tmp_path, "version: 1\nmodels: [{model: gpt-4.1, usd_per_million_tokens: {input: 1}}]"
    )

    assert prices.cost("gpt-4.1", Usage(input=1)) == Priced("gpt-4.1", 1e-6)
    assert prices.cost("gpt-4x1", Usage(input=1)) is None
    assert prices.cost("gpt-4.1-mini", Usage(input=1)) is None


def test_the_price_list_of_the_repository_can_be_used() -> None:
    prices = read_prices(ROOT / "prices.yaml")

    assert prices.models == ("gpt-4o-mini", "gpt-4o", "gpt-5")
    cost = prices.cost("gpt-4o-mini-2024-07-18", USAGE)
    assert cost is not None
    assert cost.usd == pytest.approx((80 * 0.15 + 20 * 0.075 + 10 * 0.60) / 1e6)


def test_names_that_an_llm_makes_up_are_forgotten_again(tmp_path: Path) -> None:
    prices = read(tmp_path, TWO)

    for number in range(3 * REMEMBERED_MODELS):
        prices.cost(f"made-up-{number}" * 100, USAGE)

    assert len(prices._known) <= REMEMBERED_MODELS
    assert max(map(len, prices._known)) <= 200


MODEL = "models: [{model: m, usd_per_million_tokens: {input: 1}}]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "the whole: Input should be a valid dictionary", id="empty"),
        pytest.param("- a", "the whole: Input should be a valid dictionary", id="a list"),
        pytest.param(MODEL, "version: Field required", id="no version"),
        pytest.param(f"version: 2\n{MODEL}", "version: Input should be '1'", id="version 2"),
        pytest.param(
            f"version: 1\ncurrency: EUR\n{MODEL}",
            "currency: Input should be 'USD'",
            id="another currency",
        ),
        pytest.param(
            "version: 1\nmodels: []",
            "models: List should have at least 1 item after validation, not 0",
            id="no models",
        ),
        pytest.param(
            f"version: 1\nmodel: m\n{MODEL}",
            "model: Extra inputs are not permitted",
            id="an unknown key",
        ),
        pytest.param(
            "version: 1\nmodels: [{model: m, usd_per_million_tokens: {input: -1}}]",
            "models.0.usd_per_million_tokens.input: Input should be greater than or equal to 0",
            id="a price below zero",
        ),
        pytest.param(
            "version: 1\nmodels: [{model: m, usd_per_million_tokens: {input: .nan}}]",
            "models.0.usd_per_million_tokens.input: Input should be a valid number, unable to "
            "parse string as a number",
            id="no number",
        ),
        pytest.param(
            "version: 1\nmodels: [{model: m, usd_per_million_tokens: {input: yes}}]",
            "models.0.usd_per_million_tokens.input: Input should be a valid number, unable to "
            "parse string as a number",
            id="a word",
        ),
        pytest.param(
            "version: 1\nmodels: [{model: m, match: '(', usd_per_million_tokens: {input: 1}}]",
            "models.0.match: is no regular expression: missing ), unterminated subpattern at "
            "position 0",
            id="a bad pattern",
        ),
        pytest.param(
            "version: 1\nmodels: [{model: m, usd_per_million_tokens: {input: 1, input: 2}}]",
            "input is given twice",
            id="a price given twice",
        ),
        pytest.param("version: [", "while parsing a flow node", id="not YAML"),
    ],
)
def test_a_price_list_that_is_wrong_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(PricesError) as refused:
        read(tmp_path, text)

    assert str(refused.value).startswith(f"{tmp_path}/prices.yaml: {reason}")


def test_a_list_that_is_not_there_is_an_error_only_if_it_was_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.yaml"

    assert find_prices(None, usual=nowhere) is None
    with pytest.raises(PricesError, match=r"nowhere\.yaml: cannot be read: No such file"):
        find_prices(nowhere)


def test_a_list_at_the_usual_place_is_found(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(TWO)

    found = find_prices(None, usual=tmp_path / "prices.yaml")

    assert found is not None
    assert found.models == ("small", "any")


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_bytes(b"version: \xff")

    with pytest.raises(PricesError, match="is not UTF-8 text"):
        read_prices(path)
