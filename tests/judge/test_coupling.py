"""
The coupling on simulated traffic of known truth: no false alarm, and every fault found.

Server times are drawn from a log-normal law, or from a bimodal one (cache hits
and misses); a request then spends 2 ms on average between client and server,
and 3 in 1000 are held up for 30 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator

from harness.distribution import Distribution
from harness.judge.reconcile import reconcile
from harness.model import Account, Buckets, Finding

Times = np.ndarray[tuple[int], np.dtype[np.float64]]
Fault = Callable[[Generator, Times, Times], tuple[Times, Times]]

LAYOUTS = {
    "the target's": (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30),
    "the client library's": (
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ),
    "a fine ladder": tuple(0.01 * 2 ** (i / 2) for i in range(24)),
}  # fmt: skip


def lognormal(random: Generator, n: int) -> Times:
    return random.lognormal(math.log(1.0), 0.6, n)


def bimodal(random: Generator, n: int) -> Times:
    hit = random.random(n) < 0.7
    return np.where(
        hit, random.lognormal(math.log(0.2), 0.3, n), random.lognormal(math.log(2.5), 0.4, n)
    )


LAWS = {"log-normal": lognormal, "bimodal": bimodal}


def traffic(random: Generator, law: str, n: int) -> tuple[Times, Times]:
    """Draw the times of the same requests: as the server and as the client saw them."""
    server = LAWS[law](random, n)
    held_up = 0.03 * (random.random(n) < 0.003)
    return server, server + random.gamma(2.0, 0.001, n) + held_up


def findings(client: Times, server: Times, layout: str) -> dict[str, Finding]:
    """Reconcile what the two of them recorded."""
    bounds = (*LAYOUTS[layout], math.inf)
    cumulative = tuple(int(np.count_nonzero(server <= b)) for b in bounds)
    accounts = [
        Account("client", requests=len(client), client_durations=Distribution(client.tolist())),
        Account(
            "metrics",
            requests=len(server),
            server_durations=Buckets(bounds, cumulative, float(server.sum())),
        ),
    ]
    agreements = reconcile("w", accounts, overhead=0.05, overhead_limit=0.1, stragglers=0.02)
    return {a.about: a.finding for a in agreements}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("n", "repeats"), [(300, 5), (3000, 2)])
def test_no_false_alarm(law: str, layout: str, n: int, repeats: int):
    random = np.random.default_rng(20260921)

    for _ in range(repeats):
        server, client = traffic(random, law, n)
        assert findings(client, server, layout) == {
            "requests": Finding.AGREE,
            "request time": Finding.AGREE,
        }


def on_share(random: Generator, n: int, share: float) -> np.ndarray[tuple[int], np.dtype[np.bool]]:
    """Pick exactly this share of the requests."""
    return np.isin(np.arange(n), random.permutation(n)[: round(share * n)])


def slower(_: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server * 1.02, client


def quicker(_: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server * 0.95, client


def first_byte(random: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return np.where(on_share(random, len(server), 0.2), server * 0.3, server), client


def lost_worker(random: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server[~on_share(random, len(server), 0.1)], client


def three_lost(_: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server[3:], client


def reset_halfway(_: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server[len(server) // 2 :], client


def foreign(random: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return np.append(server, random.choice(server, len(server) // 50)), client


def foreign_and_lost(_: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    n = len(server) // 10
    return np.append(server[n:], np.full(n, 0.004)), client


def queue(random: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server, client + 0.5 * on_share(random, len(client), 0.05)


def background_task(random: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    return server + 0.5 * on_share(random, len(server), 0.05), client


def retried(random: Generator, server: Times, client: Times) -> tuple[Times, Times]:
    """Each retry is a request that the server counts and the client does not."""
    again = on_share(random, len(server), 0.03)
    return np.append(server, server[again]), np.where(again, 2 * client, client)


CONTRADICTION, UNACCOUNTED = Finding.CONTRADICTION, Finding.UNACCOUNTED_TIME
COUNTS = {"requests": CONTRADICTION, "request time": Finding.NOT_COMPARABLE}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [300, 3000])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(slower, {"request time": CONTRADICTION}, id="the server records 2 % more"),
        pytest.param(
            quicker, {"request time": UNACCOUNTED}, id="the server records 5 % less"
        ),
        pytest.param(
            first_byte, {"request time": UNACCOUNTED}, id="first byte instead of all on 20 %"
        ),
        pytest.param(lost_worker, COUNTS, id="a worker's metrics are lost"),
        pytest.param(three_lost, COUNTS, id="3 observations are lost"),
        pytest.param(reset_halfway, COUNTS, id="a reset halfway"),
        pytest.param(foreign, COUNTS, id="2 % foreign traffic"),
        pytest.param(
            foreign_and_lost, {"request time": UNACCOUNTED},
            id="a tenth lost and as much foreign traffic",
        ),
        pytest.param(queue, {"request time": UNACCOUNTED}, id="5 % wait 500 ms in a queue"),
        pytest.param(
            background_task, {"request time": CONTRADICTION},
            id="a background task counted on 5 %",
        ),
        pytest.param(retried, COUNTS, id="3 % are retried"),
    ],
)  # fmt: skip
def test_every_fault_is_found(law: str, n: int, fault: Fault, expected: dict[str, Finding]):
    random = np.random.default_rng(20260921)

    for _ in range(2):
        server, client = fault(random, *traffic(random, law, n))
        assert findings(client, server, "a fine ladder") == {
            "requests": Finding.AGREE,
            **expected,
        }
