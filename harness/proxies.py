"""A proxy of the user's has no part in what is measured on this machine."""

from __future__ import annotations

import os

_HERE = ("127.0.0.1", "localhost")


def reach_this_machine_directly() -> None:
    """Keep proxies out of what is sent to this machine; processes started later inherit it."""
    for name in ("NO_PROXY", "no_proxy"):
        before = os.environ.get(name, "").split(",")
        missing = [host for host in _HERE if host not in before]
        os.environ[name] = ",".join(filter(None, [*before, *missing]))
