"""What quiet hours do to messages: those that come in them, fall due in them, or were queued before they began."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from messaging import services
from messaging.delivery import claiming
from messaging.delivery.quiet import put_off_if_quiet
from messaging.delivery.worker import work_once
from messaging.models import DispatchState, Message
from messaging.scheduling import follow_quiet_hours
from routing.models import Location
from routing.quiet_hours import DAYS
from tests.factories import Clinic, make_clinic, make_contact
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import CUSTOMER

SEND = "/api/v1/messages/"
HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=60)


def window(begin: datetime, end: datetime) -> dict[str, Any]:
    """A window on every day, in UTC, of less than a day."""
    return {"days": list(DAYS), "from": f"{begin:%H:%M}", "to": f"{end:%H:%M}"}


def on_the_minute(moment: datetime) -> datetime:
    """The moment without its seconds."""
    return moment.replace(second=0, microsecond=0)


def hush(location: Location, *, since: timedelta = HOUR, left: timedelta = 2 * HOUR) -> datetime:
    """Quiet hours that began a while ago and go on; when they end."""
    now = timezone.now().astimezone(UTC)
    end = on_the_minute(now + left)
    set_hours(location, [window(now - since, end)])
    return end


def set_hours(location: Location, windows: Any, zone: str = "UTC") -> None:
    """The location's quiet hours, in the database and on the object."""
    location.quiet_hours, location.time_zone = windows, zone
    Location.objects.filter(pk=location.pk).update(quiet_hours=windows, time_zone=zone)


def read(answer: Any, name: str) -> datetime | None:
    """A moment of an answer."""
    text = answer.json()[name]
    return None if text is None else datetime.fromisoformat(text)


def send(clinic: Clinic, text: str = "hello", **fields: Any) -> Message:
    """A stored message of the clinic."""
    wanted = services.NewMessage(to=fields.pop("to", clinic.contact.phone_number), text=text, **fields)
    return services.send(location=clinic.location, wanted=wanted, now=timezone.now())


def fresh(message: Message) -> Message:
    """The message as it stands."""
    return Message.objects.get(pk=message.pk)


# --- when it is stored ------------------------------------------------------------------------------------------------
def test_a_message_that_comes_in_quiet_hours_waits_for_their_end(clinic: Clinic, api: APIClient) -> None:
    end = hush(clinic.location)
    answer = api.post(SEND, clinic.text())
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (202, "queued", "quiet_hours")
    assert read(answer, "scheduled_for") == end
    # The day until it expires begins when it may leave.
    assert read(answer, "expires_at") == end + settings.HUB_MESSAGE_LIFETIME
    seen = api.get(f"{SEND}{answer.json()['id']}/")
    assert (read(seen, "scheduled_for"), seen.json()["scheduled_at"]) == (end, None)
    assert [datetime.fromisoformat(row["scheduled_for"]) for row in api.get(SEND).json()["results"]] == [end]
    assert claiming.claim_due(limit=5, lease=LEASE) == []


def test_outside_of_them_it_waits_for_nothing(clinic: Clinic, api: APIClient) -> None:
    hush(clinic.location, since=5 * HOUR, left=-4 * HOUR)
    answer = api.post(SEND, clinic.text())
    assert (answer.json()["scheduled_for"], answer.json()["code"]) == (None, None)
    assert len(claiming.claim_due(limit=5, lease=LEASE)) == 1


def test_a_scheduled_message_that_falls_into_quiet_hours_waits_for_their_end(clinic: Clinic, api: APIClient) -> None:
    at = on_the_minute(timezone.now() + 30 * HOUR)
    set_hours(clinic.location, [window(at - HOUR, at + HOUR)])
    answer = api.post(SEND, clinic.text(scheduled_at=at.isoformat()))
    assert (answer.json()["status"], answer.json()["code"]) == ("scheduled", "quiet_hours")
    assert (read(answer, "scheduled_at"), read(answer, "scheduled_for")) == (at, at + HOUR)
    free = api.post(SEND, clinic.text(scheduled_at=(at + HOUR).isoformat()))
    assert (read(free, "scheduled_for"), free.json()["code"]) == (at + HOUR, None)


def test_an_expiry_within_the_quiet_hours_is_refused(clinic: Clinic, api: APIClient) -> None:
    end = hush(clinic.location)
    refused = api.post(SEND, clinic.text(expires_at=end.isoformat()))
    assert (refused.status_code, refused.json()["code"]) == (400, "expires_before_due")
    assert "quiet hours" in refused.json()["detail"]
    late = api.post(SEND, clinic.text(expires_at=(end + HOUR).isoformat()))
    assert (late.status_code, read(late, "expires_at")) == (202, end + HOUR)


