"""Faults that can be built into the embedded stack, to see the harness catch them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the stack, and how it is made so; `loses` is a part that dies early."""

    says: str
    llm: Mapping[str, str] = field(default_factory=dict)
    langfuse: Mapping[str, str] = field(default_factory=dict)
    target: Mapping[str, str] = field(default_factory=dict)
    clock_rate: float = 1.0
    queue_seconds: float = 0.0
    loses: str = ""


NO_FAULT = Fault("nothing is wrong")

FAULTS: Mapping[str, Fault] = {
    "slow-llm": Fault("three in ten LLM calls take 6 s longer", llm={"SIMLLM_FAULT": "slow:0.3"}),
    "no-cache": Fault(
        "the cache can hold nothing", target={"CACHE_SIZE_LIMIT": "0", "CACHE_MEMORY_LIMIT": "0"}
    ),
    "langfuse-down": Fault("Langfuse is stopped before the load", loses="langfuse"),
    "drop-spans": Fault(
        "Langfuse loses every tenth span", langfuse={"LANGFUSE_STANDIN_DROP_EVERY": "10"}
    ),
    "metrics-lie": Fault("the server's clock runs 20 % fast", clock_rate=1.2),
    "hidden-queue": Fault("requests wait 300 ms before the server's clock", queue_seconds=0.3),
}
