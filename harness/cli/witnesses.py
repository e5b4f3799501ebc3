"""The command that a load runs after itself: ask Langfuse, keep what it says."""

from __future__ import annotations

import os
from argparse import Namespace

from harness import provenance
from harness.evidence.collect import collect as collect_observations
from harness.runs import open_run


def collect(options: Namespace) -> int:
    """Read the traces of a run from Langfuse."""
    directory = open_run(options.run)
    known = provenance.stack_of(directory.read_run().target)
    collect_observations(directory, {**os.environ, **known.environment})
    return 0
