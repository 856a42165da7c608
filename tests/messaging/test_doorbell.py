"""The doorbell on PostgreSQL: rung by a commit, once for many, heard again after its connection was lost."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from imessage_hub import checks
from messaging.delivery.doorbell import CHANNEL, NOTIFY, POLL, PostgresBell, postgres
from tests.conftest import wait_until


class Ears:
    """Counts the rings."""

    def __init__(self) -> None:
        self.heard = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.heard += 1


@pytest.fixture
def bell(transactional_db: None) -> Iterator[PostgresBell]:
    """A bell that is taken down at the end."""
    bell = PostgresBell()
    yield bell
    bell.close()


@pytest.fixture
def ears(bell: PostgresBell) -> Iterator[Ears]:
    """Somebody who listens; the first ring, of the listening itself, is over."""
    ears = Ears()
    stop = bell.listen(ears)
    wait_until(lambda: ears.heard == 1)
    yield ears
    stop()


@pytest.mark.postgres
def test_it_rings_when_the_transaction_is_committed(bell: PostgresBell, ears: Ears) -> None:
    with transaction.atomic():
        bell.ring()
        assert ears.heard == 1
    wait_until(lambda: ears.heard == 2)
    with transaction.atomic():
        bell.ring()
        transaction.set_rollback(True)
    bell.ring()
    wait_until(lambda: ears.heard == 3)


@pytest.mark.postgres
def test_many_rings_are_few_notices_and_the_last_is_heard(bell: PostgresBell, ears: Ears) -> None:
    for _ in range(1000):
        bell.ring()
    before = ears.heard
    wait_until(lambda: ears.heard > 1)
    bell.ring()
    wait_until(lambda: ears.heard > before)
    assert ears.heard < 200


@pytest.mark.postgres
def test_lost_connections_are_made_again(bell: PostgresBell, ears: Ears) -> None:
    bell.ring()
    wait_until(lambda: ears.heard == 2)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query IN (%s, %s)",
            [f"NOTIFY {CHANNEL}", f"LISTEN {CHANNEL}"],
        )
        assert cursor.fetchone() == (2,)
    wait_until(lambda: ears.heard == 3)  # it listens again
    bell.ring()  # fails, and is found by the poll

    def heard_after_another_ring() -> bool:
        bell.ring()
        return ears.heard >= 4

    wait_until(heard_after_another_ring)


@pytest.mark.postgres
def test_nobody_is_kept_waiting_by_a_server_that_is_gone(bell: PostgresBell, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def refused() -> None:
        tried.set()
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(postgres, "_connect", refused)
    for _ in range(100):
        bell.ring()
    assert tried.wait(10)


def test_a_bell_that_the_database_lacks_is_refused_at_start(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, vendor, well in ((POLL, "sqlite", True), (NOTIFY, "sqlite", False), (NOTIFY, "postgresql", True)):
        settings.HUB_DOORBELL = name
        monkeypatch.setattr(checks, "connection", SimpleNamespace(vendor=vendor))
        assert bool(checks.doorbell_is_there(None)) is not well, name
    settings.HUB_DOORBELL = "gong"
    assert [finding.id for finding in checks.doorbell_is_there(None)] == ["hub.E006"]
