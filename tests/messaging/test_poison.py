"""A row that cannot be done stops no other, and is shown in the end."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError

from messaging import events
from messaging.delivery import outbox
from messaging.delivery.worker import Worker, work_once
from messaging.models import Message
from provisioning.models import EventOutcome, PhoneLine, ProviderEvent
from tests.messaging.conftest import Hub


def test_an_event_that_cannot_be_applied_is_put_off_and_after_a_day_shown(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.sandbox.reply(from_number="+12125551234", to_number=hub.accounts[0].phone_number, text="hello")
    hub.sandbox.drain_webhooks()
    monkeypatch.setattr(events, "get_or_create_contact", lambda **_: 1 / 0)
    message = hub.send("+12125550100")
    hub.work_until_status(message, "delivered")
    event = ProviderEvent.objects.get(type="receive")
    assert (event.outcome, event.lease_until) == (EventOutcome.WAITING, None)
    assert event.due_at is not None
    assert event.due_at > event.received_at
    long_ago = event.received_at - timedelta(days=2)
    ProviderEvent.objects.filter(pk=event.pk).update(received_at=long_ago, due_at=long_ago)
    work_once()
    event.refresh_from_db()
    assert event.outcome == EventOutcome.CONFLICT
    assert event.detail.startswith("Given up")


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker that runs in a thread of the test's."""
    running = Worker(concurrency=4)
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.stop()
    thread.join(30)
    assert not thread.is_alive()


def wait_for(done: Callable[[], bool]) -> None:
    """Until it is so."""
    deadline, pause = time.monotonic() + 30, threading.Event()
    while not done():
        assert time.monotonic() < deadline, "what was waited for did not come"
        pause.wait(0.05)


def test_a_message_that_cannot_be_prepared_stops_no_other(hub: Hub, request: pytest.FixtureRequest) -> None:
    PhoneLine.objects.filter(account=hub.accounts[0]).delete()
    lost = hub.send("+12125550101", account=hub.accounts[0].index)
    others = [hub.send(f"+1212555{1000 + n}", account=hub.accounts[1].index) for n in range(6)]
    request.getfixturevalue("worker")
    wait_for(lambda: all(hub.status(other) == "delivered" for other in others))
    assert Message.objects.get(pk=lost.pk).dispatch_state == "claimed", "it comes back with its lease"


def test_an_outcome_that_cannot_be_stored_stops_no_other(
    hub: Hub, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = hub.send("+12125550101")
    settle = outbox.settle_all_accepted

    def refusing(taken: Any) -> None:
        if any(message.pk == poisoned.pk for message, _, _ in taken):
            raise DataError("no such character")
        settle(taken)

    monkeypatch.setattr(outbox, "settle_all_accepted", refusing)
    others = [hub.send(f"+1212555{1000 + n}") for n in range(6)]
    request.getfixturevalue("worker")
    wait_for(lambda: all(Message.objects.get(pk=other.pk).dispatch_state == "accepted" for other in others))
