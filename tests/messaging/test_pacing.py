"""What a line may bear: its pace, its new contacts, the breaker of its setup, and its turn beside the others."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from messaging import services
from messaging.delivery import circuit, claiming, dispatch, outbox, pacing
from messaging.delivery.claiming import Turn
from messaging.models import Circuit, DispatchState, Lane, Message, Opening
from provisioning.models import PhoneLine
from provisioning.providers.base import Accepted, Credentials, Pace, Unavailable, Uncertain
from routing.models import Account, Location
from tests.factories import Clinic, make_clinic, make_contact, make_line, make_setup

LEASE = timedelta(seconds=60)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def send_to_new_contacts(clinic: Clinic, count: int, **fields: Any) -> list[Message]:
    """A message to each of so many contacts who were never written to."""
    return [send(clinic.location, make_contact(clinic.location).phone_number, **fields) for _ in range(count)]


def send(location: Location, to: str, text: str = "hello", **fields: Any) -> Message:
    """A stored message."""
    wanted = services.NewMessage(to=to, text=text, **fields)
    return services.send(location=location, wanted=wanted, now=timezone.now())


def claim(limit: int = 100, **more: Any) -> list[Message]:
    """What a worker takes now."""
    return claiming.claim_due(limit=limit, lease=LEASE, **more)


def limit_line(clinic: Clinic, **limits: Any) -> None:
    """Give the clinic's line limits of its own."""
    PhoneLine.objects.filter(pk=clinic.line.pk).update(**limits)


def rest(clinic: Clinic, for_: timedelta) -> None:
    """Let so much time go by for the clinic's lane."""
    lane = Lane.objects.get(pk=clinic.account.pk)
    Lane.objects.filter(pk=lane.pk).update(open_at=lane.open_at - for_)


# --- pace -------------------------------------------------------------------------------------------------------------
def test_a_line_sends_a_burst_and_then_one_at_a_time(clinic: Clinic) -> None:
    limit_line(clinic, pace_per_second=0.01, pace_burst=3)
    send_to_new_contacts(clinic, 10)
    assert len(claim()) == 3
    assert claim() == []
    rest(clinic, timedelta(seconds=100))
    assert len(claim()) == 1
    assert claim() == []
    rest(clinic, timedelta(days=1))
    assert len(claim()) == 3, "a rest gives a burst back, and no more"


def test_what_waits_for_its_line_is_told_until_when(clinic: Clinic) -> None:
    limit_line(clinic, pace_per_second=0.01, pace_burst=1)
    first, second = send_to_new_contacts(clinic, 2)
    claim()
    api = APIClient(headers={"authorization": f"Bearer {clinic.key}"})
    shown = api.get(f"/api/v1/messages/{second.pk}/").json()
    assert (shown["status"], shown["scheduled_for"] is not None) == ("queued", True)
    assert api.get(f"/api/v1/messages/{first.pk}/").json()["scheduled_for"] is None


def test_a_provider_that_asks_for_fewer_slows_the_line_and_no_other(clinic: Clinic) -> None:
    other = make_line(clinic.setup)
    index = Account.objects.get(phone_line=other).index
    send_to_new_contacts(clinic, 3)
    send_to_new_contacts(clinic, 2, account=index)
    [taken] = [message for message in claim(limit=2) if message.account_id == clinic.account.pk]
    begun = outbox.begin([taken], lease=LEASE)[taken.pk]
    departure = dispatch.Departure(taken, begun, clinic.setup, Credentials("k", "s"), None, lambda: None)
    error = Unavailable("http_429", "Slow down.", retry_after=timedelta(minutes=3), too_fast=True)
    dispatch.settle([dispatch.Outcome(departure, error)])
    assert {message.account_id for message in claim()} == {other.account_id}
    assert Lane.objects.get(pk=clinic.account.pk).open_at > timezone.now() + timedelta(minutes=2)
    assert not Circuit.objects.exists()


