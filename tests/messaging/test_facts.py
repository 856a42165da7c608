"""Facts are a set: whatever order, repetition and moment they come in, the message ends the same."""

import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from messaging.delivery import claiming, outbox
from messaging.models import DispatchState, Message
from provisioning.models import EventOutcome, ProviderEvent
from provisioning.providers.base import Accepted, Uncertain
from tests.factories import Clinic, make_contact
from tests.messaging.hook_posts import (
    SECRET,
    accepted,
    apply_due,
    door,
    iso,
    knock,
    make_due,
    new_handle,
    only_event,
    secret_of,
    sending,
    status,
    tell,
)

Told = tuple[str, int | None]

SENT, DELIVERED, READ = ("SENT", None), ("DELIVERED", None), ("READ", None)
FAILED, DECLINED = ("ERROR", 10001), ("DECLINED", None)
UNRESOLVED, QUEUED, ODD = ("ERROR", 10002), ("QUEUED", None), ("BAFFLED", None)
WORDS: list[Told] = [SENT, DELIVERED, READ, FAILED, DECLINED, UNRESOLVED, QUEUED, ODD]
START = timezone.now()


def expected(told: Sequence[Told]) -> tuple[str, bool]:
    """Status and conflict of an accepted message, by the set of what was told."""
    facts = set(told)
    arrived, failed = bool(facts & {DELIVERED, READ}), bool(facts & {FAILED, DECLINED})
    for fact, word in ((READ, "read"), (DELIVERED, "delivered")):
        if fact in facts:
            return word, failed
    return ("failed" if failed else "sent" if SENT in facts else "accepted"), failed and arrived


def said(handle: str, told: Told, moment: int) -> dict[str, Any]:
    """One telling; at another moment it is another event."""
    return status(handle, told[0], error_code=told[1], date_updated=iso(START + timedelta(seconds=moment)))


def outcome(message: Message) -> tuple[str, bool]:
    message.refresh_from_db()
    return message.status, message.conflict


tellings = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 2)), min_size=1, max_size=9)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=tellings, own=st.data(), settle_after=st.integers(0, 9), worked=st.sets(st.integers(0, 9)))
def test_any_order_any_repetition_before_and_after_our_own_answer(
    clinic: Clinic, told: list[tuple[Told, int]], own: Any, settle_after: int, worked: set[int]
) -> None:
    handle = new_handle()
    message, begun = sending(clinic, to=make_contact(clinic.location).phone_number)
    by_token = own.draw(st.lists(st.booleans(), min_size=len(told), max_size=len(told)))
    addresses: dict[bool, tuple[str, dict[str, str]]] = {
        True: (door(clinic.setup, token=begun.token), {}),
        False: (door(clinic.setup), {SECRET: secret_of(clinic.setup)}),
    }
    for position, ((word, moment), tokened) in enumerate(zip(told, by_token, strict=True)):
        if position == settle_after:
            outbox.settle_accepted(message, begun, Accepted(provider_id=handle))
        path, environ = addresses[tokened]
        assert knock(path, said(handle, word, moment), **environ).status_code == 200
        if position in worked:
            apply_due()
    if settle_after >= len(told):
        outbox.settle_accepted(message, begun, Accepted(provider_id=handle))
    make_due()
    apply_due()
    assert outcome(message) == expected([word for word, _ in told])
    assert not ProviderEvent.objects.filter(outcome=EventOutcome.WAITING).exists()


@pytest.mark.parametrize("order", list(itertools.permutations([SENT, DELIVERED, READ, FAILED])), ids=str)
def test_every_order_of_the_four_facts(clinic: Clinic, order: tuple[Told, ...]) -> None:
    message = accepted(clinic)
    for moment, told in enumerate(order):
        tell(clinic.setup, said(message.provider_id, told, moment))
        apply_due()
    assert outcome(message) == ("read", True)
    assert set(message.events.values_list("kind", flat=True)) == {"accepted", "sent", "delivered", "read", "failed"}


def test_a_later_sent_never_hides_delivered(clinic: Clinic) -> None:
    message = accepted(clinic)
    for moment, told in enumerate([DELIVERED, SENT, SENT, QUEUED, UNRESOLVED]):
        tell(clinic.setup, said(message.provider_id, told, moment))
        apply_due()
        assert outcome(message) == ("delivered", False)
    assert message.sent_at is not None
    assert message.delivered_at is not None
    assert message.sent_at > message.delivered_at


def test_a_fact_keeps_the_time_that_the_provider_told_first(clinic: Clinic) -> None:
    message = accepted(clinic)
    for moment in (7, 3):
        tell(clinic.setup, said(message.provider_id, DELIVERED, moment))
        apply_due()
    message.refresh_from_db()
    assert message.delivered_at is not None
    assert abs(message.delivered_at - START - timedelta(seconds=7)) < timedelta(milliseconds=2)
    assert message.events.filter(kind="delivered").count() == 1


def test_a_failure_is_told_with_its_code(clinic: Clinic) -> None:
    message = accepted(clinic)
    body = {**said(message.provider_id, FAILED, 1), "error_message": "Recipient cannot be reached\x00"}
    tell(clinic.setup, body)
    apply_due()
    message.refresh_from_db()
    assert (message.status, message.failed_code) == ("failed", "10001")
    assert "cannot be reached" in message.events.get(kind="failed").detail


