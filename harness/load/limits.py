"""When to stop sending: so many requests, or so much money, and not one more."""

from __future__ import annotations

from collections.abc import Callable

from harness.model import Outcome, Sample

_NEVER_SENT = (Outcome.SHED, Outcome.REFUSED)


class Limits:
    """
    What one load process may send: at most `max_requests`, for at most `budget_usd`.

    None is no limit. `cost` prices an answer in USD by the tokens it tells, or gives None when it
    tells none. Everything that is sent counts, warm-up included, since everything is paid for.

    A request that is under way is expected to cost what the others did on average, so that money
    already promised is not spent twice. What the first ones cost is known only when they are
    answered: until then the budget holds nothing back, and those under way may exceed it.
    """

    def __init__(
        self,
        max_requests: int | None,
        budget_usd: float | None,
        cost: Callable[[Sample], float | None],
        *,
        slots: int = 1,
    ) -> None:
        """Begin with nothing sent; `slots` processes share what the user allowed."""
        self._max_requests = max_requests
        self._budget = budget_usd
        self._cost = cost
        self._slots = slots
        self._admitted = 0
        self._under_way = 0
        self._priced = 0
        self._priced_usd = 0.0
        self._unknown = 0
        self._reached = ""

    @property
    def reached(self) -> str:
        """Why nothing more is sent, in one sentence; empty as long as there is no reason."""
        return self._reached

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

    def admits(self) -> bool:
        """Say whether one more request may be sent now, and count it as sent if it may."""
        if not self._reached:
            self._reached = self._reason()
        if self._reached:
            return False
        self._admitted += 1
        self._under_way += 1
        return True

    def spent(self, sample: Sample) -> None:
        """Take note of how a request that was admitted ended; one that was shed never was."""
        if sample.outcome is Outcome.SHED:
            return
        self._under_way -= 1
        if self._budget is None or sample.outcome in _NEVER_SENT:
            return
        cost = self._cost(sample)
        if cost is not None:
            self._priced += 1
            self._priced_usd += cost
        elif not sample.traced:
            pass  # no chat: it asked no LLM
        elif sample.outcome is Outcome.OK:
            self._reached = self._reached or (
                "--budget-usd cannot be kept, since answers do not tell what they cost: give the "
                "scenario a model that prices.yaml knows, and an app that tells its tokens"
            )
        else:
            self._unknown += 1

    def _reason(self) -> str:
        if self._max_requests is not None and self._admitted >= self._max_requests:
            return self._told("--max-requests", self._max_requests)
        if self._budget is None:
            return ""
        promised = self.spent_usd + (self._under_way + 1) * self._mean
        if promised > self._budget or self.spent_usd >= self._budget:
            return self._told("--budget-usd", self._budget)
        return ""

    def _told(self, option: str, limit: float) -> str:
        if self._slots == 1:
            return f"{option} {limit:.12g} was reached"
        return f"the share of {option} of one in {self._slots} processes was reached: {limit:.12g}"
