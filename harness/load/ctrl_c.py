"""
Ctrl-C, told to Locust's main greenlet alone.

Python raises KeyboardInterrupt in whatever greenlet happens to run. In one that
answers the web UI it is printed as a fault of that greenlet before Locust hears of it.
"""

from __future__ import annotations

import signal

import gevent


def tell_main_greenlet() -> None:
    """Have SIGINT end Locust as it would, without a traceback; an ignored one stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: object) -> None:
    hub = gevent.get_hub()
    main = hub.parent
    if main is None or gevent.getcurrent() is main:
        raise KeyboardInterrupt
    hub.loop.run_callback(main.throw, KeyboardInterrupt)