@pytest.mark.parametrize(
    ("windows", "zone"), [([{"days": ["mon"], "from": "09:00", "to": "10:00"}], "Mars/Base"), ("night", "UTC")]
)
def test_hours_that_nobody_can_read_hold_everything_back(
    clinic: Clinic, api: APIClient, windows: Any, zone: str
) -> None:
    set_hours(clinic.location, windows, zone)
    before = timezone.now()
    answer = api.post(SEND, clinic.text())
    assert (answer.status_code, answer.json()["code"]) == (202, "quiet_hours_unclear")
    assert "Nobody can tell" in answer.json()["detail"]
    again = read(answer, "scheduled_for")
    assert again is not None
    assert before + timedelta(minutes=15) <= again <= timezone.now() + timedelta(minutes=15)
    # And again, when it is due and they are as they were.
    Message.objects.update(due_at=before)
    work_once()
    kept = Message.objects.get()
    assert (kept.dispatch_state, kept.code, kept.attempt_count) == (DispatchState.QUEUED, "quiet_hours_unclear", 0)
    assert kept.due_at is not None
    assert kept.due_at >= before + timedelta(minutes=15)


# --- when it is due ---------------------------------------------------------------------------------------------------
def test_what_was_queued_before_they_began_does_not_leave_in_them(hub: Hub) -> None:
    held = hub.send(CUSTOMER, "evening")
    end = hush(hub.location)
    work_once()
    kept = fresh(held)
    assert (kept.dispatch_state, kept.due_at, kept.code) == (DispatchState.QUEUED, end, "quiet_hours")
    assert (kept.attempt_count, kept.lease_until) == (0, None)
    assert hub.sandbox.ledger() == []
    set_hours(hub.location, [])
    follow_quiet_hours(hub.location, now=timezone.now())
    done = hub.work_until_status(held, "delivered")
    assert (done.code, done.attempt_count) == ("", 1)


def test_a_location_in_its_quiet_hours_holds_no_other_back(clinic: Clinic) -> None:
    other = make_clinic()
    held = [send(clinic, str(n), to=make_contact(clinic.location).phone_number) for n in range(6)]
    free = send(other)
    hush(clinic.location)
    taken = _take(2)
    assert [message.pk for message in taken] == [free.pk]
    # All of them are put off with the first.
    assert {fresh(message).code for message in held} == {"quiet_hours"}
    assert {fresh(message).dispatch_state for message in held} == {DispatchState.QUEUED}


def _take(limit: int) -> list[Message]:
    return claiming.claim_due(limit=limit, lease=LEASE)


def test_putting_off_takes_the_same_statements_however_many_there_are(clinic: Clinic) -> None:
    other, third = make_clinic(), make_clinic()
    ends = {clinic.location.pk: hush(clinic.location), other.location.pk: hush(other.location, left=3 * HOUR)}
    counts = []
    for rows in (1, 8):
        for place in (clinic, other, third):
            for _ in range(rows):
                send(place, to=make_contact(place.location).phone_number)
        Message.objects.update(due_at=timezone.now(), code="", dispatch_state=DispatchState.QUEUED)
        taken = list(Message.objects.select_related("location").filter(dispatch_state=DispatchState.QUEUED))
        with CaptureQueriesContext(connection) as queries:
            free = put_off_if_quiet(taken)
        counts.append(len([query for query in queries if "SAVEPOINT" not in query["sql"]]))
        assert {message.location_id for message in free} == {third.location.pk}
        for message in Message.objects.exclude(location=third.location):
            assert (message.due_at, message.code) == (ends[message.location_id], "quiet_hours")
        Message.objects.filter(location=third.location).update(dispatch_state=DispatchState.ACCEPTED)
    assert counts == [2, 2]
    with CaptureQueriesContext(connection) as queries:
        assert put_off_if_quiet([]) == []
    assert len(queries) == 0


def test_what_another_worker_took_over_is_left_to_it(clinic: Clinic) -> None:
    lost, cancelled = send(clinic), send(clinic, to=make_contact(clinic.location).phone_number)
    taken = claiming.claim_due(limit=5, lease=LEASE)
    assert len(taken) == 2
    hush(clinic.location)
    for message in taken:
        message.location = Location.objects.get(pk=clinic.location.pk)
    Message.objects.filter(pk=lost.pk).update(fence=9)
    Message.objects.filter(pk=cancelled.pk).update(dispatch_state=DispatchState.CANCELLED)
    assert put_off_if_quiet(taken) == []
    assert (fresh(lost).dispatch_state, fresh(lost).code) == (DispatchState.CLAIMED, "")
    assert (fresh(cancelled).dispatch_state, fresh(cancelled).code) == (DispatchState.CANCELLED, "")


