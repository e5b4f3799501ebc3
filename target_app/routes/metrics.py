"""The route that Prometheus scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder

from target_app.observability.metrics import Metrics


def metrics_router(path: str, metrics: Metrics) -> APIRouter:
    """
    Make the route that Prometheus scrapes, in the format it asks for.

    Not a coroutine, so it runs in a worker thread: writing thousands of lines would hold up
    every chat otherwise.
    """
    scraped = APIRouter()

    @scraped.get(path, include_in_schema=False)
    def read_metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        metrics.refresh()
        return Response(encode(metrics.exposed), headers={"content-type": content_type})

    return scraped
