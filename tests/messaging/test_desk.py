"""The desk: a person decides about a message of which nobody knows whether it was sent, and what comes of it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from messaging import services
from messaging.delivery import claiming, evidence, outbox
from messaging.delivery.worker import work_once
from messaging.desk import send_again, settle_as_sent
from messaging.models import DispatchState, Message
from provisioning.models import EventOutcome, ProviderEvent
from provisioning.providers.base import Accepted, Rejected, Uncertain
from provisioning.sandbox.faults import magic_number
from routing.errors import Refused
from routing.models import Account, AuditEntry, Contact
from tests.factories import Clinic
from tests.messaging.conftest import Hub

LEASE = timedelta(seconds=60)
LOST = magic_number("timeout_sent")
NEVER_S = 600.0


def uncertain(clinic: Clinic, text: str = "the results are in", **fields: Any) -> Message:
    """A message whose only attempt ended without an answer."""
    wanted = services.NewMessage(to=clinic.contact.phone_number, text=text, **fields)
    message = services.send(location=clinic.location, wanted=wanted, now=timezone.now())
    [taken] = claiming.claim_due(limit=1, lease=LEASE)
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    outbox.settle_uncertain(taken, begun, Uncertain("timeout", "No answer came."))
    return Message.objects.get(pk=message.pk)


def state(message: Message) -> str:
    """The dispatch state in the database."""
    return str(Message.objects.values_list("dispatch_state", flat=True).get(pk=message.pk))


# --- it was sent ------------------------------------------------------------------------------------------------------
def test_settled_as_sent_it_is_accepted_asked_after_no_more_and_audited(clinic: Clinic) -> None:
    message = uncertain(clinic)
    sentence = settle_as_sent(message=message, by=clinic.agent, reason="  She\n called and has it. ")
    message.refresh_from_db()
    assert (message.status, message.code, message.detail, message.lookup_at) == ("accepted", "", "", None)
    assert message.accepted_at is not None
    assert Contact.objects.get(pk=clinic.contact.pk).last_account == clinic.account
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.location, entry.object_id) == (clinic.agent, clinic.location, str(message.pk))
    assert entry.detail == sentence == "Settled: it was sent. Reason: She called and has it."
    assert message.text not in f"{entry.detail}{entry.object_name}{entry.changes}"
    assert claiming.claim_due(limit=9, lease=LEASE) == []


def test_settled_as_sent_it_holds_its_conversation_back_no_longer(clinic: Clinic) -> None:
    first = uncertain(clinic)
    wanted = services.NewMessage(to=clinic.contact.phone_number, text="second")
    second = services.send(location=clinic.location, wanted=wanted, now=timezone.now())
    assert claiming.claim_due(limit=9, lease=LEASE) == []
    settle_as_sent(message=first, by=clinic.agent)
    assert claiming.claim_due(limit=9, lease=LEASE) == [second]


# --- send again -------------------------------------------------------------------------------------------------------
def test_sent_again_it_is_queued_in_its_old_place_with_a_new_life(clinic: Clinic, settings: LazySettings) -> None:
    first = uncertain(clinic)
    wanted = services.NewMessage(to=clinic.contact.phone_number, text="second")
    services.send(location=clinic.location, wanted=wanted, now=timezone.now())
    Message.objects.filter(pk=first.pk).update(
        uncertain_at=timezone.now() - timedelta(days=3), expires_at=timezone.now() - timedelta(days=2)
    )
    send_again(message=first, by=clinic.agent, reason="Not on her phone")
    again = Message.objects.get(pk=first.pk)
    assert (again.status, again.position, again.uncertain_at, again.code) == ("queued", first.position, None, "")
    assert again.expires_at is not None
    assert again.expires_at > timezone.now() + settings.HUB_MESSAGE_LIFETIME - timedelta(minutes=1)
    # Before the later one of the conversation, which waits for it.
    assert claiming.claim_due(limit=9, lease=LEASE) == [first]
    assert outbox.sweep()["expired"] == 0
    assert AuditEntry.objects.get().detail.endswith("Reason: Not on her phone")


def test_a_worker_of_the_first_try_that_comes_late_moves_nothing(clinic: Clinic) -> None:
    wanted = services.NewMessage(to=clinic.contact.phone_number, text="hello")
    message = services.send(location=clinic.location, wanted=wanted, now=timezone.now())
    [taken] = claiming.claim_due(limit=1, lease=LEASE)
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    Message.objects.filter(pk=message.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    outbox.sweep()
    assert state(message) == DispatchState.UNCERTAIN
    send_again(message=message, by=clinic.agent)
    [second] = claiming.claim_due(limit=1, lease=LEASE)
    outbox.settle_rejected(taken, begun, Rejected("no", "No."))
    assert state(second) == DispatchState.CLAIMED


@pytest.mark.parametrize("operation", [settle_as_sent, send_again])
@pytest.mark.parametrize("meanwhile", ["accepted", "queued", "cancelled"])
def test_what_is_not_uncertain_any_more_is_left_alone(
    clinic: Clinic, operation: Callable[..., str], meanwhile: str
) -> None:
    message = uncertain(clinic)
    Message.objects.filter(pk=message.pk).update(dispatch_state=meanwhile)
    with pytest.raises(Refused) as refused:
        operation(message=message, by=clinic.agent)
    assert refused.value.code == "not_uncertain"
    assert meanwhile in refused.value.detail
    assert state(message) == meanwhile
    assert not AuditEntry.objects.exists()


def test_nothing_is_sent_again_to_a_contact_who_opted_out(clinic: Clinic) -> None:
    message = uncertain(clinic)
    Contact.objects.filter(pk=clinic.contact.pk).update(opted_out_at=timezone.now())
    with pytest.raises(Refused) as refused:
        send_again(message=message, by=clinic.agent)
    assert refused.value.code == "contact_opted_out"
    assert state(message) == DispatchState.UNCERTAIN
    settle_as_sent(message=message, by=clinic.agent)


def test_nothing_is_sent_again_from_an_account_that_cannot(clinic: Clinic) -> None:
    message = uncertain(clinic)
    Account.objects.filter(pk=clinic.account.pk).update(line_blocked=True)
    with pytest.raises(Refused) as refused:
        send_again(message=message, by=clinic.agent)
    assert refused.value.code == "account_not_connected"
    assert "line blocked" in refused.value.detail
    assert state(message) == DispatchState.UNCERTAIN


def test_evidence_that_comes_before_the_second_leaves_stops_it(clinic: Clinic) -> None:
    message = uncertain(clinic)
    send_again(message=message, by=clinic.agent)
    [taken] = claiming.claim_due(limit=1, lease=LEASE)
    assert evidence.note_accepted(message, Accepted(provider_id="first"))
    assert outbox.begin([taken], lease=LEASE).get(taken.pk) is None
    assert state(message) == DispatchState.ACCEPTED


def test_without_its_trail_nothing_is_done(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    message = uncertain(clinic)

    def broken(**kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("messaging.desk.audit.record", broken)
    for operation in (settle_as_sent, send_again):
        with pytest.raises(RuntimeError):
            operation(message=message, by=clinic.agent)
        assert state(message) == DispatchState.UNCERTAIN


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_people_who_decide_at_once_one_is_heard(clinic: Clinic, in_threads: Callable[..., list[Any]]) -> None:
    for _ in range(10):
        message = uncertain(clinic)
        before = AuditEntry.objects.count()

        def decide(number: int, message: Message = message) -> str:
            operation = settle_as_sent if number % 2 else send_again
            try:
                operation(message=message, by=clinic.agent)
            except Refused as refused:
                return refused.code
            return operation.__name__

        answers = in_threads(6, decide)
        assert sorted(answers)[:5] == ["not_uncertain"] * 5
        heard = next(answer for answer in answers if answer != "not_uncertain")
        expected = DispatchState.ACCEPTED if heard == "settle_as_sent" else DispatchState.QUEUED
        assert state(message) == expected
        assert AuditEntry.objects.count() == before + 1
        Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.CANCELLED)


# --- through the worker, at the sandbox -------------------------------------------------------------------------------
@pytest.fixture
def lost(hub: Hub) -> Message:
    """A message that the provider took on and delivered without a word: neither answer nor callback came."""
    hub.sandbox.network.behaviour = replace(hub.sandbox.network.behaviour, delivery_delay_s=NEVER_S)
    return hub.work_until_status(hub.send(LOST, "only once, please"), "uncertain")


def tell(hub: Hub, place: int) -> None:
    """The callback of the attempt that was taken on as number `place` comes after all."""
    handle = hub.sandbox.ledger()[place].handle
    hub.sandbox.network.store.update_message(handle, status="DELIVERED")
    there = ProviderEvent.objects.count()
    hub.sandbox.mark_read(handle)
    pause, deadline = threading.Event(), time.monotonic() + 10
    # Twice: at the attempt's own address, and at the setup's.
    while ProviderEvent.objects.count() < there + 2:
        assert time.monotonic() < deadline
        pause.wait(0.02)


def test_settled_by_a_person_then_proven_by_a_late_callback(hub: Hub, lost: Message, clinic: Clinic) -> None:
    settle_as_sent(message=lost, by=clinic.operator)
    assert hub.status(lost) == "accepted"
    work_once()
    assert len(hub.sandbox.ledger()) == 1
    tell(hub, 0)
    proven = hub.work_until_status(lost, "read")
    assert proven.provider_id == hub.sandbox.ledger()[0].handle
    assert not proven.conflict
    assert proven.attempts.get().outcome == "accepted"


def test_sent_again_by_a_person_it_leaves_once_more(hub: Hub, lost: Message, clinic: Clinic) -> None:
    send_again(message=lost, by=clinic.operator)
    hub.sandbox.faults.next_sends("silent")
    again = hub.work_until_status(lost, "accepted")
    assert [sent.number for sent in hub.sandbox.ledger()] == [LOST, LOST]
    assert again.provider_id == hub.sandbox.ledger()[1].handle
    assert [attempt.outcome for attempt in again.attempts.all()] == ["uncertain", "accepted"]
    assert again.code == ""


def test_a_late_callback_of_the_first_attempt_tells_that_it_was_sent_twice(
    hub: Hub, lost: Message, clinic: Clinic
) -> None:
    send_again(message=lost, by=clinic.operator)
    hub.sandbox.faults.next_sends("silent")
    hub.work_until_status(lost, "accepted")
    tell(hub, 0)
    twice = hub.work_until_status(lost, "read")
    assert twice.provider_id == hub.sandbox.ledger()[1].handle
    assert twice.code == "second_provider_id"
    assert [attempt.outcome for attempt in twice.attempts.all()] == ["accepted", "accepted"]
    assert ProviderEvent.objects.filter(outcome=EventOutcome.CONFLICT).exists()


def test_a_callback_that_comes_before_the_second_leaves_keeps_it_from_leaving(
    hub: Hub, lost: Message, clinic: Clinic
) -> None:
    tell(hub, 0)
    send_again(message=lost, by=clinic.operator)
    Message.objects.filter(pk=lost.pk).update(due_at=timezone.now() + timedelta(hours=1))
    hub.work_until_status(lost, "read")
    Message.objects.filter(pk=lost.pk).update(due_at=timezone.now())
    work_once()
    assert len(hub.sandbox.ledger()) == 1
    assert Message.objects.get(pk=lost.pk).code == ""
