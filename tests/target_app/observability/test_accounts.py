"""Tokens are counted whoever tells them, and cost what the price list says."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, Usage
from target_app.agent.tokens import count_usage
from target_app.observability.accounts import Accounts
from target_app.observability.metrics import Metrics
from target_app.observability.prices import read_prices
from tests.target_app.exposition import exposition
from tests.target_app.scripted import CALL_USAGE, CALL_USD, ScriptedLLM, Start, call

pytestmark = pytest.mark.anyio

HELLO = Prompt([{"role": "user", "content": "hello world"}], [])


@dataclass
class Billing:
    """An LLM that bills the tokens of each call, multiplied by a factor."""

    factor: float
    script: ScriptedLLM
    counted: list[Usage] = field(default_factory=list)

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        reply = await self.script.call(prompt, on_token)
        self.counted.append(count_usage(prompt, reply, reply.model))
        usage = Usage(
            round(self.counted[-1].input * self.factor),
            0,
            round(self.counted[-1].output * self.factor),
        )
        return dataclasses.replace(reply, usage=usage)


async def test_usage_that_is_missing_is_estimated_and_all_witnesses_agree(start: Start) -> None:
    llm = ScriptedLLM([[call("ls")], "It is alpha."], usage=None)
    async with start(llm=llm, langfuse_enabled=True) as app:
        answer = (await app.ask()).json()
        series = await exposition(app.client)
    spans = [span.attributes for span in app.spans.get_finished_spans() if span.name == "llm"]

    replies = [Reply("", (call("ls"),), None, "scripted-1"), Reply("It is alpha.", (), None, "")]
    counted = [
        count_usage(prompt, reply, "") for prompt, reply in zip(llm.prompts, replies, strict=True)
    ]
    both = counted[0] + counted[1]
    assert both.input > 2000
    assert answer["usage"] == {
        "input_tokens": both.input,
        "output_tokens": both.output,
        "total_tokens": both.total,
    }
    assert series["llm_tokens_total type=input"] == both.input
    assert series["llm_tokens_total type=output"] == both.output
    assert series["llm_usage_estimated_total"] == 2
    assert series["errors_total component=llm error_type=usage_missing"] == 2
    assert series["llm_cost_usd_total model=scripted"] == pytest.approx(
        (both.input + 4 * both.output) / 1e6
    )
    assert [span["langfuse.observation.metadata.usage_estimated"] for span in spans] == [
        "true",
        "true",
    ]
    assert [
        f'"total": {usage.total}' in span["langfuse.observation.usage_details"]
        for span, usage in zip(spans, counted, strict=True)
    ] == [True, True]


@dataclass
class BreaksOffFirst:
    """An LLM whose first answer breaks off within a tool call, of which nobody heard anything."""

    script: ScriptedLLM
    begun: Reply
    prompts: list[Prompt] = field(default_factory=list)

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        self.prompts.append(prompt)
        if len(self.prompts) > 1:
            return await self.script.call(prompt, on_token)
        assert prompt.broke_off is not None
        prompt.broke_off(self.begun)
        raise LLMError("connection", "the connection to the LLM failed")


async def test_an_attempt_that_broke_off_is_counted_and_all_witnesses_agree(start: Start) -> None:
    begun = Reply("", (call("cat", path="readme"),), None, "scripted-1")
    llm = BreaksOffFirst(ScriptedLLM(["It is alpha."]), begun)
    async with start(llm=llm, langfuse_enabled=True) as app:
        events = await app.stream()
        series = await exposition(app.client)
    spans = [span.attributes for span in app.spans.get_finished_spans() if span.name == "llm"]

    broken_off = count_usage(llm.prompts[0], begun, "scripted-1")
    assert broken_off.input > 1000
    assert broken_off.output > 5
    both = broken_off + CALL_USAGE
    (usage,) = (data for name, data in events if name == "usage")
    assert (usage["input_tokens"], usage["output_tokens"]) == (both.all_input, both.all_output)
    assert series["llm_tokens_total type=input"] == both.all_input
    assert series["llm_tokens_total type=output"] == both.all_output
    assert series["llm_cost_usd_total model=scripted"] == pytest.approx(
        (broken_off.input + 4 * broken_off.output) / 1e6 + CALL_USD
    )
    assert (series["llm_calls_total status=error"], series["llm_usage_estimated_total"]) == (1, 1)
    assert series["errors_total component=llm error_type=usage_missing"] == 0
    told = [json.loads(span["langfuse.observation.usage_details"])["total"] for span in spans]
    assert sum(told) == both.total


async def test_it_is_estimated_when_nothing_is_told_too(start: Start) -> None:
    llm = ScriptedLLM(["It is alpha."], usage=None)
    async with start(llm=llm, observability_profile="off") as app:
        usage = (await app.ask()).json()["usage"]

    counted = count_usage(llm.prompts[0], Reply("It is alpha.", (), None, ""), "")
    assert usage["total_tokens"] == counted.total > 1000


async def test_a_usage_that_is_a_fifth_too_high_is_a_sixth_off(start: Start) -> None:
    llm = Billing(1.2, ScriptedLLM([[call("ls")], "It is alpha."]))
    async with start(llm=llm, token_check_every=1) as app:
        await app.ask()
        series = await exposition(app.client)

    assert series["llm_token_discrepancy_ratio_count"] == 2
    mean = series["llm_token_discrepancy_ratio_sum"] / 2
    assert mean == pytest.approx(1 - 1 / 1.2, rel=0.01)
    both = llm.counted[0] + llm.counted[1]
    assert series["llm_tokens_checked_total source=tokenizer type=input"] == both.input
    assert series["llm_tokens_checked_total source=tokenizer type=output"] == both.output
    told = series["llm_tokens_checked_total source=usage type=input"]
    assert told == pytest.approx(1.2 * both.input, rel=0.001)


@pytest.mark.parametrize(
    ("every", "checked"),
    [pytest.param(0, 0, id="never"), pytest.param(1, 6, id="all"), pytest.param(3, 2, id="some")],
)
async def test_how_many_calls_are_checked_is_a_setting(
    start: Start, every: int, checked: int
) -> None:
    async with start(*["done"] * 6, token_check_every=every) as app:
        for _ in range(6):
            await app.ask()
        series = await exposition(app.client)

    assert series["llm_token_discrepancy_ratio_count"] == checked


async def test_a_right_usage_is_right_though_some_was_cached_and_some_not_shown() -> None:
    reply = Reply("hello", (), None, "gpt-4o")
    counted = count_usage(HELLO, reply, "gpt-4o")
    told = Usage(counted.input - 4, 4, counted.output, reasoning=1000)
    metrics = Metrics()

    await Accounts(metrics, None, 1).check(HELLO, dataclasses.replace(reply, usage=told))

    sample = metrics.registry.get_sample_value
    assert sample("llm_token_discrepancy_ratio_bucket", {"le": "0.01"}) == 1
    assert sample("llm_token_discrepancy_ratio_sum") == 0


async def test_a_usage_of_nothing_is_far_off() -> None:
    metrics = Metrics()

    await Accounts(metrics, None, 1).check(HELLO, Reply("hello", (), Usage(), "gpt-4o"))

    sample = metrics.registry.get_sample_value
    assert sample("llm_token_discrepancy_ratio_bucket", {"le": "1.0"}) == 0
    assert sample("llm_token_discrepancy_ratio_count") == 1


async def test_what_was_estimated_is_not_compared_with_itself() -> None:
    metrics = Metrics()
    estimated = Reply("hello", (), Usage(1, 0, 1), "gpt-4o", usage_estimated=True)

    await Accounts(metrics, None, 1).check(HELLO, estimated)

    assert metrics.registry.get_sample_value("llm_token_discrepancy_ratio_count") == 0


async def test_each_attempt_that_was_answered_costs(start: Start) -> None:
    async with start([call("ls")], "done") as app:
        await app.ask()
        costs = await app.series("llm_cost")

    assert costs == {"llm_cost_usd_total model=scripted": pytest.approx(2 * CALL_USD)}


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param(
            "models: [{model: other, usd_per_million_tokens: {input: 1}}]", id="another model"
        ),
        pytest.param(
            "models: [{model: other, match: s, usd_per_million_tokens: {input: 1, output: 1}}]",
            id="a kind of token without a price",
        ),
    ],
)
async def test_what_has_no_price_is_an_error_and_no_label(
    start: Start, tmp_path: Path, prices: str
) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(f"version: 1\n{prices}\n")
    async with start("done", prices_path=path) as app:
        await app.ask()
        series = await exposition(app.client)

    assert {name: usd for name, usd in series.items() if name.startswith("llm_cost")} == {
        "llm_cost_usd_total model=other": 0,
        "llm_cost_usd_total model=unpriced": 0,
    }
    assert series["errors_total component=llm error_type=unpriced"] == 1
    assert series["llm_tokens_total type=total"] == CALL_USAGE.total


async def test_without_a_price_list_nothing_is_said_of_costs_but_one_line(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with caplog.at_level(logging.INFO, logger="target_app"):
        async with start("done", prices_path=None) as app:
            await app.ask()
            series = await exposition(app.client)

    assert [line for line in caplog.messages if "costs" in line] == [
        "costs are not counted: there is no prices.yaml, and PRICES_PATH names none"
    ]
    assert not [name for name in series if name.startswith("llm_cost")]
    assert series["errors_total component=llm error_type=unpriced"] == 0


def test_an_llm_cannot_make_labels(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(
        "version: 1\nmodels: [{model: any, match: 'x', usd_per_million_tokens: {input: 1}}]\n"
    )
    metrics = Metrics()
    accounts = Accounts(metrics, read_prices(path), 0)

    for number in range(300):
        accounts.book(Reply("", (), Usage(input=1), f"{'x' * (number % 2)}-{number}"))

    (family,) = (f for f in metrics.registry.collect() if f.name == "llm_cost_usd")
    assert {sample.labels["model"] for sample in family.samples} == {"any", "unpriced"}
