"""When to stop sending: so many requests, or so much money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from harness.model import Outcome, Sample
from harness.prices import PriceBook

Option = Literal["", "--max-requests", "--budget-usd"]
# Prices an answer in USD by the tokens it tells, and the model it names (""): None if it cannot.
Cost = Callable[[Sample, str], float | None]

_NEVER_SENT = (Outcome.SHED, Outcome.REFUSED)


class Limits:
    """
    What one load process may send: at most `max_requests`, for at most `budget_usd`.

    None is no limit. Everything that is sent counts, warm-up included, since everything is paid
    for. Requests are counted before they are sent, so there is never one too many.

    What an answer costs is known only when it has come. Until the first one has, a budget lets one
    request at a time be sent, and turns others away for now (`undecided`). From then on each
    request under way counts as much as the answers cost on average so far. So a budget is
    exceeded at most by the first answer, or by what those under way cost more than that average.

    Requests that ask no LLM cost nothing and wait for no price; `paid` tells them apart.
    """

    def __init__(
        self,
        max_requests: int | None,
        budget_usd: float | None,
        cost: Cost,
        *,
        slots: int = 1,
    ) -> None:
        """Begin with nothing sent; `slots` processes share what the user allowed."""
        self._max_requests = max_requests
        self._budget = budget_usd
        self._cost = cost
        self._slots = slots
        self._admitted = 0
        self._under_way = 0  # of those that are paid for
        self._priced = 0
        self._priced_usd = 0.0
        self._unknown = 0
        self._reached = ""
        self._option: Option = ""

    @property
    def reached(self) -> str:
        """Why nothing more is sent, in one sentence; empty as long as there is no reason."""
        return self._reached

    @property
    def option(self) -> Option:
        """Which of the two was reached; empty as long as none was, or if one cannot be kept."""
        return self._option

    @property
    def undecided(self) -> bool:
        """Whether paid requests are turned away for now, since the first price is awaited."""
        return (
            self._budget is not None
            and not self._reached
            and not self._priced
            and self._under_way > 0
        )

    @property
    def sent(self) -> int:
        """How many requests were admitted."""
        return self._admitted

    @property
    def left(self) -> int | None:
        """How many more `max_requests` allows; None when it sets no limit."""
        return None if self._max_requests is None else max(0, self._max_requests - self._admitted)

    @property
    def spent_usd(self) -> float:
        """
        What the requests that ended cost.

        One that failed without telling its tokens is charged what the others cost on average.
        """
        return self._priced_usd + self._unknown * self._mean

    @property
    def _mean(self) -> float:
        return self._priced_usd / self._priced if self._priced else 0.0

    def admits(self, *, paid: bool = True) -> bool:
        """
        Say whether one more request may be sent now, and count it as sent if it may.

        When it may not and `reached` is empty, it may later: the first price is awaited.
        """
        if not self._reached:
            self._check(paid=paid)
        if self._reached or (paid and self.undecided):
            return False
        self._admitted += 1
        self._under_way += paid
        return True

    def spent(self, sample: Sample, model: str = "") -> None:
        """
        Take note of how a request that was admitted ended; one that was shed never was.

        `model` is the one its answer names. A sample counts as paid for if it is `traced`.
        """
        if sample.outcome is Outcome.SHED or not sample.traced:
            return
        self._under_way -= 1
        if self._budget is None or sample.outcome in _NEVER_SENT:
            return
        cost = self._cost(sample, model)
        if cost is not None:
            self._priced += 1
            self._priced_usd += cost
        elif sample.outcome is not Outcome.OK:
            self._unknown += 1
        elif not self._reached:
            self._reached = (
                "--budget-usd cannot be kept, since answers do not tell what they cost: give the "
                "scenario a model that prices.yaml knows, and an app that tells its tokens"
            )

    def _check(self, *, paid: bool) -> None:
        if self._max_requests is not None and self._admitted >= self._max_requests:
            self._end("--max-requests", self._max_requests)
        elif self._budget is not None:
            promised = self.spent_usd + (self._under_way + paid) * self._mean
            if promised > self._budget or self.spent_usd >= self._budget:
                self._end("--budget-usd", self._budget)

    def _end(self, option: Option, limit: float) -> None:
        self._option = option
        if self._slots == 1:
            self._reached = f"{option} {limit:.12g} was reached"
        else:
            one = f"one in {self._slots} processes"
            self._reached = f"the share of {option} of {one} was reached: {limit:.12g}"


def cost_by(book: PriceBook, models: Mapping[str, str]) -> Cost:
    """
    Price answers by a price book: as the model they name, if it has a price.

    Else as the one that `models` gives for their scenario. One without tokens has no cost.
    """

    def cost(sample: Sample, model: str) -> float | None:
        if sample.input_tokens is None or sample.output_tokens is None:
            return None
        priced = model if model and book.find(model) else models.get(sample.scenario, "")
        usage = {"input": sample.input_tokens, "output": sample.output_tokens}
        try:
            return book.cost(priced, usage)
        except LookupError:
            return None

    return cost
