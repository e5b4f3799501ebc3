"""An unpriced token is an error, not free."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.prices import ModelPrice, PriceBook, load_prices
from harness.yamlfile import YamlError

BOOK = PriceBook(
    (
        ModelPrice(
            "mini", r"^mini(-\d+)?$", {"input": 1e-6, "output": 4e-6, "input_cached": 1e-7}
        ),
        ModelPrice("anything", r"^m", {"input": 9.0}),
    )
)


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        pytest.param("mini", {"input": 100, "output": 10}, 100e-6 + 40e-6, id="input and output"),
        pytest.param("mini-2026", {"input": 100}, 100e-6, id="a dated name, first match wins"),
        pytest.param("mini", {"input": 1, "total": 999}, 1e-6, id="the total is not paid again"),
        pytest.param("mini", {"input": 0, "audio": 0}, 0.0, id="none of an unpriced kind"),
        pytest.param("mini", {}, 0.0, id="no usage"),
        pytest.param("max", {"input": 2}, 18.0, id="the second pattern"),
    ],
)
def test_cost_is_usage_times_price(model: str, usage: dict[str, int], usd: float):
    assert BOOK.cost(model, usage) == pytest.approx(usd, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "usage", "problem"),
    [
        pytest.param("gpt", {"input": 1}, "no price for model 'gpt'", id="an unknown model"),
        pytest.param(
            "mini", {"input": 1, "video": 2, "audio": 1},
            "no price for audio, video of model 'mini'", id="unknown kinds of tokens",
        ),
    ],
)  # fmt: skip
def test_what_has_no_price_is_an_error(model: str, usage: dict[str, int], problem: str):
    with pytest.raises(LookupError) as caught:
        BOOK.cost(model, usage)

    assert caught.value.args == (problem,)


GOOD = """\
version: 1
models:
  - model: gpt-4.1
    usd_per_million_tokens: {input: 2, output: 8}
"""


def test_a_price_book_is_written_per_million_and_matches_its_name_exactly(tmp_path: Path):
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD)

    book = load_prices(path)

    assert book == PriceBook(
        (ModelPrice("gpt-4.1", r"^gpt\-4\.1$", {"input": 2e-6, "output": 8e-6}),)
    )
    assert book.find("gpt-4.1-mini") is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(("version: 1", "version: 2"), "1: version: '2' is not known; this harness "
                     "reads 1", id="another version"),
        pytest.param(("version: 1\n", ""), "1: version: missing; it must be given",
                     id="no version"),
        pytest.param(("version: 1", "version: 1\ncurrency: EUR"), "2: currency: only USD is known",
                     id="another currency"),
        pytest.param(("version: 1", "version: 1\nmodel: x"),
                     "2: model: unknown key; known here: version, currency, models",
                     id="an unknown key"),
        pytest.param(("gpt-4.1\n", "gpt-4.1\n    match: '('\n"),
                     "4: models[0].match: not a regular expression: missing ), unterminated "
                     "subpattern at position 0", id="a broken pattern"),
        pytest.param(("input: 2", "input: -2"), "4: models[0].usd_per_million_tokens.input: -2 "
                     "is negative; it must be zero or more", id="a negative price"),
        pytest.param(("input: 2", "input: free"), "4: models[0].usd_per_million_tokens.input: "
                     "'free' is not a number", id="a word for a price"),
        pytest.param(("{input: 2, output: 8}", "{}"), "4: models[0].usd_per_million_tokens: "
                     "give the price of at least one usage key", id="no price"),
        pytest.param((GOOD[GOOD.index("models"):], "models: []\n"),
                     "2: models: a price book needs at least one model", id="no model"),
    ],
)  # fmt: skip
def test_a_wrong_price_book_is_refused(tmp_path: Path, change: tuple[str, str], expected: str):
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD.replace(*change))

    with pytest.raises(YamlError) as caught:
        load_prices(path)

    assert str(caught.value) == f"{path}:{expected}"


def test_the_price_book_of_this_repository_prices_the_simulated_model():
    book = load_prices(Path("prices.yaml"))

    assert book.cost("gpt-4o-mini-2024-07-18", {"input": 1_000_000, "output": 1_000_000}) == (
        pytest.approx(0.15 + 0.60)
    )
