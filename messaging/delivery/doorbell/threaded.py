"""What bells with a connection of their own have in common: one thread a process rings, one listens."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import structlog
from django.db import transaction

log = structlog.get_logger("hub.doorbell")

AGAIN_AFTER_S = 1.0
"""How long after a lost connection the next one is tried."""
LISTEN_FOR_S = 1.0


class ThreadedBell(ABC):
    """Rings and is heard on connections of its own, which are made again when they are lost. A connection that was made
    again rings, for what nobody could hear meanwhile."""

    ring_every_s: ClassVar[float]
    """Rings of one process are so far apart; what comes between is told with the next."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._lock = threading.Lock()
        self._ringer_of: int | None = None
        self._ringer: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    @abstractmethod
    def _lost(self) -> tuple[type[Exception], ...]:
        """What its connections raise when they are lost or cannot be made."""

    @abstractmethod
    def _ringing(self) -> AbstractContextManager[Callable[[], object]]:
        """A connection, as the function that rings once on it."""

    @abstractmethod
    def _hearing(self) -> AbstractContextManager[Callable[[], bool]]:
        """A connection that listens, as a function: whether it rang, after LISTEN_FOR_S at most."""

    def close(self) -> None:
        """End the thread that rings, and its connection."""
        self._closed.set()
        self._rung.set()
        if self._ringer is not None:
            self._ringer.join(LISTEN_FOR_S * 2)

    def ring(self) -> None:
        """After the commit, by a thread of its own that gathers what comes within `ring_every_s`."""
        transaction.on_commit(self._ring_soon, robust=True)

    def _ring_soon(self) -> None:
        self._rung.set()
        if self._ringer_of == os.getpid():
            return
        with self._lock:  # a forked child inherits no threads
            if self._ringer_of != os.getpid():
                self._ringer_of = os.getpid()
                self._ringer = threading.Thread(target=self._ring_until_closed, name="doorbell", daemon=True)
                self._ringer.start()

    def _ring_until_closed(self) -> None:
        while not self._closed.is_set():
            try:
                with self._ringing() as ring_once:
                    while not self._closed.is_set():
                        self._rung.wait()
                        self._rung.clear()
                        ring_once()
                        self._closed.wait(self.ring_every_s)
            except self._lost as error:
                # The workers' poll finds what is due meanwhile.
                log.warning("doorbell does not ring", error=type(error).__name__)
                self._rung.set()
                self._closed.wait(AGAIN_AFTER_S)

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Listens until told to stop; a lost connection is made again, and counts as a ring."""
        stopped = threading.Event()

        def listening() -> None:
            while not stopped.is_set():
                try:
                    with self._hearing() as rang:
                        wake()
                        while not stopped.is_set():
                            if rang():
                                wake()
                except self._lost as error:
                    log.warning("doorbell is not heard", error=type(error).__name__)
                    stopped.wait(AGAIN_AFTER_S)

        thread = threading.Thread(target=listening, name="doorbell", daemon=True)
        thread.start()

        def stop() -> None:
            stopped.set()
            thread.join(LISTEN_FOR_S * 2)

        return stop
