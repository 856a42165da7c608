"""The worker: takes what is due and does it, many at a time; any number of workers on any number of machines."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from django.conf import settings
from django.db import Error, close_old_connections, connections

from messaging.delivery import claiming, dispatch, outbox
from messaging.delivery.dispatch import Departure
from messaging.delivery.doorbell import doorbell
from messaging.delivery.duties import OTHERS, DutyKind, housekeeping
from messaging.delivery.sending import Sending
from messaging.models import Message

log = structlog.get_logger("hub.worker")

SWEEP_EVERY_S = 5.0
HOUSEKEEPING_EVERY_S = 3600.0
REPORT_EVERY_S = 60.0


def work_once(limit: int = 50) -> int:
    """Do, in this thread, what is due at this moment, up to `limit` of each kind; how many rows that were."""
    outbox.sweep()
    done = 0
    for message in claiming.claim_due(limit=limit, lease=settings.HUB_LEASE):
        do_one(DELIVERY, message)
        done += 1
    for kind in OTHERS:
        for row in kind.take(limit):
            do_one(kind, row)
            done += 1
    return done


def do_one(kind: DutyKind, row: Any) -> str:
    """Do one duty; a word on how it ended. Whatever goes wrong is logged, and the row comes back by itself: the
    outermost net, so that one bad row stops no other."""
    try:
        return str(kind.do(row) or "done")
    except Exception:
        log.exception("duty failed", duty=kind.name, row=str(row.pk))
        if not connections["default"].in_atomic_block:
            connections.close_all()
        if kind.failed is not None:
            with contextlib.suppress(Error):
                kind.failed(row)
        return "failed"


DELIVERY = DutyKind("message", lambda limit: (), dispatch.deliver)
"""A claimed message, all the way in the thread that has it."""


class Worker:
    """One worker process: `run` until `stop`.

    `concurrency`: how many messages are at providers at once; memory is bounded by it, whatever the backlog.
    """

    def __init__(self, *, concurrency: int) -> None:
        self.concurrency = concurrency
        self.counts: Counter[str] = Counter()
        self._stopping = False
        self._wake = threading.Event()
        self._running: dict[Future[None], tuple[DutyKind, Any]] = {}
        self._lock = threading.Lock()
        self._next: dict[Callable[[], object], float] = {}

    def stop(self) -> None:
        """Take nothing new; `run` returns when what is in flight is done.

        Safe in a signal handler, which must not touch the event: the thread it interrupts may hold its lock.
        """
        self._stopping = True

    def run(self) -> None:
        """Work until stopped. Errors of the database are waited out, others are logged: nothing ends the loop."""
        log.info("worker started", concurrency=self.concurrency)
        sending = Sending(concurrency=self.concurrency, done=self._wake.set, count=self._sent)
        sending.start()
        stop_listening = doorbell().listen(self._wake.set)
        with ThreadPoolExecutor(sum(kind.at_once for kind in (DELIVERY, *OTHERS)), thread_name_prefix="duty") as pool:
            while not self._stopping:
                self._wake.clear()
                try:
                    took = self._take_turns(pool, sending)
                except Error:
                    log.exception("database trouble")
                    connections.close_all()
                    took = 0
                except Exception:
                    # What was claimed until then comes back with its lease.
                    log.exception("turn failed")
                    took = 0
                if not took:
                    self._rest()
            self._give_back_unstarted()
        sending.stop(within_s=settings.HUB_LEASE.total_seconds())
        stop_listening()
        self._report()
        connections.close_all()
        log.info("worker stopped")

    def _rest(self) -> None:
        """Until a call or a duty ends, the doorbell, the next poll, or the stop, looked for at least every second."""
        until = time.monotonic() + settings.HUB_POLL_INTERVAL.total_seconds()
        while not self._stopping and (left := until - time.monotonic()) > 0:
            if self._wake.wait(min(left, 1.0)):
                return

    def _take_turns(self, pool: ThreadPoolExecutor, sending: Sending) -> int:
        close_old_connections()
        self._every(SWEEP_EVERY_S, self._sweep)
        self._every(HOUSEKEEPING_EVERY_S, housekeeping)
        self._every(REPORT_EVERY_S, self._report)
        took = 0
        deciding = DutyKind("decision", lambda limit: (), sending.decide)
        if self._held("decision") < self.concurrency:
            took = sending.take(lambda message: self._start(pool, deciding, message))
        for kind in OTHERS:
            free = kind.at_once - self._held(kind.name)
            for row in kind.take(free) if free > 0 else ():
                self._start(pool, kind, row)
                took += 1
        return took

    def _held(self, name: str) -> int:
        with self._lock:
            return sum(running.name == name for running, _ in self._running.values())

    def _start(self, pool: ThreadPoolExecutor, kind: DutyKind, row: Any) -> None:
        with self._lock:
            future = pool.submit(self._do, kind, row)
            self._running[future] = (kind, row)
        future.add_done_callback(self._forget)

    def _forget(self, future: "Future[None]") -> None:
        with self._lock:
            self._running.pop(future, None)
        self._wake.set()

    def _do(self, kind: DutyKind, row: Any) -> None:
        """One duty in a thread of the pool; whatever goes wrong, the row's lease brings it back."""
        started = time.monotonic()
        close_old_connections()
        outcome = do_one(kind, row)
        ms = round((time.monotonic() - started) * 1000)
        self.counts[f"{kind.name} {outcome}"] += 1
        log.info("duty done", duty=kind.name, row=str(row.pk), outcome=outcome, ms=ms)

    def _sent(self, word: str, departure: Departure) -> None:
        self.counts[f"message {word}"] += 1
        log.info("duty done", duty="message", row=str(departure.message.pk), outcome=word)

    def _give_back_unstarted(self) -> None:
        """On the way out: what was taken and not begun goes back at once instead of waiting for its lease."""
        with self._lock:
            running = list(self._running.items())
        for future, (_, row) in running:
            if future.cancel() and isinstance(row, Message):
                outbox.give_back(row)
                self.counts["message given back"] += 1

    def _sweep(self) -> None:
        found = {what: count for what, count in outbox.sweep().items() if count}
        if found:
            log.warning("swept", **found)

    def _report(self) -> None:
        if self.counts:
            log.info("worker did", **{what.replace(" ", "_"): count for what, count in sorted(self.counts.items())})

    def _every(self, seconds: float, do: Callable[[], object]) -> None:
        now = time.monotonic()
        if now >= self._next.get(do, 0.0):
            self._next[do] = now + seconds
            do()
