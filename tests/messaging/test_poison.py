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
from messaging.delivery.sending import Sending
from messaging.delivery.worker import work_once
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
def sending(hub: Hub) -> Iterator[Sending]:
    """The calls of a worker, which the test has taken on by itself."""
    running = Sending(concurrency=4, done=lambda: None, count=lambda word, departure: None)
    running.start()
    yield running
    running.stop(within_s=30)


def take_until(sending: Sending, done: Callable[[], bool]) -> None:
    """Send off what is due until it is so."""
    deadline, pause = time.monotonic() + 30, threading.Event()
    while not done():
        assert time.monotonic() < deadline, "what was waited for did not come"
        sending.take(lambda message: None)
        pause.wait(0.05)


def is_accepted(message: Message) -> bool:
    """Whether the provider's answer is written down."""
    return Message.objects.filter(pk=message.pk, dispatch_state="accepted").exists()


def test_a_message_that_cannot_be_prepared_stops_no_other(hub: Hub, sending: Sending) -> None:
    PhoneLine.objects.filter(account=hub.accounts[0]).delete()
    lost = hub.send("+12125550101", account=hub.accounts[0].index)
    others = [hub.send(f"+1212555{1000 + n}", account=hub.accounts[1].index) for n in range(6)]
    take_until(sending, lambda: all(map(is_accepted, others)))
    assert Message.objects.get(pk=lost.pk).dispatch_state == "claimed", "it comes back with its lease"


def test_an_outcome_that_cannot_be_stored_stops_no_other(
    hub: Hub, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = hub.send("+12125550101")
    settle = outbox.settle_all_accepted

    def refusing(taken: Any) -> None:
        if any(message.pk == poisoned.pk for message, _, _ in taken):
            raise DataError("no such character")
        settle(taken)

    monkeypatch.setattr(outbox, "settle_all_accepted", refusing)
    others = [hub.send(f"+1212555{1000 + n}") for n in range(6)]
    take_until(sending, lambda: all(map(is_accepted, others)))
    assert not is_accepted(poisoned)
