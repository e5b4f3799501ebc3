"""Borrow tasks from a folder, once for each of the weights that follow; prints what came of it."""

import json
import sys
from pathlib import Path
from typing import Any

from harness.load import tasks_of


def borrowed(weights: str) -> Any:
    """What the tasks say, or why there are none."""
    try:
        return [task("the borrower") for task in tasks_of(Path(sys.argv[1]), json.loads(weights))]
    except ValueError as error:
        return str(error)


print(json.dumps({weights: borrowed(weights) for weights in sys.argv[2:]}))
