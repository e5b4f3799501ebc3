"""The commands that a load runs beside itself: ask one witness, keep what it says."""

from __future__ import annotations

import os
from argparse import Namespace

from harness import provenance
from harness.evidence.collect import collect as collect_observations
from harness.evidence.scrape import metrics_url
from harness.evidence.scrape import scrape as scrape_metrics
from harness.runs import RunDirectory, open_run

_SILENT = 3


def scrape(options: Namespace) -> int:
    """Keep one scrape of the target's metrics in a run."""
    snapshot = scrape_metrics(metrics_url(options.target), options.target)
    RunDirectory(options.run).write_snapshot(options.window, options.which, snapshot)
    return 0 if snapshot.text is not None else _SILENT


def collect(options: Namespace) -> int:
    """Read the traces of a run from Langfuse."""
    directory = open_run(options.run)
    known = provenance.stack_of(directory.read_run().target)
    collect_observations(directory, {**os.environ, **known.environment})
    return 0
