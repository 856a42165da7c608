"""What wakes a worker when something is due: by `HUB_DOORBELL`, a poll or PostgreSQL's LISTEN/NOTIFY.

The doorbell carries nothing: the rows hold the truth, and the poll finds whatever a lost ring was about. So ringing
never fails, never blocks a request, and rings once for many.
"""

import os
import threading
from collections.abc import Callable
from typing import Protocol

import psycopg
import structlog
from django.conf import settings
from django.db import connection, transaction

log = structlog.get_logger("hub.doorbell")

POLL, NOTIFY = "poll", "notify"
CHANNEL = "hub_due"
RING_EVERY_S = 0.01
"""Rings of one process are this far apart: a NOTIFY takes a lock of the whole server at its commit."""
LISTEN_AGAIN_S = 1.0
LISTEN_FOR_S = 1.0


class Doorbell(Protocol):
    """Tells workers, anywhere, that something is due."""

    def ring(self) -> None:
        """Tell them, once what this transaction stores is committed. Never raises, never waits."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` from a thread whenever it rings, until the function that comes back is called."""


class Silent:
    """No bell: workers look by themselves, every HUB_POLL_INTERVAL."""

    def ring(self) -> None:
        """Nothing."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Nothing comes."""
        return lambda: None


class PostgresBell:
    """LISTEN/NOTIFY, on connections of its own: one thread a process rings, one listens."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._lock = threading.Lock()
        self._ringer_of: int | None = None
        self._ringer: threading.Thread | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """End the thread that rings, and its connection."""
        self._closed.set()
        self._rung.set()
        if self._ringer is not None:
            self._ringer.join(LISTEN_FOR_S * 2)

    def ring(self) -> None:
        """After the commit, by a thread of its own that gathers what comes within RING_EVERY_S."""
        transaction.on_commit(self._ring_soon, robust=True)

    def _ring_soon(self) -> None:
        self._rung.set()
        if self._ringer_of == os.getpid():
            return
        with self._lock:  # a forked child inherits no threads
            if self._ringer_of != os.getpid():
                self._ringer_of = os.getpid()
                self._ringer = threading.Thread(target=self._ringing, name="doorbell", daemon=True)
                self._ringer.start()

    def _ringing(self) -> None:
        while not self._closed.is_set():
            try:
                with _connect() as bell:
                    self._ring_on(bell)
            except psycopg.Error as error:
                # The workers' poll finds what is due meanwhile.
                log.warning("doorbell does not ring", error=type(error).__name__)
                self._closed.wait(LISTEN_AGAIN_S)

    def _ring_on(self, bell: "psycopg.Connection[tuple[object, ...]]") -> None:
        while not self._closed.is_set():
            self._rung.wait()
            self._rung.clear()
            bell.execute(f"NOTIFY {CHANNEL}")
            self._closed.wait(RING_EVERY_S)

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Listens until told to stop; a lost connection is made again, and counts as a ring."""
        stopped = threading.Event()

        def listening() -> None:
            while not stopped.is_set():
                try:
                    with _connect() as bell:
                        bell.execute(f"LISTEN {CHANNEL}")
                        wake()
                        while not stopped.is_set():
                            for _ in bell.notifies(timeout=LISTEN_FOR_S, stop_after=1):
                                wake()
                except psycopg.Error as error:
                    log.warning("doorbell is not heard", error=type(error).__name__)
                    stopped.wait(LISTEN_AGAIN_S)

        thread = threading.Thread(target=listening, name="doorbell", daemon=True)
        thread.start()

        def stop() -> None:
            stopped.set()
            thread.join(LISTEN_FOR_S * 2)

        return stop


def _connect() -> "psycopg.Connection[tuple[object, ...]]":
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters}
    return psycopg.connect(**wanted, autocommit=True, connect_timeout=5)


_BELLS: dict[str, Doorbell] = {POLL: Silent(), NOTIFY: PostgresBell()}


def doorbell() -> Doorbell:
    """The one that HUB_DOORBELL names."""
    return _BELLS[settings.HUB_DOORBELL]