def test_hours_longer_than_a_message_lives_do_not_end_it(clinic: Clinic) -> None:
    plain, timed = send(clinic), send(clinic, to=make_contact(clinic.location).phone_number)
    given = timezone.now() + HOUR
    Message.objects.filter(pk=plain.pk).update(expires_at=given)
    Message.objects.filter(pk=timed.pk).update(expires_at=given, expiry_given=True)
    end = hush(clinic.location)
    work_once()
    assert fresh(plain).expires_at == end + settings.HUB_MESSAGE_LIFETIME
    assert fresh(timed).expires_at == given


def test_the_answer_to_stop_leaves_in_quiet_hours_and_before_what_they_hold(hub: Hub) -> None:
    hub.work_until_status(hub.send(CUSTOMER, "first"), "delivered")
    hush(hub.location)
    held = hub.send(CUSTOMER, "held")
    hub.sandbox.reply(from_number=CUSTOMER, to_number=hub.accounts[0].phone_number, text="STOP")
    hub.work_until(lambda: len(hub.sandbox.ledger()) == 2)
    assert "START" in hub.sandbox.ledger()[-1].content
    assert fresh(held).dispatch_state == DispatchState.QUEUED


# --- when they change -------------------------------------------------------------------------------------------------
def test_waiting_messages_follow_the_hours(clinic: Clinic, other_clinic: Clinic) -> None:
    hush(clinic.location, left=5 * HOUR)
    elsewhere = hush(other_clinic.location)
    now = on_the_minute(timezone.now())
    waits = send(clinic)
    foreign = send(other_clinic)
    free = send(clinic, scheduled_at=now + 12 * HOUR)
    moved = send(clinic, scheduled_at=now + 29 * HOUR - timedelta(minutes=30))
    timed = send(clinic, scheduled_at=now + 12 * HOUR, expires_at=now + 13 * HOUR)
    tried = send(clinic, to=make_contact(clinic.location).phone_number)
    Message.objects.filter(pk=tried.pk).update(code="provider_busy", due_at=now + timedelta(minutes=5))
    assert fresh(moved).due_at == now + 29 * HOUR
    set_hours(clinic.location, [window(now - HOUR, now + HOUR), window(now + 11 * HOUR, now + 14 * HOUR)])
    with CaptureQueriesContext(connection) as queries:
        follow_quiet_hours(clinic.location, now=timezone.now())
    assert len(queries) == 3
    assert (fresh(waits).due_at, fresh(waits).code) == (now + HOUR, "quiet_hours")
    assert (fresh(free).due_at, fresh(free).code) == (now + 14 * HOUR, "quiet_hours")
    assert fresh(free).expires_at == now + 14 * HOUR + settings.HUB_MESSAGE_LIFETIME
    assert (fresh(moved).due_at, fresh(moved).code) == (moved.scheduled_at, "")
    assert (fresh(timed).due_at, fresh(timed).expires_at) == (now + 14 * HOUR, now + 13 * HOUR)
    assert fresh(tried).due_at == now + timedelta(minutes=5)
    assert fresh(foreign).due_at == elsewhere
    set_hours(clinic.location, [])
    follow_quiet_hours(clinic.location, now=timezone.now())
    assert [message.pk for message in claiming.claim_due(limit=5, lease=LEASE)] == [waits.pk]
    assert (fresh(free).due_at, fresh(free).code, fresh(free).detail) == (free.scheduled_at, "", "")


def test_what_has_left_or_never_will_is_not_touched(clinic: Clinic) -> None:
    hush(clinic.location)
    rows = {
        state: send(clinic, to=make_contact(clinic.location).phone_number)
        for state in (DispatchState.CLAIMED, DispatchState.SENDING, DispatchState.CANCELLED, DispatchState.REJECTED)
    }
    for state, message in rows.items():
        Message.objects.filter(pk=message.pk).update(dispatch_state=state)
    before = {message.pk: fresh(message).due_at for message in rows.values()}
    set_hours(clinic.location, [])
    follow_quiet_hours(clinic.location, now=timezone.now())
    assert {message.pk: fresh(message).due_at for message in rows.values()} == before
