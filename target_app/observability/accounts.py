"""What LLM calls took: their tokens, what these cost, and whether the LLM counts them rightly."""

from __future__ import annotations

from target_app.agent.messages import Prompt, Reply, Usage
from target_app.agent.tokens import count_aside
from target_app.observability.metrics import Metrics
from target_app.observability.prices import Prices


class Accounts:
    """Counts what LLM calls took. One for the whole app, on its event loop."""

    def __init__(self, metrics: Metrics, prices: Prices | None, check_every: int) -> None:
        """
        Count by `prices`, if there are any, and check each `check_every`th usage; 0 checks none.

        The models of the price list are known to the metrics from now on.
        """
        self._metrics = metrics
        self._prices = prices
        self._check_every = check_every
        self._told = 0
        models = () if prices is None else prices.models
        if prices is not None:
            metrics.know_models(models)
        self._unpriced = metrics.errors.labels("unpriced", "llm")
        self._costs = {model: metrics.llm_cost.labels(model) for model in models}

    def book(self, reply: Reply, *, whole: bool = True) -> None:
        """
        Count the tokens of one call, told or estimated, and their cost.

        That a reply does not tell its tokens is an error, unless it is not `whole`: then the
        usage had yet to come.
        """
        metrics = self._metrics
        if whole and (reply.usage_estimated or reply.usage is None):
            metrics.errors.labels("usage_missing", "llm").inc()
        if reply.usage is None:
            return
        if reply.usage_estimated:
            metrics.llm_usage_estimated.inc()
        metrics.count_usage(reply.usage)
        if self._prices is None:
            return
        priced = self._prices.cost(reply.model, reply.usage)
        if priced is None:
            # What it cost is not known, so the series of the unpriced stays at 0.
            self._unpriced.inc()
        else:
            self._costs[priced.model].inc(priced.usd)

    async def check(self, prompt: Prompt, reply: Reply) -> None:
        """
        Count the tokens of a call once more, if it is its turn, and compare.

        Reasoning is left out, for nobody can count it here. Takes a few milliseconds.
        """
        if not self._check_every or reply.usage is None or reply.usage_estimated:
            return
        self._told += 1
        if self._told % self._check_every:
            return
        counted = await count_aside(prompt, reply, reply.model)
        told = Usage(reply.usage.input, reply.usage.cached_input, reply.usage.output)
        checked = self._metrics.llm_tokens_checked
        for source, usage in (("usage", told), ("tokenizer", counted)):
            checked.labels("input", source).inc(usage.all_input)
            checked.labels("output", source).inc(usage.all_output)
        difference = abs(told.total - counted.total)
        self._metrics.llm_token_discrepancy.observe(difference / max(1, told.total))
