"""The metrics of an app as Prometheus sees them, one number a series."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Series = dict[str, float]
"""By name and labels, such as `llm_calls_total status=error`; labels in alphabetical order."""


async def exposition(client: httpx.AsyncClient) -> Series:
    """Read every series but the buckets of histograms and the times of their creation."""
    text = (await client.get("/metrics")).text
    return {
        " ".join(
            (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items())))
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }
