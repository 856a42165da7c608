"""What is noted to be told: each status that a message really reached, once, for who asked, and for nobody else."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import desk, services
from messaging.delivery import evidence, outbox
from messaging.models import (
    DispatchState,
    Message,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from messaging.webhooks_out import endpoints
from messaging.webhooks_out.outbox import note_statuses
from provisioning.providers.base import ProviderError, Rejected, Unavailable
from routing.errors import Refused
from routing.models import Location
from tests.factories import Clinic, make_contact, make_endpoint, make_message
from tests.messaging.hook_posts import accepted, apply_due, received, sending, status, tell


def told(location: Location | None = None) -> list[str]:
    """Statuses in the order in which they were noted."""
    rows = WebhookDelivery.objects.order_by("id").values_list("event__body", flat=True)
    return [json.loads(body)["data"]["status"] for body in rows.filter(**({"location": location} if location else {}))]


@pytest.fixture
def endpoint(clinic: Clinic) -> WebhookEndpoint:
    """The clinic's own, for everything."""
    return make_endpoint(clinic.location)[0]


def test_a_message_is_told_of_from_accepted_to_read(clinic: Clinic, endpoint: WebhookEndpoint) -> None:
    message = accepted(clinic, "handle-x")
    for word in ("SENT", "DELIVERED", "READ"):
        tell(clinic.setup, status("handle-x", word))
        apply_due()
    assert told() == ["accepted", "sent", "delivered", "read"]
    data = json.loads(WebhookEvent.objects.earliest("created_at").body)
    assert data["type"] == "message.status"
    assert data["data"]["id"] == str(message.pk)
    assert data["data"]["to"] == clinic.contact.phone_number
    assert data["data"]["account"]["phone_number"] == clinic.account.phone_number
    assert "text" not in data["data"]


def test_repeats_and_what_changes_nothing_are_not_told(clinic: Clinic, endpoint: WebhookEndpoint) -> None:
    message = accepted(clinic, "handle-x")
    for word in ("READ", "DELIVERED", "SENT", "READ"):
        tell(clinic.setup, status("handle-x", word))
        apply_due()
    assert told() == ["accepted", "read"]
    with transaction.atomic():
        note_statuses([message.pk, message.pk])
        note_statuses([message.pk])
    assert told() == ["accepted", "read"]


@pytest.mark.parametrize(
    ("settle", "statuses"),
    [
        (lambda message, begun: outbox.settle_rejected(message, begun, Rejected("nope", "No.")), ["failed"]),
        (
            lambda message, begun: outbox.settle_uncertain(message, begun, ProviderError("timeout", "Late.")),
            ["uncertain"],
        ),
        (lambda message, begun: outbox.settle_not_sent(message, begun, Unavailable("busy", "Busy.")), []),
    ],
    ids=["rejected", "uncertain", "not sent"],
)
def test_outcomes_of_the_provider_call(
    clinic: Clinic, endpoint: WebhookEndpoint, settle: Callable[..., None], statuses: list[str]
) -> None:
    message, begun = sending(clinic)
    settle(message, begun)
    assert told() == statuses


def test_the_reason_is_told_with_a_failure(clinic: Clinic, endpoint: WebhookEndpoint) -> None:
    message, begun = sending(clinic)
    outbox.settle_rejected(message, begun, Rejected("nope", "No."))
    data = json.loads(WebhookEvent.objects.get().body)["data"]
    assert (data["status"], data["code"], data["detail"]) == ("failed", "nope", "No.")


def test_what_people_and_the_sweep_do_is_told(clinic: Clinic, endpoint: WebhookEndpoint) -> None:
    contact = make_contact(clinic.location)
    cancelled, late, lost = (make_message(contact, account=clinic.account) for _ in range(3))
    services.cancel(message=cancelled)
    Message.objects.filter(pk=late.pk).update(expires_at=timezone.now())
    Message.objects.filter(pk=lost.pk).update(
        dispatch_state=DispatchState.SENDING, lease_until=timezone.now(), expires_at=None
    )
    assert outbox.sweep() == {"requeued": 0, "uncertain": 1, "expired": 1}
    assert sorted(told()) == ["cancelled", "expired", "uncertain"]
    desk.settle_as_sent(message=lost, by=clinic.admin)
    assert told()[-1] == "accepted"
    with pytest.raises(Refused):
        services.cancel(message=cancelled)
    assert len(told()) == 4


def test_a_message_that_no_account_can_send_is_told_as_failed(
    clinic: Clinic, endpoint: WebhookEndpoint, api: Any
) -> None:
    answer = api.post("/api/v1/messages/", clinic.text("hi {IM#7}"))
    assert answer.status_code == 422
    assert told() == ["failed"]
    assert json.loads(WebhookEvent.objects.get().body)["data"]["code"] == "override_account_not_found"


def test_a_received_message_is_told_with_its_words_and_files(clinic: Clinic, endpoint: WebhookEndpoint) -> None:
    number = clinic.account.phone_number
    body = received(number, "see this \u00e9", media_url="https://files.example.com/a.png")
    tell(clinic.setup, body)
    apply_due()
    tell(clinic.setup, body)
    apply_due()
    event = json.loads(WebhookEvent.objects.get().body)
    message = Message.objects.get(direction="inbound")
    assert event["type"] == "message.received"
    assert event["data"]["text"] == "see this \u00e9"
    assert (event["data"]["to"], event["data"]["from"]) == (number, body["from_number"])
    address = event["data"]["attachments"][0]["url"]
    assert address.endswith(f"/api/v1/messages/{message.pk}/attachments/0/")


def test_nothing_is_told_of_what_was_rolled_back(clinic: Clinic, endpoint: WebhookEndpoint) -> None:
    message, begun = sending(clinic)

    def fail() -> None:
        with transaction.atomic():
            outbox.settle_rejected(message, begun, Rejected("nope", "No."))
            assert told() == ["failed"]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (told(), Message.objects.get(pk=message.pk).status) == ([], "sending")
    with transaction.atomic():
        evidence.note_settled_as_sent(message)
    assert told() == []  # it was not uncertain


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_it_is_refused() -> None:
    with pytest.raises(RuntimeError, match="one transaction"):
        note_statuses([uuid4()])


def test_who_did_not_ask_is_not_told(clinic: Clinic, other_clinic: Clinic) -> None:
    make_endpoint(other_clinic.location)
    make_endpoint(clinic.location, event_types=("line.health",))
    inbound, _ = make_endpoint(clinic.location, event_types=("message.received",))
    off, _ = make_endpoint(clinic.location)
    gone, _ = make_endpoint(clinic.location)
    endpoints.disable(endpoint=off, by=None)
    endpoints.delete(endpoint=gone, by=None)
    message, begun = sending(clinic)
    outbox.settle_rejected(message, begun, Rejected("nope", "No."))
    assert not WebhookEvent.objects.exists()
    tell(clinic.setup, received(clinic.account.phone_number))
    apply_due()
    assert list(WebhookDelivery.objects.values_list("endpoint", flat=True)) == [inbound.pk]


def test_each_endpoint_gets_its_own_delivery_of_one_event(clinic: Clinic) -> None:
    for _ in range(3):
        make_endpoint(clinic.location)
    message, begun = sending(clinic)
    outbox.settle_rejected(message, begun, Rejected("nope", "No."))
    assert (WebhookEvent.objects.count(), WebhookDelivery.objects.count()) == (1, 3)


def statements(ids: list[Any]) -> int:
    with CaptureQueriesContext(connection) as seen, transaction.atomic():
        note_statuses(ids)
    return len([query for query in seen if "SAVEPOINT" not in query["sql"]])


def test_it_costs_one_statement_without_and_a_few_with_endpoints(clinic: Clinic, other_clinic: Clinic) -> None:
    contact = make_contact(clinic.location)
    many = [make_message(contact, account=clinic.account, dispatch_state="accepted", due_at=None).pk for _ in range(60)]
    make_endpoint(other_clinic.location)
    assert statements(many) == 1
    make_endpoint(clinic.location)
    assert statements(many[:2]) == 4
    assert statements(many) == 4
    assert WebhookDelivery.objects.count() == 60