@pytest.mark.parametrize("order", [(UNRESOLVED, FAILED), (FAILED, UNRESOLVED)], ids=str)
def test_two_errors_of_one_moment_with_different_codes_are_two_events(clinic: Clinic, order: tuple[Told, ...]) -> None:
    message = accepted(clinic)
    for told in order:
        tell(clinic.setup, said(message.provider_id, told, 0))
    assert ProviderEvent.objects.count() == 2
    apply_due()
    assert outcome(message) == ("failed", False)


@pytest.mark.parametrize("state", [DispatchState.CANCELLED, DispatchState.EXPIRED, DispatchState.REJECTED])
def test_a_sign_of_sending_for_a_message_that_we_ended_is_a_conflict(clinic: Clinic, state: DispatchState) -> None:
    message, begun = sending(clinic)
    Message.objects.filter(pk=message.pk).update(dispatch_state=state)
    knock(door(clinic.setup, token=begun.token), said(new_handle(), SENT, 1))
    apply_due()
    message.refresh_from_db()
    assert message.conflict
    assert message.dispatch_state == state
    assert only_event().outcome == EventOutcome.APPLIED


# --- before our own answer --------------------------------------------------------------------------------------------
def test_an_event_before_our_own_answer_waits_and_is_applied_with_it(clinic: Clinic) -> None:
    message, begun = sending(clinic)
    tell(clinic.setup, said("early", DELIVERED, 1))
    assert apply_due() == 1
    assert only_event().outcome == EventOutcome.WAITING
    assert apply_due() == 0
    outbox.settle_accepted(message, begun, Accepted(provider_id="early"))
    # The answer itself made it due.
    assert apply_due() == 1
    assert outcome(message) == ("delivered", False)
    assert only_event().outcome == EventOutcome.APPLIED


def test_an_attempts_own_callback_proves_it_whatever_was_thought(clinic: Clinic) -> None:
    message, begun = sending(clinic)
    outbox.settle_uncertain(message, begun, Uncertain("timeout", "No answer."))
    knock(door(clinic.setup, token=begun.token), said("proven", QUEUED, 1))
    apply_due()
    message.refresh_from_db()
    assert (message.status, message.provider_id, message.lookup_at) == ("accepted", "proven", None)


def test_a_callback_pulls_a_message_back_that_waits_for_its_next_try(clinic: Clinic) -> None:
    message, begun = sending(clinic)
    Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.QUEUED, due_at=timezone.now())
    knock(door(clinic.setup, token=begun.token), said("there-already", SENT, 1))
    apply_due()
    assert claiming.claim_due(limit=10, lease=timedelta(seconds=60)) == []
    assert outcome(message) == ("sent", False)


@pytest.mark.postgres
def test_an_early_event_is_not_lost_while_the_worker_settles(
    in_threads: Callable[..., list[Any]], clinic: Clinic
) -> None:
    path, environ = door(clinic.setup), {SECRET: secret_of(clinic.setup)}
    met = 0
    for turn in range(40):
        handle = f"race-{turn}"
        message, begun = sending(clinic)

        def work(i: int, handle: str = handle, message: Message = message, begun: outbox.Begun = begun) -> Any:
            if i == 0:
                outbox.settle_accepted(message, begun, Accepted(provider_id=handle))
                return None
            if i < 3:
                knock(path, said(handle, DELIVERED, 1), **environ)
            return apply_due()

        results = in_threads(4, work)
        assert [result for result in results if isinstance(result, Exception)] == []
        met += Message.objects.get(pk=message.pk).status == "delivered"
        event = ProviderEvent.objects.get(provider_id=handle)
        assert event.outcome in (EventOutcome.WAITING, EventOutcome.APPLIED)
        assert (event.outcome == EventOutcome.WAITING) == (event.due_at is not None)
        make_due()
        apply_due()
        assert outcome(message) == ("delivered", False)
    # Both ways round came up, or the test sees only one of them.
    assert met > 0


@pytest.mark.postgres
def test_the_callback_and_the_answer_at_once_accept_once(in_threads: Callable[..., list[Any]], clinic: Clinic) -> None:
    for turn in range(20):
        handle = f"both-{turn}"
        message, begun = sending(clinic)
        address = door(clinic.setup, token=begun.token)

        def work(
            i: int, handle: str = handle, message: Message = message, begun: outbox.Begun = begun, path: str = address
        ) -> None:
            if i == 0:
                outbox.settle_accepted(message, begun, Accepted(provider_id=handle))
            else:
                knock(path, said(handle, [SENT, DELIVERED, READ][i - 1], i))
                apply_due()

        results = in_threads(4, work)
        assert [result for result in results if isinstance(result, Exception)] == []
        make_due()
        apply_due()
        message.refresh_from_db()
        assert (message.status, message.provider_id, message.dispatch_state) == ("read", handle, "accepted")
        assert message.events.filter(kind="accepted").count() == 1
        assert message.attempts.get().outcome == "accepted"


def test_sending_to_one_contact_does_not_take_anothers_facts(clinic: Clinic) -> None:
    first, second = accepted(clinic), accepted(clinic)
    tell(clinic.setup, said(first.provider_id, DELIVERED, 1))
    apply_due()
    assert outcome(first)[0] == "delivered"
    assert outcome(second)[0] == "accepted"
