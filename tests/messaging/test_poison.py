"""A row that cannot be done stops no other, and is shown in the end."""

from datetime import timedelta

import pytest

from messaging import events
from messaging.delivery.worker import work_once
from provisioning.models import EventOutcome, ProviderEvent
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
