"""The queue in the rows: who is taken, in what order, and who may move a message on."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from messaging import services
from messaging.delivery import claiming, evidence, outbox
from messaging.models import DispatchState, Message
from provisioning.providers.base import Accepted, Uncertain
from routing.errors import Refused
from tests.factories import Clinic, make_contact

LEASE = timedelta(seconds=60)
LONG_AGO = timedelta(days=1)


def send(clinic: Clinic, text: str = "hello", to: str | None = None, **fields: Any) -> Message:
    """A stored message of the clinic."""
    wanted = services.NewMessage(to=to or clinic.contact.phone_number, text=text, **fields)
    return services.send(location=clinic.location, wanted=wanted, now=timezone.now())


def claim(limit: int = 10) -> list[Message]:
    """What a worker takes now."""
    return list(claiming.claim_due(limit=limit, lease=LEASE))


def state(message: Message) -> str:
    """The dispatch state in the database."""
    return str(Message.objects.values_list("dispatch_state", flat=True).get(pk=message.pk))


def test_only_the_first_of_a_conversation_is_taken_until_it_is_done(clinic: Clinic) -> None:
    first, second = send(clinic, "1"), send(clinic, "2")
    [taken] = claim()
    assert taken == first
    assert claim() == []
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    assert claim() == []
    outbox.settle_accepted(taken, begun, Accepted(provider_id="p1"))
    assert claim() == [second]


def test_conversations_do_not_wait_for_each_other(clinic: Clinic) -> None:
    other = make_contact(clinic.location)
    messages = {send(clinic), send(clinic, to=other.phone_number)}
    assert set(claim()) == messages


def test_a_retry_keeps_its_place(clinic: Clinic) -> None:
    first, second = send(clinic, "1"), send(clinic, "2")
    Message.objects.filter(pk=first.pk).update(due_at=timezone.now() + timedelta(minutes=5))
    assert claim() == []
    Message.objects.filter(pk=first.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    assert claim() == [first]
    assert state(second) == DispatchState.QUEUED


def test_an_uncertain_message_holds_the_next_one_back_for_the_grace_period(clinic: Clinic) -> None:
    first, second = send(clinic, "1"), send(clinic, "2")
    [taken] = claim()
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    outbox.settle_uncertain(taken, begun, Uncertain("read_timeout", "No answer."))
    assert claim() == []
    Message.objects.filter(pk=first.pk).update(uncertain_at=timezone.now() - LONG_AGO)
    assert claim() == [second]


def test_a_scheduled_message_waits_for_its_time_and_lets_others_pass(clinic: Clinic) -> None:
    later = send(clinic, "later", scheduled_at=timezone.now() + timedelta(hours=1))
    assert state(later) == DispatchState.SCHEDULED
    now = send(clinic, "now")
    assert claim() == [now]
    Message.objects.filter(pk=now.pk).update(dispatch_state=DispatchState.ACCEPTED)
    Message.objects.filter(pk=later.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    assert claim() == [later]


def test_scheduled_messages_that_fall_due_keep_the_order_of_the_conversation(clinic: Clinic) -> None:
    hour = timezone.now() + timedelta(hours=1)
    second, first = (send(clinic, text, scheduled_at=hour) for text in ("second", "first"))
    third = send(clinic, "already waiting")
    past = timezone.now() - timedelta(minutes=1)
    Message.objects.filter(pk=first.pk).update(due_at=past)
    Message.objects.filter(pk=second.pk).update(due_at=past + timedelta(seconds=1))
    for expected in (third, first, second):
        assert claim() == [expected]
        assert claim() == []
        Message.objects.filter(pk=expected.pk).update(dispatch_state=DispatchState.ACCEPTED)


def test_nothing_joins_a_conversation_that_has_a_message_in_flight(clinic: Clinic) -> None:
    """Whatever its place: one that was moved here from another account waits as well."""
    moved, flying = send(clinic, "moved"), send(clinic, "flying")
    Message.objects.filter(pk=moved.pk).update(dispatch_state=DispatchState.CANCELLED)
    assert claim() == [flying]
    Message.objects.filter(pk=moved.pk).update(dispatch_state=DispatchState.QUEUED, due_at=timezone.now() - LEASE)
    assert claim() == []
    Message.objects.filter(pk=flying.pk).update(dispatch_state=DispatchState.ACCEPTED)
    assert claim() == [moved]


def test_what_a_dead_worker_had_claimed_goes_back_and_what_it_was_sending_becomes_uncertain(clinic: Clinic) -> None:
    claimed = send(clinic)
    sending = send(clinic, to=make_contact(clinic.location).phone_number)
    taken = {message.pk: message for message in claim()}
    begun = outbox.begin([taken[sending.pk]], lease=LEASE).get(sending.pk)
    assert begun is not None
    Message.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert outbox.sweep() == {"requeued": 1, "uncertain": 1, "expired": 0}
    assert state(claimed) == DispatchState.QUEUED
    assert state(sending) == DispatchState.UNCERTAIN
    # The dead come back: what they lost they cannot begin, and what they know counts all the same.
    assert outbox.begin([taken[claimed.pk]], lease=LEASE).get(claimed.pk) is None
    outbox.settle_accepted(taken[sending.pk], begun, Accepted(provider_id="p1"))
    assert state(sending) == DispatchState.ACCEPTED


def test_a_lease_that_runs_is_left_alone(clinic: Clinic) -> None:
    message = send(clinic)
    claim()
    assert outbox.sweep() == {"requeued": 0, "uncertain": 0, "expired": 0}
    assert state(message) == DispatchState.CLAIMED


def test_a_late_report_of_a_lost_worker_pulls_the_retry_back(clinic: Clinic) -> None:
    message = send(clinic)
    [taken] = claim()
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    # A person had it sent again before the first worker told how it went.
    Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.QUEUED, fence=taken.fence + 1)
    outbox.settle_uncertain(taken, begun, Uncertain("read_timeout", "No answer."))
    assert state(message) == DispatchState.UNCERTAIN


@pytest.mark.parametrize("how", ["cancelled", "expired", "opted out", "stopped"])
def test_nothing_begins_once_it_must_not_leave(clinic: Clinic, how: str) -> None:
    message = send(clinic)
    [taken] = claim()
    if how == "cancelled":
        services.cancel(message=message)
    elif how == "expired":
        Message.objects.filter(pk=message.pk).update(expires_at=timezone.now())
    elif how == "opted out":
        type(clinic.contact).objects.filter(pk=clinic.contact.pk).update(opted_out_at=timezone.now())
    else:
        type(clinic.account).objects.filter(pk=clinic.account.pk).update(is_enabled=False)
    assert outbox.begin([taken], lease=LEASE).get(taken.pk) is None
    assert message.attempts.count() == 0


@pytest.mark.parametrize("begun", [True, False])
def test_a_message_can_be_cancelled_until_it_is_being_sent(clinic: Clinic, begun: bool) -> None:
    message = send(clinic)
    [taken] = claim()
    if not begun:
        assert services.cancel(message=message).status == "cancelled"
        return
    assert outbox.begin([taken], lease=LEASE).get(taken.pk) is not None
    with pytest.raises(Refused) as refused:
        services.cancel(message=message)
    assert refused.value.code == "not_cancellable"
    assert state(message) == DispatchState.SENDING


def test_what_is_too_late_expires(clinic: Clinic) -> None:
    message = send(clinic)
    Message.objects.filter(pk=message.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim() == []
    assert outbox.sweep()["expired"] == 1
    assert Message.objects.get(pk=message.pk).status == "expired"


def test_an_id_that_another_message_has_is_no_proof(clinic: Clinic) -> None:
    first = send(clinic)
    second = send(clinic, to=make_contact(clinic.location).phone_number)
    for message, expected in ((first, DispatchState.ACCEPTED), (second, DispatchState.UNCERTAIN)):
        [taken] = claim(limit=1)
        begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
        assert begun is not None
        outbox.settle_accepted(taken, begun, Accepted(provider_id="the same"))
        assert state(message) == expected


def test_a_second_id_of_one_message_is_told(clinic: Clinic) -> None:
    message = send(clinic)
    [taken] = claim()
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    assert evidence.note_accepted(taken, Accepted(provider_id="by callback"))
    outbox.settle_accepted(taken, begun, Accepted(provider_id="by answer"))
    fresh = Message.objects.get(pk=message.pk)
    assert (fresh.provider_id, fresh.code) == ("by callback", "second_provider_id")


def test_a_text_that_still_holds_an_override_is_not_sent(clinic: Clinic) -> None:
    from messaging.delivery.dispatch import deliver

    message = send(clinic)
    Message.objects.filter(pk=message.pk).update(text="hello {IM#2}")
    [taken] = claim()
    assert deliver(taken) == "refused"
    assert Message.objects.get(pk=message.pk).code == "override_leak"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_never_take_the_same_message_or_two_of_a_conversation(
    clinic: Clinic, in_threads: Callable[..., list[Any]]
) -> None:
    contacts = [make_contact(clinic.location) for _ in range(20)]
    for text in range(5):
        for contact in contacts:
            send(clinic, str(text), to=contact.phone_number)
    for round_ in range(5):
        taken = [message for part in in_threads(8, lambda _: claim(limit=4)) for message in part]
        taken += claim(limit=100)
        assert len({message.pk for message in taken}) == len(taken) == 20
        assert {message.text for message in taken} == {str(round_)}
        Message.objects.filter(pk__in=[message.pk for message in taken]).update(dispatch_state=DispatchState.ACCEPTED)