@given(
    st.floats(min_value=0.05, max_value=50),
    st.integers(min_value=1, max_value=20),
    st.lists(st.tuples(st.floats(min_value=0, max_value=30), st.integers(min_value=1, max_value=30)), max_size=40),
)
def test_over_any_time_a_line_sends_at_most_its_burst_and_its_pace(
    per_second: float, burst: int, visits: list[tuple[float, int]]
) -> None:
    pace, open_at, now = Pace(per_second=per_second, burst=burst), NOW - timedelta(hours=1), NOW
    sent: list[datetime] = []
    for after_s, wanted in visits:
        now += timedelta(seconds=after_s)
        taken = min(wanted, pacing.tokens(pace, open_at, now))
        if taken:
            open_at = pacing.open_after(pace, open_at, now, taken)
        sent += [now] * taken
    for first, moment in enumerate(sent):
        within = (sent[-1] - moment).total_seconds()
        assert len(sent) - first <= burst + within * per_second + 1e-3


@pytest.mark.postgres
def test_workers_together_keep_a_lines_pace(in_threads: Callable[..., list[Any]], clinic: Clinic) -> None:
    limit_line(clinic, pace_per_second=0.01, pace_burst=7)
    send_to_new_contacts(clinic, 40)
    for _ in range(3):
        taken = [message.pk for part in in_threads(8, lambda _: claim(limit=5)) for message in part]
        taken += [message.pk for message in claim()]
        assert len(set(taken)) == len(taken) == 7
        rest(clinic, timedelta(days=1))


# --- new contacts -----------------------------------------------------------------------------------------------------
def test_new_contacts_beyond_the_budget_wait_and_known_ones_do_not(clinic: Clinic) -> None:
    limit_line(clinic, new_contacts_per_hour=2, new_contacts_per_day=3)
    known = make_contact(clinic.location)
    old = send(clinic.location, known.phone_number)
    Message.objects.filter(pk=old.pk).update(dispatch_state=DispatchState.ACCEPTED)
    new = send_to_new_contacts(clinic, 6)
    again = send(clinic.location, known.phone_number, "again")
    assert {message.pk for message in claim()} == {new[0].pk, new[1].pk, again.pk}
    waiting = [Message.objects.get(pk=message.pk) for message in new[2:]]
    assert {message.code for message in waiting} == {pacing.BUDGET_CODE}
    assert "2 an hour and 3 a day" in waiting[0].detail
    now = timezone.now()
    left = [message.due_at - now for message in waiting if message.due_at]
    hour, day = timedelta(hours=1), timedelta(days=1)
    assert hour - LEASE < left[0] <= hour, "the first is free when the first of the hour is over"
    assert all(day - LEASE < one <= day + hour + LEASE for one in left[1:]), "the third used the day up"
    assert left == sorted(left)
    assert claim() == []


def test_a_budget_that_is_free_again_is_used(clinic: Clinic) -> None:
    limit_line(clinic, new_contacts_per_hour=1)
    send_to_new_contacts(clinic, 2)
    assert len(claim()) == 1
    Opening.objects.update(at=timezone.now() - timedelta(minutes=61))
    Message.objects.filter(dispatch_state=DispatchState.QUEUED).update(due_at=timezone.now() - LEASE)
    assert len(claim()) == 1


def test_two_messages_to_one_new_contact_are_one_new_contact(clinic: Clinic) -> None:
    limit_line(clinic, new_contacts_per_hour=1)
    to = make_contact(clinic.location).phone_number
    first, second = send(clinic.location, to, "1"), send(clinic.location, to, "2")
    assert claim() == [first]
    Message.objects.filter(pk=first.pk).update(dispatch_state=DispatchState.ACCEPTED)
    assert claim() == [second]


def test_a_limit_of_none_at_all_lets_nobody_new_through(clinic: Clinic) -> None:
    limit_line(clinic, new_contacts_per_day=0)
    send_to_new_contacts(clinic, 2)
    assert claim() == []
    assert Message.objects.filter(code=pacing.BUDGET_CODE).count() == 2


# --- the breaker ------------------------------------------------------------------------------------------------------
def fail(clinic: Clinic, times: int) -> None:
    """Let so many calls of the clinic's setup fail in a row."""
    for _ in range(times):
        circuit.note_failure(setup_id=clinic.setup.pk, location_id=clinic.location.pk, code="connect_failed")


