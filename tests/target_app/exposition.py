"""The metrics of an app as Prometheus sees them, one number a series."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Series = dict[str, float]
"""By name and labels, such as `llm_calls_total status=error`; labels in alphabetical order."""


def series_name(sample: Sample) -> str:
    """Write name and labels of a sample as one text."""
    labels = (f"{key}={value}" for key, value in sorted(sample.labels.items()))
    return " ".join((sample.name, *labels))


async def exposition(client: httpx.AsyncClient) -> Series:
    """Read every series but the buckets of histograms and the times of their creation."""
    text = (await client.get("/metrics")).text
    return {
        series_name(sample): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }
