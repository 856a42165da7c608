"""What becomes of events that were let in: each is kept once, and ends where it belongs."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from messaging import events
from messaging.delivery.worker import work_once
from messaging.models import Message, TypingNotice
from provisioning.models import EventOutcome, LineStatus, PhoneLine, ProviderEvent
from provisioning.providers.base import Health
from routing.models import Contact
from tests.factories import Clinic, make_line, make_setup
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import (
    CUSTOMER,
    SECRET,
    accepted,
    apply_due,
    door,
    iso,
    knock,
    make_due,
    new_handle,
    only_event,
    received,
    secret_of,
    sending,
    status,
    tell,
)

PAYLOADS = Path(__file__).parents[1] / "provisioning" / "payloads" / "sendblue"
TOPICS = ["", "receive", "line_assigned"]


# --- stored once ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [2, 5])
def test_a_repeat_is_answered_like_the_first_and_kept_once(clinic: Clinic, count: int) -> None:
    body = received(clinic.account.phone_number)
    answers = {(answer.status_code, answer.content) for answer in (tell(clinic.setup, body) for _ in range(count))}
    assert answers == {(200, b"{}")}
    assert ProviderEvent.objects.count() == 1
    apply_due()
    assert tell(clinic.setup, body).status_code == 200
    assert apply_due() == 0
    assert Message.objects.count() == 1


def test_a_repeat_is_known_by_what_it_says_and_not_by_its_bytes(clinic: Clinic) -> None:
    body = received(clinic.account.phone_number)
    tell(clinic.setup, body)
    tell(clinic.setup, json.dumps(body, indent=2, sort_keys=True).encode())
    assert ProviderEvent.objects.count() == 1


def test_the_same_event_at_two_setups_is_two_events(clinic: Clinic) -> None:
    sibling = make_setup(clinic.location)
    line = make_line(sibling)
    for setup, number in ((clinic.setup, clinic.account.phone_number), (sibling, line.phone_number or "")):
        tell(setup, received(number, message_handle="one-and-the-same"))
    assert apply_due() == 2
    assert Message.objects.filter(provider_id="one-and-the-same").count() == 2


def test_two_statuses_of_a_message_with_a_very_long_id_are_two_events(clinic: Clinic) -> None:
    # Long enough for the attempt's id before it to push the status out of the column.
    handle = "h" * 157
    message, begun = sending(clinic)
    for word in ("SENT", "DELIVERED", "SENT"):
        body = status(handle, word, date_updated="2026-01-01T00:00:00.000Z")
        assert knock(door(clinic.setup, token=begun.token), body).status_code == 200
    assert ProviderEvent.objects.count() == 2
    apply_due()
    message.refresh_from_db()
    assert message.status == "delivered"


def test_the_same_status_by_both_addresses_is_one_fact(clinic: Clinic) -> None:
    message, begun = sending(clinic)
    body = status(new_handle(), "SENT")
    knock(door(clinic.setup, token=begun.token), body)
    tell(clinic.setup, body)
    apply_due()
    make_due()
    apply_due()
    assert message.events.filter(kind="sent").count() == 1
    assert set(ProviderEvent.objects.values_list("outcome", flat=True)) <= {"applied", "ignored"}


@pytest.mark.postgres
def test_concurrent_repeats_are_one_event_and_one_message(in_threads: Callable[..., list[Any]], clinic: Clinic) -> None:
    path, environ = door(clinic.setup), {SECRET: secret_of(clinic.setup)}
    for told in range(1, 6):
        body = received(clinic.account.phone_number, "STOP", from_number=CUSTOMER)

        def work(i: int, body: Any = body) -> int:
            code: int = knock(path, body, **environ).status_code
            apply_due()
            return code

        assert in_threads(8, work) == [200] * 8
        assert ProviderEvent.objects.count() == told
        assert Message.objects.filter(direction="inbound").count() == told


# --- known and unknown ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body", [{"event_type": "galaxy.collided", "data": {}}, {"type": "x" * 500}, {}, [], "words", 7, None, True]
)
def test_an_unknown_event_is_kept_and_answered_like_any_other(clinic: Clinic, body: Any) -> None:
    answer = tell(clinic.setup, body)
    assert (answer.status_code, answer.content) == (200, b"{}")
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.UNKNOWN
    assert json.loads(bytes(event.body)) == body
    assert event.applied_at is not None


@pytest.mark.parametrize("word", ["BAFFLED", "", "QUEUED"])
def test_a_status_word_without_a_fact_changes_nothing(clinic: Clinic, word: str) -> None:
    message = accepted(clinic)
    tell(clinic.setup, status(message.provider_id, word))
    apply_due()
    message.refresh_from_db()
    assert message.status == "accepted"
    assert only_event().outcome == (EventOutcome.APPLIED if word == "QUEUED" else EventOutcome.UNKNOWN)


SAMPLES: dict[str, set[str]] = {
    "docs.receive.json": {"waiting"},
    "observed.receive.basic-text.json": {"waiting"},
    "observed.receive.effect-celebration.json": {"waiting"},
    "observed.receive.tapback-heart.json": {"waiting"},
    "docs.status-callback.delivered.json": {"waiting"},
    "fixture.status-delivered.json": {"waiting"},
    "fixture.status-envelope.json": {"waiting"},
    "schema.account-event.line-assigned.json": {"ignored"},
    "synthetic.line-assigned.json": {"conflict"},
    "synthetic.line-blocked.json": {"conflict"},
    "synthetic.call-log.json": {"unknown"},
    "synthetic.contact-created.json": {"unknown"},
}
"""Of those that are events: what becomes of them at a setup that has none of their numbers and messages."""


def posted(file: Path) -> Any:
    """What the provider posts; some samples are kept with their headers around them."""
    sample = json.loads(file.read_bytes())
    return sample["body"] if isinstance(sample, dict) and "headers" in sample else sample


def test_every_captured_sample_at_every_topic_ends_sensibly(hub: Hub) -> None:
    files = sorted(PAYLOADS.glob("*.json"))
    assert set(SAMPLES) <= {file.name for file in files}
    for number, topic in enumerate(TOPICS):
        for file in files:
            # The same content is one event whatever its topic, so each topic has a setup's worth of its own.
            ProviderEvent.objects.all().delete()
            answer = tell(hub.setups[number % 2], posted(file), topic=topic)
            assert answer.status_code == 200, file.name
            work_once()
            event = only_event()
            if event.outcome == EventOutcome.WAITING:
                assert event.due_at is not None
                assert event.due_at > timezone.now()
                assert event.detail
            else:
                assert event.due_at is None
            if topic == "":
                allowed = SAMPLES.get(file.name, {"unknown", "waiting"})
                assert event.outcome in allowed, file.name
    assert not Message.objects.exists()
    assert not Contact.objects.exists()
    assert set(PhoneLine.objects.values_list("status", "health")) == {(LineStatus.ASSIGNED, Health.ONLINE)}


# --- waiting and giving up --------------------------------------------------------------------------------------------
def test_a_status_of_nobodys_message_waits_ever_longer_and_is_given_up_after_a_day(clinic: Clinic) -> None:
    tell(clinic.setup, status(new_handle(), "DELIVERED"))
    waits = []
    for _ in range(12):
        apply_due()
        event = only_event()
        assert event.outcome == EventOutcome.WAITING
        assert event.due_at is not None
        waits.append(round((event.due_at - timezone.now()).total_seconds()))
        make_due()
    assert waits == sorted(waits)
    assert waits[0] < 3
    assert waits[-1] <= events.LONGEST_WAIT.total_seconds()
    ProviderEvent.objects.update(received_at=timezone.now() - timedelta(hours=23, minutes=59))
    apply_due()
    assert only_event().outcome == EventOutcome.WAITING
    make_due()
    ProviderEvent.objects.update(received_at=timezone.now() - timedelta(hours=24, seconds=1))
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.IGNORED
    assert event.due_at is None
    assert "Given up" in event.detail


def test_a_customers_message_that_nobody_can_place_is_not_given_up_in_silence(clinic: Clinic) -> None:
    tell(clinic.setup, received("+12125550999", "please call me"))
    ProviderEvent.objects.update(received_at=timezone.now() - timedelta(hours=25))
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.CONFLICT
    assert "Given up" in event.detail
    assert "please call me" in bytes(event.body).decode()


def test_another_locations_message_is_nobodys(clinic: Clinic) -> None:
    message = accepted(clinic)
    foreign = make_setup(clinic.other_location)
    make_line(foreign)
    tell(foreign, status(message.provider_id, "DELIVERED"))
    sibling = make_setup(clinic.location)
    make_line(sibling)
    tell(sibling, status(message.provider_id, "READ"))
    apply_due()
    assert set(ProviderEvent.objects.values_list("outcome", flat=True)) == {"waiting"}
    message.refresh_from_db()
    assert message.status == "accepted"


# --- an attempt's own address -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        received("", "I was never sent", sendblue_number="", to_number=""),
        {"event_type": "line_blocked", "sendblue_number": ""},
        {"event_type": "line_assigned", "number": "+12125550123"},
        {"is_typing": True, "number": CUSTOMER, "from_number": CUSTOMER, "timestamp": None},
    ],
    ids=["inbound", "line blocked", "line assigned", "typing"],
)
def test_at_an_attempts_address_only_its_statuses_are_believed(clinic: Clinic, body: dict[str, Any]) -> None:
    message, begun = sending(clinic, to=CUSTOMER)
    numbers = {name: clinic.account.phone_number for name, value in body.items() if value == ""}
    assert knock(door(clinic.setup, token=begun.token), {**body, **numbers}).status_code == 200
    apply_due()
    assert only_event().outcome == EventOutcome.CONFLICT
    assert not Message.objects.filter(direction="inbound").exists()
    assert not TypingNotice.objects.exists()
    clinic.account.refresh_from_db()
    assert clinic.account.can_send
    message.refresh_from_db()
    assert message.status == "sending"


def test_a_callback_with_the_id_of_another_message_is_a_conflict(clinic: Clinic) -> None:
    first = accepted(clinic)
    second, begun = sending(clinic, "second")
    knock(door(clinic.setup, token=begun.token), status(first.provider_id, "DELIVERED"))
    apply_due()
    assert only_event().outcome == EventOutcome.CONFLICT
    for message, expected in ((first, "accepted"), (second, "sending")):
        message.refresh_from_db()
        assert message.status == expected


def test_a_callback_with_a_second_id_tells_that_there_may_be_two_texts(clinic: Clinic) -> None:
    message, begun = sending(clinic)
    address = door(clinic.setup, token=begun.token)
    knock(address, status("first-id", "SENT"))
    apply_due()
    knock(address, status("second-id", "DELIVERED"))
    apply_due()
    message.refresh_from_db()
    assert (message.provider_id, message.status) == ("first-id", "delivered")
    event = ProviderEvent.objects.get(provider_id="second-id")
    assert event.outcome == EventOutcome.CONFLICT
    assert "sent twice" in event.detail


def test_a_received_message_under_a_sent_ones_id_is_a_conflict_and_kept(clinic: Clinic) -> None:
    message = accepted(clinic)
    body = received(clinic.account.phone_number, "do not lose me", message_handle=message.provider_id)
    tell(clinic.setup, body)
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.CONFLICT
    assert b"do not lose me" in bytes(event.body)
    assert Message.objects.count() == 1


# --- lines ------------------------------------------------------------------------------------------------------------
def test_what_a_line_notice_came_to_is_told_to_operators(hub: Hub) -> None:
    tell(hub.setups[0], {"event_type": "line_blocked", "number": "+12125550999", "status": "blocked"})
    work_once()
    event = ProviderEvent.objects.get(type="line_blocked")
    assert event.outcome == EventOutcome.CONFLICT
    assert "no line of this setup" in event.detail


def test_a_line_notice_whose_reading_fails_is_tried_again(hub: Hub) -> None:
    hub.sandbox.faults.fail_endpoint("GET", "/api/lines", 503, times=50)
    number = hub.accounts[0].phone_number
    tell(hub.setups[0], {"event_type": "line_assigned", "number": number, "date": iso(timezone.now())})
    work_once()
    event = ProviderEvent.objects.get(type="line_assigned", setup=hub.setups[0], outcome=EventOutcome.WAITING)
    assert event.due_at is not None
    assert event.due_at > timezone.now()
    assert event.detail
    hub.sandbox.faults.clear()
    make_due()
    work_once()
    event.refresh_from_db()
    assert event.outcome == EventOutcome.IGNORED
