"""Deliveries to a real receiver: signed, in order, again when it fails, and never to where they must not go."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook

from messaging.models import Message, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from messaging.webhooks_out import endpoints, sending
from messaging.webhooks_out.outbox import note_statuses
from routing.errors import Refused
from routing.models import AuditEntry, Contact
from tests.factories import Clinic, make_contact, make_endpoint, make_message
from tests.messaging.webhook_receiver import Receiver, receiver


@pytest.fixture
def program(settings: LazySettings) -> Iterator[Receiver]:
    """A receiver that is trusted although it is here."""
    with receiver() as running:
        settings.HUB_WEBHOOK_TRUSTED_HOSTS = [running.netloc]
        yield running


@pytest.fixture
def endpoint(clinic: Clinic, program: Receiver) -> tuple[WebhookEndpoint, str]:
    """The clinic's endpoint at the receiver, and its secret."""
    return make_endpoint(clinic.location, program.url())


def happen(clinic: Clinic, *facts: str, contact: Contact | None = None) -> Message:
    """A message that reached these statuses, one after the other."""
    message = make_message(
        contact or make_contact(clinic.location), account=clinic.account, dispatch_state="accepted", due_at=None
    )
    for fact in facts:
        if fact != "accepted":
            Message.objects.filter(pk=message.pk).update(**{f"{fact}_at": timezone.now()})
        with transaction.atomic():
            note_statuses([message.pk])
    return message


def work() -> list[str]:
    """Do what is due until nothing is; the words."""
    words = []
    while taken := sending.take_due(50):
        words += [sending.deliver(one) for one in taken]
    return words


def later() -> None:
    """Let what waits for another try be due now."""
    WebhookDelivery.objects.filter(due_at__isnull=False).update(due_at=timezone.now() - timedelta(seconds=1))


def test_the_formats_own_library_takes_the_signature(
    clinic: Clinic, program: Receiver, endpoint: tuple[WebhookEndpoint, str]
) -> None:
    happen(clinic, "accepted")
    assert work() == ["delivered"]
    [got] = program.got
    assert Webhook(endpoint[1]).verify(got.body, got.headers)["data"]["status"] == "accepted"
    assert got.headers["content-type"] == "application/json"


def test_during_a_rotation_both_secrets_verify_and_afterwards_one(
    clinic: Clinic, program: Receiver, endpoint: tuple[WebhookEndpoint, str]
) -> None:
    row, old = endpoint
    new = endpoints.rotate(endpoint=row, end_previous=False, by=None)
    happen(clinic, "accepted")
    work()
    for secret in (old, new):
        Webhook(secret).verify(program.got[0].body, program.got[0].headers)
    with pytest.raises(Refused, match="rotation_under_way"):
        endpoints.rotate(endpoint=row, end_previous=False, by=None)
    last = endpoints.rotate(endpoint=row, end_previous=True, by=None)
    happen(clinic, "accepted")
    work()
    assert len(program.got[1].headers["webhook-signature"].split()) == 1
    Webhook(last).verify(program.got[1].body, program.got[1].headers)


def test_a_later_event_waits_for_the_earlier_one_and_other_conversations_do_not(
    clinic: Clinic, program: Receiver, endpoint: Any
) -> None:
    program.answers.append(500)
    first = happen(clinic, "accepted", "sent", "delivered")
    assert work() == ["failed"]
    happen(clinic, "read")
    assert work() == ["delivered"]
    assert program.statuses() == ["accepted", "read"]
    later()
    work()
    assert program.statuses() == ["accepted", "read", "accepted", "sent", "delivered"]
    assert program.got[0].id == program.got[2].id
    assert program.got[2].json["data"]["id"] == str(first.pk)


def test_a_worker_that_dies_between_sending_and_settling_sends_again_under_the_same_id(
    clinic: Clinic, program: Receiver, endpoint: Any
) -> None:
    happen(clinic, "accepted")
    [taken] = sending.take_due(10)
    sending._post(taken)
    assert sending.take_due(10) == []
    WebhookDelivery.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert work() == ["delivered"]
    assert program.got[0].id == program.got[1].id
    # The one that was thought dead comes back: the other's word stands.
    assert sending._settle(taken, sending.Result(timezone.now(), timedelta(), status=500)) == "failed"
    assert WebhookDelivery.objects.get().state == "delivered"


def test_410_disables_and_keeps_what_waits(clinic: Clinic, program: Receiver, endpoint: Any) -> None:
    program.answers.append(410)
    happen(clinic, "accepted", "sent")
    assert work() == ["failed"]
    row = WebhookEndpoint.objects.get()
    assert row.disabled_reason == "gone"
    assert "410" in AuditEntry.objects.latest("id").detail
    assert sorted(WebhookDelivery.objects.values_list("state", flat=True)) == ["failed", "pending"]
    endpoints.enable(endpoint=row, by=None)
    assert work() == ["delivered"]
    assert endpoints.replay_failed(endpoint=row, since=timezone.now() - timedelta(hours=1), by=None) == 1
    assert work() == ["delivered"]
    assert program.statuses() == ["accepted", "sent", "accepted"]


def test_after_three_days_it_is_given_up_and_the_endpoint_disabled(
    clinic: Clinic, program: Receiver, endpoint: Any
) -> None:
    program.always = 503
    happen(clinic, "accepted")
    assert work() == ["failed"]
    assert WebhookEndpoint.objects.get().disabled_at is None
    with time_machine.travel(timezone.now() + timedelta(days=3, seconds=1)):
        later()
        WebhookDelivery.objects.update(due_at=timezone.now() - timedelta(days=4))
        assert work() == ["failed"]
    assert WebhookDelivery.objects.get().state == "failed"
    assert WebhookEndpoint.objects.get().disabled_reason == "failing"
    assert WebhookAttempt.objects.count() == 2


def test_a_redirect_is_not_followed(clinic: Clinic, program: Receiver, endpoint: Any) -> None:
    program.answers.append(program.redirect(program.url("/inner")))
    happen(clinic, "accepted")
    work()
    assert [got.path for got in program.got] == ["/hook"]
    assert "redirect" in WebhookAttempt.objects.get().problem


def test_no_more_at_once_than_an_endpoint_gets_and_the_others_get_theirs(
    clinic: Clinic, program: Receiver, endpoint: Any
) -> None:
    other, _ = make_endpoint(clinic.location, program.url("/other"))
    for _ in range(20):
        happen(clinic, "accepted")
    taken = sending.take_due(16)
    assert [one.endpoint_id for one in taken].count(other.pk) == sending.AT_ONCE
    assert len(taken) == 2 * sending.AT_ONCE
    assert sending.take_due(16) == []


def test_names_that_lead_inside_are_not_called(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = iter([["93.184.216.34"], ["10.0.0.1"]])
    called: list[Any] = []
    monkeypatch.setattr(
        "provisioning.providers.connections.resolve",
        lambda host, port, timeout_s: [(2, 1, 6, "", (address, port)) for address in next(addresses)],
    )

    def connect(address: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    make_endpoint(clinic.location, "https://rebinding.example.com/hook")
    happen(clinic, "accepted")
    work()
    later()
    work()
    assert called == [("93.184.216.34", 443)]
    assert "private network" in WebhookAttempt.objects.latest("id").problem