def test_after_failures_in_a_row_a_setup_rests_and_others_go_on(clinic: Clinic) -> None:
    other = make_clinic("Other clinic")
    send_to_new_contacts(clinic, 2)
    expected = send_to_new_contacts(other, 2)
    fail(clinic, circuit.FAILURES)
    assert {message.pk for message in claim()} == {message.pk for message in expected}


def test_a_few_failures_open_nothing_and_a_success_forgets_them(clinic: Clinic) -> None:
    fail(clinic, circuit.FAILURES - 1)
    circuit.note_success({clinic.setup.pk})
    fail(clinic, 1)
    send_to_new_contacts(clinic, 1)
    assert len(claim()) == 1


def test_when_the_rest_is_over_one_message_tries_and_decides_for_all(clinic: Clinic) -> None:
    send_to_new_contacts(clinic, 5)
    fail(clinic, circuit.FAILURES)
    Circuit.objects.update(open_until=timezone.now() - timedelta(seconds=1))
    [probe] = claim()
    assert claim() == [], "nobody else tries while the probe is on its way"
    begun = outbox.begin([probe], lease=LEASE)[probe.pk]
    departure = dispatch.Departure(probe, begun, clinic.setup, Credentials("k", "s"), None, lambda: None)
    dispatch.settle([dispatch.Outcome(departure, Accepted(provider_id="it works"))])
    assert len(claim()) == 4


def test_a_call_that_may_have_left_counts_as_a_failure_of_the_setup(clinic: Clinic) -> None:
    send_to_new_contacts(clinic, 1)
    [taken] = claim()
    begun = outbox.begin([taken], lease=LEASE)[taken.pk]
    departure = dispatch.Departure(taken, begun, clinic.setup, Credentials("k", "s"), None, lambda: None)
    dispatch.settle([dispatch.Outcome(departure, Uncertain("http_500", "HTTP 500"))])
    assert Circuit.objects.get(pk=clinic.setup.pk).failures == 1


# --- in turn ----------------------------------------------------------------------------------------------------------
def test_a_location_that_floods_leaves_the_others_their_turn(clinic: Clinic) -> None:
    send_to_new_contacts(clinic, 40)
    others = [make_clinic(f"Clinic {number}") for number in range(3)]
    small = {message.pk for other in others for message in send_to_new_contacts(other, 1)}
    taken = claim(limit=8)
    assert small <= {message.pk for message in taken}
    assert len(taken) == 8, "what the others leave goes to whoever has more"


def test_each_account_of_many_gets_its_turn(clinic: Clinic) -> None:
    setup = make_setup(clinic.location)
    lines = [make_line(setup) for _ in range(20)]
    for line in lines:
        account = Account.objects.get(phone_line=line)
        for _ in range(2):
            send(clinic.location, make_contact(clinic.location).phone_number, account=account.index)
    turn, taken = Turn(), []
    for _ in range(10):
        taken += claim(limit=4, turn=turn)
    assert Counter(message.account_id for message in taken) == Counter({line.account_id: 2 for line in lines})


def test_people_do_not_wait_for_a_campaign(clinic: Clinic) -> None:
    limit_line(clinic, pace_per_second=0.01, pace_burst=1)
    bulk = send_to_new_contacts(clinic, 5)
    Message.objects.filter(pk__in=[message.pk for message in bulk]).update(priority=1)
    person = send_to_new_contacts(clinic, 1)
    assert claim() == person


def test_a_campaigns_message_goes_before_the_answer_that_waits_behind_it(clinic: Clinic) -> None:
    bulk = send_to_new_contacts(clinic, 5)
    Message.objects.filter(pk__in=[message.pk for message in bulk]).update(priority=1)
    send(clinic.location, bulk[3].contact.phone_number, "an answer")
    assert claim(limit=1) == [bulk[3]]


def test_a_setup_gets_no_more_than_there_is_room_for(clinic: Clinic) -> None:
    send_to_new_contacts(clinic, 10)
    assert len(claim(room=lambda setup: 3 if setup == clinic.setup.pk else 10)) == 3
