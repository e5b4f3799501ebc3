"""
Do the witnesses tell the same story? Counts, times, tokens and cost, pair by pair.

Client and server measured the same requests, so comparing them is not a
statistical test but a coupling: for every request, the client's time is the
server's time plus something that cannot be negative. docs/methodology.md
derives the rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from harness.model import Account, Agreement, BoundCheck, Buckets, Durations, Finding

# A few stragglers may use up the allowance, but all requests together only this share of it.
# Simulated: it finds 5 % of requests that queue for 500 ms whatever the law of the times is.
_MEAN_SHARE = 0.4
REQUESTS, TIME, COST, TRACES = "requests", "request time", "cost", "trace ids"
_COUNTED = {
    REQUESTS: "requests",
    "LLM calls": "llm_calls",
    "tool calls": "tool_calls",
    "input tokens": "input_tokens",
    "output tokens": "output_tokens",
}


def reconcile(
    window: str,
    accounts: Sequence[Account],
    *,
    overhead: float,
    overhead_limit: float,
    stragglers: float,
) -> list[Agreement]:
    """
    Compare all witnesses of one window, pair by pair.

    `overhead` (seconds) is what a request may take between client and server;
    it is raised to the p99 of the null probe, but never above `overhead_limit`.
    `stragglers` is the share of requests that may exceed it.
    """
    found = []
    # What a client gave up on may or may not have been counted by the others,
    # and how many calls and tokens those requests caused nobody can say.
    slack = sum(a.unanswered for a in accounts)
    untraced = sum(a.untraced for a in accounts)
    for one, other in combinations(accounts, 2):
        found += _counts(window, one, other, slack, untraced)
    by_witness = {a.witness: a for a in accounts if not a.problem}
    client, metrics = by_witness.get("client"), by_witness.get("metrics")
    if client and metrics and metrics.server_durations:
        probe = client.null_probe_p99 or 0.0
        allowance = min(max(overhead, probe), overhead_limit)
        found.append(couple(window, client, metrics.server_durations, allowance, stragglers))
    return found


def _counts(
    window: str, one: Account, other: Account, slack: int, untraced: int
) -> list[Agreement]:
    pair = (one.witness, other.witness)
    silent = [a for a in (one, other) if a.problem]
    if silent:
        reason = f"{silent[0].witness}: {silent[0].problem}"
        return [Agreement(window, REQUESTS, pair, Finding.NOT_COMPARABLE, reason)]
    found = []
    for about, name in _COUNTED.items():
        a, b = getattr(one, name), getattr(other, name)
        untold = (one.untold if a is None else 0) + (other.untold if b is None else 0)
        if untold and (a is None) != (b is None):
            reason = f"{untold} answers did not say, so the sum of all is not known"
            found.append(Agreement(window, about, pair, Finding.NOT_COMPARABLE, reason, (a, b)))
        if a is None or b is None:
            continue  # a quantity that a witness does not know is not compared
        if about == REQUESTS and _counts_traces(one) is not _counts_traces(other):
            found.append(_traced(window, one, other, slack, untraced))
        else:
            found.append(_count(window, about, pair, (a, b), slack))
    if one.traces and other.traces:
        found.append(_traces(window, pair, one, other))
    return found


def _counts_traces(account: Account) -> bool:
    """Whether its requests are traces, so that it knows of no request that leaves none."""
    return account.traces is not None and account.witness != "client"


def _traced(window: str, one: Account, other: Account, slack: int, untraced: int) -> Agreement:
    """Compare a count of traces with a count of all requests, of which some leave no trace."""
    a, b = (
        (account.requests or 0) - (0 if _counts_traces(account) else untraced)
        for account in (one, other)
    )
    found = _count(window, REQUESTS, (one.witness, other.witness), (a, b), slack)
    if not untraced:
        return found
    return replace(found, reason=f"{found.reason}, without the {untraced} that leave no trace")


def _traces(window: str, pair: tuple[str, str], one: Account, other: Account) -> Agreement:
    """Join requests and traces one to one, by the trace id that the client sent."""
    sent, kept = one.traces or frozenset(), other.traces or frozenset()
    values = (len(sent), len(kept))
    lost, foreign = sent - kept, kept - sent - one.unanswered_traces
    if not sent & kept:
        reason = f"{pair[1]} knows none of the trace ids that the {pair[0]} sent in traceparent"
        return Agreement(window, TRACES, pair, Finding.NOT_COMPARABLE, reason, values)
    if not lost and not foreign:
        reason = f"every request has its trace ({len(sent)})"
        return Agreement(window, TRACES, pair, Finding.AGREE, reason, values)
    reason = f"{len(lost)} requests have no trace, and {len(foreign)} traces have no request"
    return Agreement(window, TRACES, pair, Finding.CONTRADICTION, reason, values)


def _count(
    window: str, about: str, pair: tuple[str, str], values: tuple[int, int], slack: int
) -> Agreement:
    a, b = values
    if a == b:
        return Agreement(window, about, pair, Finding.AGREE, f"both count {a}", (a, b))
    more, less = (pair[0], pair[1]) if a > b else (pair[1], pair[0])
    difference = f"{more} counts {abs(a - b)} more than {less} ({max(a, b)} against {min(a, b)})"
    # The client counts what was answered: nobody may count less than that.
    possible = slack and (pair[0] != "client" or a < b)
    if possible and about == REQUESTS and abs(a - b) <= slack:
        reason = f"{difference}; {slack} requests were sent but not answered"
        return Agreement(window, about, pair, Finding.AGREE, reason, (a, b), slack)
    if possible and about != REQUESTS:
        reason = f"{difference}, and {slack} requests were sent but not answered"
        return Agreement(window, about, pair, Finding.NOT_COMPARABLE, reason, (a, b), slack)
    return Agreement(window, about, pair, Finding.CONTRADICTION, difference, (a, b), slack)


def couple(
    window: str, client: Account, server: Buckets, allowance: float, stragglers: float
) -> Agreement:
    """
    Compare the client's service times with the server's histogram of the same requests.

    At every bucket bound b: the server must have at least as many requests at
    or below b as the client (else the server claims more time than passed), and
    at most as many as the client has at or below b + allowance, stragglers
    apart (else time passed that the server does not account for). The mean
    difference is exact and must lie between 0 and 0.4 of the allowance.
    """
    pair = ("client", "metrics")
    seen = client.client_durations
    if seen is None or not seen.count or not server.count:
        reason = "one of them has no request times"
        return Agreement(window, TIME, pair, Finding.NOT_COMPARABLE, reason)
    means = (seen.total_seconds / seen.count, server.total_seconds / server.count)
    lost, extra = max(0, seen.count - server.count), max(0, server.count - seen.count)
    if lost or extra > client.unanswered:
        reason = "they did not count the same requests, so their times cannot be compared"
        return Agreement(window, TIME, pair, Finding.NOT_COMPARABLE, reason, means)
    checks = _check_bounds(seen, server, allowance, stragglers, extra)
    finding, reason = _finding(checks, means, allowance, comparable_mean=not extra)
    return Agreement(window, TIME, pair, finding, reason, means, allowance, checks)


def _check_bounds(
    seen: Durations, server: Buckets, allowance: float, stragglers: float, extra: int
) -> tuple[BoundCheck, ...]:
    may_straggle = math.ceil(stragglers * seen.count)
    checks = []
    for bound, below in zip(server.bounds, server.cumulative, strict=True):
        surely, possibly = seen.at_or_below(bound)
        _, later = seen.at_or_below(bound + allowance)
        dominated = surely <= below
        accounted = below <= later + may_straggle + extra
        checks.append(
            BoundCheck(bound, surely, possibly, below, later, holds=dominated and accounted)
        )
    return tuple(checks)


def _finding(
    checks: tuple[BoundCheck, ...],
    means: tuple[float, float],
    allowance: float,
    *,
    comparable_mean: bool,
) -> tuple[Finding, str]:
    gap = means[0] - means[1]
    faster = [c for c in checks if c.client_low > c.server]
    if faster:
        c = faster[0]
        return Finding.CONTRADICTION, (
            f"the server claims more time than its clients waited: at {c.bound:g} s the clients "
            f"have {c.client_low} requests done, the server only {c.server}"
        )
    # Clocks tick in whole microseconds on the client's side.
    if comparable_mean and gap < -1e-6:
        return Finding.CONTRADICTION, (
            f"the server claims {-gap:.3f} s more per request than its clients waited"
        )
    slower = [c for c in checks if not c.holds]
    if slower:
        c = slower[0]
        return Finding.UNACCOUNTED_TIME, (
            f"clients wait {gap:.3f} s more per request than the server accounts for: at "
            f"{c.bound:g} s the server has {c.server} requests done, the client only "
            f"{c.client_with_overhead} even {allowance:.3f} s later; the time is lost in a queue, "
            "a proxy, the network or the load generator"
        )
    if not comparable_mean:
        return Finding.AGREE, f"at all {len(checks)} bucket bounds ({allowance:.3f} s allowed)"
    if gap > _MEAN_SHARE * allowance:
        return Finding.UNACCOUNTED_TIME, (
            f"clients wait {gap:.3f} s more per request than the server accounts for "
            f"({_MEAN_SHARE * allowance:.3f} s allowed on average)"
        )
    return Finding.AGREE, (
        f"at all {len(checks)} bucket bounds; {max(0.0, gap):.4f} s per request between them "
        f"({allowance:.3f} s allowed)"
    )


def compare_cost(
    window: str, langfuse: Account, recomputed: float | None, problem: str, within: float
) -> Agreement:
    """Compare the cost that Langfuse gives with usage times price, recomputed."""
    pair = ("langfuse", "prices")
    given = langfuse.cost_usd
    if langfuse.problem or given is None:
        reason = f"langfuse: {langfuse.problem or 'LLM calls without a cost, or none'}"
        return Agreement(window, COST, pair, Finding.NOT_COMPARABLE, reason)
    if recomputed is None:
        return Agreement(window, COST, pair, Finding.NOT_COMPARABLE, problem, (given, None))
    reason = f"Langfuse says {given:.6f} USD, usage times price is {recomputed:.6f} USD"
    off = abs(given - recomputed)
    finding = Finding.AGREE if off <= within * recomputed else Finding.CONTRADICTION
    apart = f": {off / recomputed:.2%} apart, {within:.0%} allowed" if recomputed else ""
    difference = f"{reason}{apart}"
    return Agreement(window, COST, pair, finding, difference, (given, recomputed), within)


def impeached(agreements: Sequence[Agreement]) -> Mapping[str, str]:
    """
    Witnesses that contradict the client on a count, and how.

    The client sent the requests and keeps a row for each, so where a count
    differs from its own, the other witness missed something or saw too much.
    """
    return {
        a.witnesses[1]: f"{a.about} in {a.window}: {a.reason}"
        for a in reversed(agreements)
        if a.finding is Finding.CONTRADICTION and a.witnesses[0] == "client" and a.about != TIME
    }
