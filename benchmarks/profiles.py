"""The app in each of its profiles, as a process that tells a sink of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import otlp_sink
from instant_llm import PLANS
from servers import Server, serving, wait_until_ready

LANGFUSE_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-unused", "LANGFUSE_SECRET_KEY": "sk-lf-unused"}

OFF = "off"
METRICS = "metrics"
EXPORT_MILLISECONDS = "1000"
"""As often as spans go to Langfuse, so that those of a block have gone when its rest ends."""

PROFILES = (METRICS, "minimal", "ai", "hybrid")
"""What is compared with the profile off. `metrics` is the profile ai without Langfuse."""

TARGET = "target_app.main:create_app"
SCRAPE_HEADERS = {
    "accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "accept-encoding": "gzip",
}
"""How a Prometheus server asks."""


@dataclass(frozen=True, slots=True)
class ObservedApp:
    """An app that is up, and where its traces and log lines end."""

    server: Server
    sink: Server
    log: Path
    kept: Path

    def log_bytes(self) -> int:
        """Size of the log so far."""
        return self.log.stat().st_size

    def sent(self) -> otlp_sink.Counts:
        """Ask the sink what it got so far."""
        return counts_of(self.sink)


def counts_of(sink: Server) -> otlp_sink.Counts:
    """Ask a sink what it got so far."""
    return otlp_sink.Counts(**httpx.get(sink.url("/counts"), trust_env=False).json())


def scrape(server: Server) -> str:
    """Read the metrics of an app as Prometheus does. Raises httpx.HTTPStatusError."""
    answer = httpx.get(server.url("/metrics"), headers=SCRAPE_HEADERS, timeout=30, trust_env=False)
    return answer.raise_for_status().text


def profile_settings(profile: str, sink: Server) -> Mapping[str, str]:
    """Write the environment variables that turn a profile on."""
    if profile == METRICS:
        return {"OBSERVABILITY_PROFILE": "ai", "LANGFUSE_ENABLED": "false"}
    more = {
        "ai": {"LANGFUSE_ENABLED": "true", "LANGFUSE_HOST": sink.url(""), **LANGFUSE_KEYS},
        "hybrid": {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url(""),
            "OTEL_BSP_SCHEDULE_DELAY": EXPORT_MILLISECONDS,
        },
    }
    return {"OBSERVABILITY_PROFILE": profile, **more.get(profile, {})}


@contextmanager
def observed_apps(
    profiles: tuple[str, ...], llm: Server, documents: Path, folder: Path
) -> Iterator[dict[str, ObservedApp]]:
    """Serve the app in these profiles until the block ends, all ready and with warm caches."""
    apps = {}
    with ExitStack() as stack:
        for profile in profiles:
            kept = folder / f"{profile}.spans"
            sink = stack.enter_context(
                serving(
                    f"{profile}_sink",
                    "otlp_sink:create_app",
                    {otlp_sink.KEPT: str(kept)},
                    folder,
                )
            )
            settings = {
                **app_settings(llm, documents, folder / f"{profile}_cache"),
                **profile_settings(profile, sink),
            }
            server = stack.enter_context(serving(profile, TARGET, settings, folder))
            apps[profile] = ObservedApp(server, sink, folder / f"{profile}.log", kept)
        for app in apps.values():
            wait_until_ready(app.server, folder)
            wait_until_ready(app.sink, folder)
        yield apps


def app_settings(llm: Server, documents: Path, cache: Path) -> dict[str, str]:
    """Write the environment variables that every app of a benchmark has."""
    return {
        "OPENAI_API_KEY": "unused",
        "OPENAI_BASE_URL": llm.url("/v1"),
        # A model with a price, so that costs are counted.
        "OPENAI_MODEL": "gpt-4o-mini",
        "DATA_ROOT_PATH": str(documents),
        "CACHE_DIRECTORY": str(cache),
    }


def check_plan(server: Server, plan: str, question: bytes) -> None:
    """
    See that every tool call of a plan succeeds, and so is what is meant to be measured.

    Raises RuntimeError when one does not.
    """
    answer = httpx.post(
        server.url("/api/chat"),
        content=question,
        headers={"content-type": "application/json"},
        timeout=60,
        trust_env=False,
    ).json()
    wanted = [name for turn in PLANS[plan] for name, _ in turn]
    done = [
        result["tool_name"]
        for result in answer.get("tool_results", ())
        if result["result"]["success"]
    ]
    if done != wanted or not answer.get("response"):
        raise RuntimeError(f"the app did not follow the plan {plan!r}: {answer}")
