"""The doorbell on PostgreSQL's LISTEN/NOTIFY."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection

from messaging.delivery.doorbell.threaded import LISTEN_FOR_S, ThreadedBell

CHANNEL = "hub_due"


class PostgresBell(ThreadedBell):
    """LISTEN/NOTIFY, on connections that no pooler between may share."""

    ring_every_s = 0.01  # a NOTIFY takes a lock of the whole server at its commit
    _lost = (psycopg.Error,)

    @contextmanager
    def _ringing(self) -> Iterator[Callable[[], object]]:
        with _connect() as bell:
            yield lambda: bell.execute(f"NOTIFY {CHANNEL}")

    @contextmanager
    def _hearing(self) -> Iterator[Callable[[], bool]]:
        with _connect() as bell:
            bell.execute(f"LISTEN {CHANNEL}")
            yield lambda: any(True for _ in bell.notifies(timeout=LISTEN_FOR_S, stop_after=1))


def _connect() -> "psycopg.Connection[tuple[object, ...]]":
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters}
    return psycopg.connect(**wanted, autocommit=True, connect_timeout=5)
