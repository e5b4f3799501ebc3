"""Two witnesses of the same requests: do they tell the same story, and where not?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.distribution import Distribution
from harness.judge.reconcile import compare_cost, couple, impeached, reconcile
from harness.model import Account, Agreement, Buckets, Finding

AGREE, UNACCOUNTED, CONTRADICTION, NOT_COMPARABLE = Finding

CLIENT = Account("client", requests=200, input_tokens=1000, output_tokens=50, llm_calls=400)
METRICS = replace(CLIENT, witness="metrics")
LANGFUSE = replace(CLIENT, witness="langfuse")


def compared(*accounts: Account) -> list[Agreement]:
    return reconcile("warm", accounts, overhead=0.05, overhead_limit=0.1, stragglers=0.02)


def found(*accounts: Account) -> dict[tuple[str, str, str], tuple[Finding, str]]:
    return {(*a.witnesses, a.about): (a.finding, a.reason) for a in compared(*accounts)}


# -- counts -----------------------------------------------------------------------


def test_three_witnesses_that_agree():
    findings = {key: finding for key, (finding, _) in found(CLIENT, METRICS, LANGFUSE).items()}

    assert findings == {
        (*pair, about): AGREE
        for pair in (("client", "metrics"), ("client", "langfuse"), ("metrics", "langfuse"))
        for about in ("requests", "LLM calls", "input tokens", "output tokens")
    }


@pytest.mark.parametrize(
    ("client", "metrics", "expected"),
    [
        pytest.param({}, {}, (AGREE, "both count 200"), id="equal"),
        pytest.param({}, {"requests": 197}, (CONTRADICTION, ("client counts 3 more than metrics "
                     "(200 against 197)")), id="3 lost observations"),
        pytest.param({}, {"requests": 180}, (CONTRADICTION, ("client counts 20 more than metrics "
                     "(200 against 180)")), id="a lost worker"),
        pytest.param({}, {"requests": 204}, (CONTRADICTION, ("metrics counts 4 more than client "
                     "(204 against 200)")), id="foreign traffic"),
        pytest.param({"unanswered": 3}, {"requests": 203}, (AGREE, ("metrics counts 3 more than "
                     "client (203 against 200); 3 requests were sent but not answered")),
                     id="timeouts that the server counted"),
        pytest.param({"unanswered": 3}, {"requests": 201}, (AGREE, ("metrics counts 1 more than "
                     "client (201 against 200); 3 requests were sent but not answered")),
                     id="timeouts of which the server counted one"),
        pytest.param({"unanswered": 3}, {"requests": 204}, (CONTRADICTION, ("metrics counts 4 more "
                     "than client (204 against 200)")), id="more than the timeouts explain"),
        pytest.param({"unanswered": 3}, {"requests": 199}, (CONTRADICTION, ("client counts 1 more "
                     "than metrics (200 against 199)")), id="timeouts explain no loss"),
        pytest.param({"unsent": 3}, {"requests": 203}, (CONTRADICTION, ("metrics counts 3 more "
                     "than client (203 against 200)")), id="what was refused cannot be counted"),
    ],
)  # fmt: skip
def test_requests(client: dict[str, int], metrics: dict[str, int], expected: tuple[Finding, str]):
    findings = found(replace(CLIENT, **client), replace(METRICS, **metrics))

    assert findings["client", "metrics", "requests"] == expected


@pytest.mark.parametrize(
    ("unanswered", "tokens", "expected"),
    [
        pytest.param(0, (1000, 1001), (CONTRADICTION, ("metrics counts 1 more than client (1001 "
                     "against 1000)")), id="one token too many"),
        pytest.param(1, (1000, 1400), (NOT_COMPARABLE, ("metrics counts 400 more than client (1400 "
                     "against 1000), and 1 requests were sent but not answered")),
                     id="tokens of a request that was not answered"),
        pytest.param(1, (1000, 999), (CONTRADICTION, ("client counts 1 more than metrics (1000 "
                     "against 999)")), id="tokens of an answered request cannot be missing"),
        pytest.param(1, (1000, 1000), (AGREE, "both count 1000"), id="equal all the same"),
    ],
)  # fmt: skip
def test_tokens(unanswered: int, tokens: tuple[int, int], expected: tuple[Finding, str]):
    findings = found(
        replace(CLIENT, unanswered=unanswered, input_tokens=tokens[0]),
        replace(METRICS, input_tokens=tokens[1]),
    )

    assert findings["client", "metrics", "input tokens"] == expected


@pytest.mark.parametrize(
    ("metrics", "langfuse", "finding"),
    [(201, 203, AGREE), (203, 201, AGREE), (200, 204, CONTRADICTION)],
)
def test_server_and_traces_may_differ_by_what_the_client_gave_up_on(
    metrics: int, langfuse: int, finding: Finding
):
    findings = found(
        replace(CLIENT, unanswered=3),
        replace(METRICS, requests=metrics),
        replace(LANGFUSE, requests=langfuse),
    )

    assert findings["metrics", "langfuse", "requests"][0] is finding


def test_a_silent_witness_is_not_comparable():
    silent = Account("langfuse", problem="answered 500")

    assert found(CLIENT, METRICS, silent) == {
        **found(CLIENT, METRICS),
        ("client", "langfuse", "requests"): (NOT_COMPARABLE, "langfuse: answered 500"),
        ("metrics", "langfuse", "requests"): (NOT_COMPARABLE, "langfuse: answered 500"),
    }


def test_what_a_witness_does_not_know_is_not_compared():
    findings = found(CLIENT, Account("metrics", requests=200))

    assert list(findings) == [("client", "metrics", "requests")]


def test_a_client_whose_own_records_differ_is_not_coupled():
    broken = replace(
        CLIENT, problem="200 rows but 199 values", client_durations=Distribution([0.3])
    )

    assert found(broken, replace(METRICS, server_durations=buckets([0.2]))) == {
        ("client", "metrics", "requests"): (NOT_COMPARABLE, "client: 200 rows but 199 values")
    }


# -- times ------------------------------------------------------------------------


def buckets(
    seconds: list[float], bounds: tuple[float, ...] = (0.25, 0.5, 1.0, math.inf)
) -> Buckets:
    return Buckets(bounds, tuple(sum(s <= b for s in seconds) for b in bounds), sum(seconds))


def coupled(
    client: list[float], server: list[float], *, unanswered: int = 0, probe: float | None = None
) -> Agreement:
    found = compared(
        Account(
            "client",
            unanswered=unanswered,
            client_durations=Distribution(client),
            null_probe_p99=probe,
        ),
        Account("metrics", server_durations=buckets(server)),
    )
    return next(a for a in found if a.about == "request time")


@pytest.mark.parametrize(
    ("client", "server", "finding", "reason"),
    [
        pytest.param(
            [0.304] * 100, [0.3] * 100, AGREE,
            "at all 4 bucket bounds; 0.0040 s per request between them (0.050 s allowed)",
            id="4 ms between them",
        ),
        pytest.param(
            [0.3] * 100, [0.3] * 100, AGREE,
            "at all 4 bucket bounds; 0.0000 s per request between them (0.050 s allowed)",
            id="nothing between them",
        ),
        pytest.param(
            [0.49] * 100, [0.51] * 100, CONTRADICTION,
            "the server claims more time than its clients waited: at 0.5 s the clients have 100 "
            "requests done, the server only 0",
            id="slower than its own clients, seen at a bound",
        ),
        pytest.param(
            [0.3] * 100, [0.31] * 100, CONTRADICTION,
            "the server claims 0.010 s more per request than its clients waited",
            id="slower than its own clients, seen in the mean",
        ),
        pytest.param(
            [0.304] * 97 + [0.804] * 3, [0.3] * 100, UNACCOUNTED,
            "clients wait 0.019 s more per request than the server accounts for: at 0.5 s the "
            "server has 100 requests done, the client only 97 even 0.050 s later; the time is "
            "lost in a queue, a proxy, the network or the load generator",
            id="3 % wait half a second in a queue",
        ),
        pytest.param(
            [0.304] * 98 + [0.804] * 2, [0.3] * 100, AGREE,
            "at all 4 bucket bounds; 0.0140 s per request between them (0.050 s allowed)",
            id="2 % stragglers are allowed",
        ),
        pytest.param(
            [0.325] * 100, [0.3] * 100, UNACCOUNTED,
            "clients wait 0.025 s more per request than the server accounts for "
            "(0.020 s allowed on average)",
            id="25 ms between all of them, within one bucket",
        ),
    ],
)  # fmt: skip
def test_coupling(client: list[float], server: list[float], finding: Finding, reason: str):
    agreement = coupled(client, server)

    assert (agreement.finding, agreement.reason) == (finding, reason)


def test_every_bound_is_shown_with_its_counts():
    agreement = coupled([0.26] * 2 + [0.6], [0.24] * 2 + [0.59])

    shown = [
        (c.bound, c.client_low, c.client_high, c.server, c.client_with_overhead, c.holds)
        for c in agreement.bounds
    ]
    assert shown == [
        (0.25, 0, 0, 2, 2, True),
        (0.5, 2, 2, 2, 2, True),
        (1.0, 3, 3, 3, 3, True),
        (math.inf, 3, 3, 3, 3, True),
    ]
    assert agreement.values == pytest.approx((1.12 / 3, 1.07 / 3))
    assert agreement.allowance == 0.05


@pytest.mark.parametrize(
    ("probe", "allowance"),
    [
        pytest.param(None, 0.05, id="no probe: as promised"),
        pytest.param(0.01, 0.05, id="a quick probe changes nothing"),
        pytest.param(0.07, 0.07, id="a slow probe raises it"),
        pytest.param(0.9, 0.1, id="but never above its limit"),
    ],
)
def test_the_allowance(probe: float | None, allowance: float):
    assert coupled([0.3], [0.3], probe=probe).allowance == allowance


@pytest.mark.parametrize(
    ("client", "server", "unanswered", "finding"),
    [
        pytest.param([0.3] * 99, [0.3] * 98, 0, NOT_COMPARABLE, id="the server lost one"),
        pytest.param([0.3] * 99, [0.3] * 100, 0, NOT_COMPARABLE, id="the server saw another"),
        pytest.param([0.3] * 99, [0.3] * 100, 1, AGREE, id="one was not answered"),
        pytest.param([0.3] * 99, [0.3] * 99 + [9.0], 1, AGREE, id="one timed out, and the server "
                     "went on: its mean is not compared"),
        pytest.param([0.3] * 99, [0.3] * 101, 1, NOT_COMPARABLE, id="one was not answered, but "
                     "there are two"),
        pytest.param([], [0.3], 1, NOT_COMPARABLE, id="nothing was answered"),
        pytest.param([0.3], [], 0, NOT_COMPARABLE, id="the server saw nothing"),
    ],
)  # fmt: skip
def test_times_are_compared_only_of_the_same_requests(
    client: list[float], server: list[float], unanswered: int, finding: Finding
):
    agreement = coupled(client, server, unanswered=unanswered)

    assert agreement.finding is finding, agreement.reason


def test_without_times_of_the_client_nothing_is_coupled():
    agreement = couple("warm", Account("client"), buckets([0.3]), 0.05, 0.02)

    assert (agreement.finding, agreement.reason) == (
        NOT_COMPARABLE, "one of them has no request times",
    )  # fmt: skip


# -- cost -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "recomputed", "expected"),
    [
        pytest.param(1.0, 1.0, (AGREE, ("Langfuse says 1.000000 USD, usage times price is 1.000000 "
                     "USD: 0.00% apart, 5% allowed")), id="equal"),
        pytest.param(1.04, 1.0, (AGREE, ("Langfuse says 1.040000 USD, usage times price is "
                     "1.000000 USD: 4.00% apart, 5% allowed")), id="4 % apart"),
        pytest.param(2.0, 1.0, (CONTRADICTION, ("Langfuse says 2.000000 USD, usage times price is "
                     "1.000000 USD: 100.00% apart, 5% allowed")), id="counted twice"),
        pytest.param(0.0, 1.0, (CONTRADICTION, ("Langfuse says 0.000000 USD, usage times price is "
                     "1.000000 USD: 100.00% apart, 5% allowed")), id="not priced by Langfuse"),
        pytest.param(0.04, 0.0, (CONTRADICTION, ("Langfuse says 0.040000 USD, usage times price is "
                     "0.000000 USD")), id="a cost of nothing"),
        pytest.param(0.0, 0.0, (AGREE, ("Langfuse says 0.000000 USD, usage times price is 0.000000 "
                     "USD")), id="nothing was used"),
        pytest.param(1.0, None, (NOT_COMPARABLE, "no price for model 'x'"), id="no price"),
        pytest.param(None, 1.0, (NOT_COMPARABLE, "langfuse: LLM calls without a cost, or none"), id="no cost"),
    ],
)  # fmt: skip
def test_cost(given: float | None, recomputed: float | None, expected: tuple[Finding, str]):
    agreement = compare_cost(
        "warm", replace(LANGFUSE, cost_usd=given), recomputed, "no price for model 'x'", 0.05
    )

    assert (agreement.finding, agreement.reason) == expected


def test_the_cost_of_a_silent_witness_is_not_comparable():
    agreement = compare_cost("warm", Account("langfuse", problem="refused"), None, "none", 0.05)

    assert (agreement.finding, agreement.reason) == (NOT_COMPARABLE, "langfuse: refused")


# -- whom to believe ----------------------------------------------------------------


def test_a_witness_that_contradicts_the_client_on_a_count_is_impeached():
    agreements = compared(
        CLIENT, replace(METRICS, requests=180, llm_calls=1), replace(LANGFUSE, llm_calls=1)
    )

    assert impeached(agreements) == {
        "metrics": "requests in warm: client counts 20 more than metrics (200 against 180)",
        "langfuse": "LLM calls in warm: client counts 399 more than langfuse (400 against 1)",
    }


def test_nobody_is_impeached_over_time_or_by_another_than_the_client():
    pair = ("metrics", "langfuse")
    agreements = [
        Agreement("warm", "request time", ("client", "metrics"), CONTRADICTION, "slower"),
        Agreement("warm", "requests", pair, CONTRADICTION, "differ"),
        Agreement("warm", "requests", ("client", "langfuse"), AGREE, "equal"),
    ]

    assert impeached(agreements) == {}


def test_sums_that_some_answers_did_not_tell_are_not_compared_and_that_is_said():
    client = Account("client", requests=200, untold=10)
    metrics = Account("metrics", requests=200, llm_calls=400)

    found = {
        a.about: (a.finding, a.reason)
        for a in reconcile(
            "warm", [client, metrics], overhead=0.05, overhead_limit=0.1, stragglers=0
        )
    }

    assert found == {
        "requests": (Finding.AGREE, "both count 200"),
        "LLM calls": (
            Finding.NOT_COMPARABLE, "10 answers did not say, so the sum of all is not known"
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kept", "unanswered", "finding", "reason"),
    [
        pytest.param("abc", "", Finding.AGREE, "every request has its trace (3)", id="one to one"),
        pytest.param("abcd", "d", Finding.AGREE, "every request has its trace (3)",
                     id="a request without an answer may have left a trace"),
        pytest.param("ab", "", Finding.CONTRADICTION,
                     "1 requests have no trace, and 0 traces have no request", id="a lost trace"),
        pytest.param("abx", "", Finding.CONTRADICTION,
                     "1 requests have no trace, and 1 traces have no request",
                     id="the right number of the wrong traces"),
        pytest.param("xyz", "", Finding.NOT_COMPARABLE,
                     "langfuse knows none of the trace ids that the client sent in traceparent",
                     id="an app that makes trace ids of its own"),
    ],
)  # fmt: skip
def test_traces_are_joined_with_requests_one_to_one(
    kept: str, unanswered: str, finding: Finding, reason: str
):
    client = Account("client", traces=frozenset("abc"), unanswered_traces=frozenset(unanswered))
    langfuse = Account("langfuse", traces=frozenset(kept))

    found = reconcile(
        "warm", [client, langfuse], overhead=0.05, overhead_limit=0.1, stragglers=0.02
    )

    assert [(a.about, a.finding, a.reason) for a in found] == [("trace ids", finding, reason)]


# -- requests that leave no trace ---------------------------------------------------------


def test_documents_are_compared_with_the_server_and_only_chats_with_the_traces():
    client = replace(CLIENT, requests=250, untraced=50, traces=frozenset({"a"}))
    findings = found(
        client, replace(METRICS, requests=250), replace(LANGFUSE, traces=frozenset({"a"}))
    )

    assert findings["client", "metrics", "requests"] == (AGREE, "both count 250")
    without = (AGREE, "both count 200, without the 50 that leave no trace")
    assert findings["client", "langfuse", "requests"] == without
    assert findings["metrics", "langfuse", "requests"] == without


def test_a_trace_of_what_leaves_none_is_one_too_many():
    client = replace(CLIENT, requests=250, untraced=50, traces=frozenset({"a"}))

    findings = found(client, replace(LANGFUSE, requests=203, traces=frozenset({"a"})))

    assert findings["client", "langfuse", "requests"] == (
        CONTRADICTION,
        "langfuse counts 3 more than client (203 against 200), without the 50 that leave no trace",
    )


def test_a_window_of_nothing_but_documents_has_no_traces_to_miss():
    client = Account("client", requests=40, untraced=40, traces=frozenset())
    langfuse = Account("langfuse", requests=0, traces=frozenset())

    assert found(client, langfuse) == {
        ("client", "langfuse", "requests"): (
            AGREE, "both count 0, without the 40 that leave no trace",
        ),
    }  # fmt: skip
