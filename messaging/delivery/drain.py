"""Doing what is due and coming to an end: `manage.py deliver --once`, and the task that Celery's workers run."""

import time

from messaging.delivery.doorbell import doorbell
from messaging.delivery.worker import work_once


def drain(*, for_s: float | None = None, at_once: int = 50) -> int:
    """Do, in this thread, what is due until nothing is; how many rows that were.

    With `for_s` no round is begun after so many seconds. While there is more than one round of work, and where it ends
    before the work does, it rings, so that others join in or go on.
    """
    ends = None if for_s is None else time.monotonic() + for_s
    total = 0
    while done := work_once(at_once):
        total += done
        over = ends is not None and time.monotonic() >= ends
        if over or done >= at_once:
            doorbell().ring()
        if over:
            break
    return total
