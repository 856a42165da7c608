"""The sender of webhooks: a timer, a few workers, repeats after failures, and a log of every try."""

from __future__ import annotations

import heapq
import http.client
import itertools
import logging
import queue
import re
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

logger = logging.getLogger(__name__)

LOG_LENGTH = 300
ANSWER_LIMIT = 64 * 1024
_LONG_SEGMENT = re.compile(r"[^/]{13,}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook to post. Deliveries of one `lane` leave in their order; `secret` None sends no sb-* header."""

    lane: str
    kind: str
    url: str
    secret: str | None
    body: bytes
    summary: str
    account_id: int
    attempt: int = 1


class WebhookSender:
    """Posts webhooks in the background; up to `len(retry_waits_s)` repeats on a 5xx answer or a failed connection.

    `on_log` is called after each try and answers a number that orders the log. Threads start with `start` and end with
    `stop`; what is waiting then is dropped.
    """

    def __init__(
        self, *, retry_waits_s: Sequence[float], timeout_s: float, on_log: Callable[[], int], workers: int = 6
    ) -> None:
        self._retry_waits_s = tuple(retry_waits_s)
        self._timeout_s = timeout_s
        self._on_log = on_log
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_LENGTH)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._idle = threading.Condition()
        self._pending: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._queues: list[queue.SimpleQueue[Delivery | None]] = [queue.SimpleQueue() for _ in range(workers)]
        self._threads = [threading.Thread(target=self._keep_time, name="sandbox-timer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._work, args=(waiting,), name=f"sandbox-webhooks-{index}", daemon=True)
            for index, waiting in enumerate(self._queues)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all threads, waiting a moment for a post that is under way."""
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads:
            thread.join(timeout=2)

    def schedule(self, delay_s: float, job: Callable[[], None], *, lane: str | None = None) -> None:
        """Run `job` on the timer's thread after a delay; with a lane it counts as pending until it has run."""
        if lane is None:
            self._push(delay_s, job)
            return
        self._begin(lane)

        def counted() -> None:
            try:
                job()
            finally:
                self._end(lane)

        self._push(delay_s, counted)

    def post(self, delivery: Delivery) -> None:
        """Queue one webhook; returns at once."""
        self._begin(delivery.lane)
        self._queue_of(delivery.lane).put(delivery)

    def drain(self, timeout_s: float, *, lane: str | None = None) -> bool:
        """Wait until nothing is pending, in one lane or in all; False when the time is over first."""
        with self._idle:
            return self._idle.wait_for(
                lambda: not (self._pending[lane] if lane is not None else self._pending), timeout_s
            )

    def is_pending(self, lane: str) -> bool:
        """Whether anything of this lane is scheduled, queued or under way."""
        with self._idle:
            return lane in self._pending

    def pending(self) -> int:
        """How many statuses, webhooks and repeats are still to come."""
        with self._idle:
            return self._pending.total()

    def log(self, *, since: int = 0) -> list[dict[str, Any]]:
        """The tries newer than `since`, oldest first; addresses are shortened, secrets are not in it."""
        return [entry for entry in list(self._log) if entry["version"] > since]

    def _begin(self, lane: str) -> None:
        with self._idle:
            self._pending[lane] += 1

    def _end(self, lane: str) -> None:
        with self._idle:
            self._pending[lane] -= 1
            if not self._pending[lane]:
                del self._pending[lane]
                self._idle.notify_all()

    def _push(self, delay_s: float, job: Callable[[], None]) -> None:
        with self._wake:
            heapq.heappush(self._heap, (time.monotonic() + delay_s, next(self._order), job))
            if self._heap[0][2] is job:
                self._wake.notify()

    def _queue_of(self, lane: str) -> queue.SimpleQueue[Delivery | None]:
        return self._queues[hash(lane) % len(self._queues)]

    def _keep_time(self) -> None:
        while True:
            with self._wake:
                while not self._stopping.is_set() and (not self._heap or self._heap[0][0] > time.monotonic()):
                    self._wake.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                if self._stopping.is_set():
                    return
                job = heapq.heappop(self._heap)[2]
            try:
                job()
            except Exception:
                if self._stopping.is_set():
                    return
                logger.exception("a timed job of the sandbox failed")

    def _work(self, waiting: queue.SimpleQueue[Delivery | None]) -> None:
        connections: dict[tuple[str, str], http.client.HTTPConnection] = {}
        while (delivery := waiting.get()) is not None and not self._stopping.is_set():
            started = time.monotonic()
            status, error = self._try(connections, delivery)
            again = status is None or status >= 500
            left = delivery.attempt <= len(self._retry_waits_s)
            self._note(delivery, status, error, time.monotonic() - started, again=again and left)
            if again and left and not self._stopping.is_set():
                wait_s = self._retry_waits_s[delivery.attempt - 1]
                later = replace(delivery, attempt=delivery.attempt + 1)
                self._push(wait_s, lambda later=later: self._queue_of(later.lane).put(later))  # type: ignore[misc]
            else:
                self._end(delivery.lane)
        for connection in connections.values():
            connection.close()

    def _try(
        self, connections: dict[tuple[str, str], http.client.HTTPConnection], delivery: Delivery
    ) -> tuple[int | None, str]:
        """Post once: the status of the answer, or None and what went wrong."""
        parts = urlsplit(delivery.url)
        place = (parts.scheme, parts.netloc)
        connection = connections.pop(place, None)
        if connection is not None and _is_dropped(connection):
            connection.close()
            connection = None
        connection = connection or _connect(parts, self._timeout_s)
        headers = {"content-type": "application/json", "user-agent": "sandbox-webhooks"}
        if delivery.secret is not None:
            headers["sb-signing-secret"] = delivery.secret
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", target, delivery.body, headers)
            answer = connection.getresponse()
            answer.read(ANSWER_LIMIT)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            return None, type(error).__name__
        if answer.isclosed() and not answer.will_close:
            connections[place] = connection
        else:
            connection.close()
        return answer.status, ""

    def _note(self, delivery: Delivery, status: int | None, error: str, seconds: float, *, again: bool) -> None:
        self._log.append(
            {
                "version": self._on_log(),
                "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "account_id": delivery.account_id,
                "type": delivery.kind,
                "summary": delivery.summary,
                "url": shorten_url(delivery.url),
                "signed": delivery.secret is not None,
                "attempt": delivery.attempt,
                "status": status,
                "error": error,
                "again": again,
                "ms": round(seconds * 1000),
                "body": delivery.body.decode(),
            }
        )


def shorten_url(url: str) -> str:
    """The address without what might be a key: long path segments are cut, the query is left out."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{_LONG_SEGMENT.sub(lambda match: match.group()[:4] + '…', parts.path)}"


def _connect(parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_s)


def _is_dropped(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has closed the idle connection."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
