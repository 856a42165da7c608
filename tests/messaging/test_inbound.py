"""Messages from customers: each is kept once, under the account that was written to, or is there for a person."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from messaging.delivery.worker import work_once
from messaging.models import Direction, DispatchState, Message
from provisioning.models import EventOutcome, LineStatus, PhoneLine, ProviderEvent, SetupStatus
from routing import services as routing
from routing.models import Contact
from tests.factories import Clinic, make_account, make_contact, make_line, make_setup
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import (
    CUSTOMER,
    SECRET,
    apply_due,
    door,
    knock,
    make_due,
    only_event,
    received,
    secret_of,
    status,
    tell,
)

MESSAGES = "/api/v1/messages/"


def listed(api: APIClient, **query: str) -> list[dict[str, Any]]:
    """What GET messages/ shows."""
    answer = api.get(MESSAGES, query)
    assert answer.status_code == 200
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def kept() -> Message:
    """The one message that came in."""
    message: Message = Message.objects.get(direction=Direction.INBOUND)
    return message


# --- end to end -------------------------------------------------------------------------------------------------------
def test_a_reply_is_shown_within_one_turn_of_the_worker(hub: Hub) -> None:
    account = hub.accounts[1]
    hub.sandbox.reply(from_number=CUSTOMER, to_number=account.phone_number, text="Is Tuesday fine?")
    hub.sandbox.drain_webhooks()
    work_once()
    [row] = listed(hub.api)
    contact = Contact.objects.get(location=hub.location)
    assert (row["direction"], row["status"], row["text"]) == ("inbound", "received", "Is Tuesday fine?")
    assert row["account"]["index"] == account.index
    assert (row["to"], row["contact"]) == (account.phone_number, str(contact.pk))
    assert (row["routing"], row["service"], row["conflict"]) == (None, "iMessage", False)
    assert (contact.phone_number, contact.last_account) == (CUSTOMER, account)
    assert listed(hub.api, direction="inbound") == [row]
    assert listed(hub.api, direction="outbound") == []


def test_the_answer_leaves_from_the_number_that_was_written_to(hub: Hub) -> None:
    second = hub.accounts[1]
    hub.sandbox.reply(from_number=CUSTOMER, to_number=second.phone_number, text="hello?")
    hub.sandbox.drain_webhooks()
    work_once()
    assert hub.post(CUSTOMER).json()["account"]["index"] == second.index


def test_a_known_contact_keeps_its_name_and_gets_the_account_that_it_wrote_to_last(hub: Hub) -> None:
    contact = make_contact(hub.location, phone_number=CUSTOMER, name="Ada", last_account=hub.accounts[0])
    hub.sandbox.reply(from_number=CUSTOMER, to_number=hub.accounts[1].phone_number, text="me again")
    hub.sandbox.drain_webhooks()
    work_once()
    contact.refresh_from_db()
    assert (contact.name, contact.last_account) == ("Ada", hub.accounts[1])
    assert kept().contact == contact


def test_other_locations_see_nothing_of_it(clinic: Clinic, api_as: Callable[[str | None], APIClient]) -> None:
    tell(clinic.setup, received(clinic.account.phone_number, "only for you"))
    apply_due()
    message = kept()
    other = api_as(clinic.other_key)
    assert listed(other) == []
    assert other.get(f"{MESSAGES}{message.pk}/").status_code == 404
    assert listed(api_as(clinic.key))[0]["id"] == str(message.pk)
    assert not Contact.objects.filter(location=clinic.other_location).exists()


def test_two_locations_have_their_own_contact_of_one_number(clinic: Clinic, other_clinic: Clinic) -> None:
    for one in (clinic, other_clinic):
        tell(one.setup, received(one.account.phone_number, f"to {one.location.name}"))
    apply_due()
    for one in (clinic, other_clinic):
        message = Message.objects.get(location=one.location)
        assert message.text == f"to {one.location.name}"
        assert message.contact.location == one.location


# --- once -------------------------------------------------------------------------------------------------------------
def test_the_same_message_in_two_events_is_kept_once(clinic: Clinic) -> None:
    body = received(clinic.account.phone_number)
    tell(clinic.setup, body, topic="receive")
    # As an event stream would have it: an id of its own around the same message.
    tell(clinic.setup, {"id": "evt_1", "version": 1, "type": "message.received", "data": body})
    apply_due()
    assert Message.objects.count() == 1
    assert set(ProviderEvent.objects.values_list("outcome", flat=True)) == {"applied", "ignored"}


@pytest.mark.postgres
def test_two_events_of_one_message_at_once_keep_it_once(in_threads: Callable[..., list[Any]], clinic: Clinic) -> None:
    path, environ = door(clinic.setup), {SECRET: secret_of(clinic.setup)}
    for turn in range(10):
        body = received(clinic.account.phone_number, from_number=f"+1212555{turn:04d}")

        def work(i: int, body: Any = body) -> int:
            wrapped = {"id": f"{body['message_handle']}-{i}", "version": 1, "type": "message.received", "data": body}
            code: int = knock(path, wrapped, **environ).status_code
            apply_due()
            return code

        assert in_threads(6, work) == [200] * 6
        assert Message.objects.filter(provider_id=body["message_handle"]).count() == 1
        assert Contact.objects.filter(phone_number=body["from_number"]).count() == 1
    assert not ProviderEvent.objects.filter(outcome=EventOutcome.WAITING).exists()


def test_our_own_sends_never_come_in(hub: Hub) -> None:
    hub.work_until_status(hub.send(CUSTOMER), "delivered")
    own = {**received(hub.accounts[0].phone_number, "sent from the phone itself"), "is_outbound": True}
    for topic, word in (("receive", "DELIVERED"), ("outbound", "SENT"), ("", "RECEIVED"), ("receive", "RECEIVED")):
        tell(hub.setups[0], {**own, "status": word}, topic=topic)
        work_once()
    assert not Message.objects.filter(direction=Direction.INBOUND).exists()


# --- whose is it ------------------------------------------------------------------------------------------------------
def test_a_message_to_a_line_that_is_not_there_yet_waits_for_it(clinic: Clinic) -> None:
    number = "+12125550321"
    tell(clinic.setup, received(number, "early bird"))
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.WAITING
    assert not Message.objects.exists()
    line = make_line(clinic.setup, phone_number=number)
    make_due()
    apply_due()
    assert kept().account == line.account
    assert only_event().outcome == EventOutcome.APPLIED


def test_a_number_of_another_setup_is_not_written_to_here(clinic: Clinic, other_clinic: Clinic) -> None:
    sibling = make_setup(clinic.location)
    own_sibling_line = make_line(sibling)
    for number in (other_clinic.account.phone_number, own_sibling_line.phone_number or ""):
        tell(clinic.setup, received(number, "for somebody else"))
    apply_due()
    assert set(ProviderEvent.objects.values_list("outcome", flat=True)) == {"waiting"}
    assert not Message.objects.exists()


def test_without_a_number_the_setups_only_line_is_meant(clinic: Clinic) -> None:
    tell(clinic.setup, received("", "to whom?"))
    apply_due()
    assert kept().account == clinic.account


def test_without_a_number_nobody_guesses_between_two_lines(clinic: Clinic) -> None:
    make_line(clinic.setup, account=make_account(clinic.location))
    tell(clinic.setup, received("", "to whom?"))
    apply_due()
    assert only_event().outcome == EventOutcome.WAITING
    ProviderEvent.objects.update(received_at=timezone.now() - timedelta(hours=25))
    make_due()
    apply_due()
    assert only_event().outcome == EventOutcome.CONFLICT
    assert not Message.objects.exists()


def test_a_message_to_a_line_that_was_released_is_still_the_accounts(clinic: Clinic) -> None:
    tell(clinic.setup, received(clinic.account.phone_number, "late"))
    PhoneLine.objects.filter(pk=clinic.line.pk).update(status=LineStatus.RELEASED, released_at=timezone.now())
    type(clinic.setup).objects.filter(pk=clinic.setup.pk).update(status=SetupStatus.CLOSED)
    routing.retire_account(account=clinic.account, by=None)
    apply_due()
    assert kept().account == clinic.account


@pytest.mark.parametrize("number", ["(212) 555-0177", "12125550177", "+1 212 555 0177"])
def test_the_senders_number_is_read_as_it_is_dialled_here(clinic: Clinic, number: str) -> None:
    tell(clinic.setup, received(clinic.account.phone_number, from_number=number, number=number))
    apply_due()
    assert (kept().contact.phone_number, kept().contact_number) == (CUSTOMER, CUSTOMER)


@pytest.mark.parametrize(
    "sender", ["pat@example.com", "urn:biz:1f2e", "72345", "Clinic", "+1212555017x", "tel:+12125550177;ext=5", "１２"]
)
def test_a_sender_that_is_no_phone_number_is_a_conflict_and_kept(clinic: Clinic, sender: str) -> None:
    tell(clinic.setup, received(clinic.account.phone_number, "hello from afar", from_number=sender, number=sender))
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.CONFLICT
    assert b"hello from afar" in bytes(event.body)
    assert not Contact.objects.exclude(pk=clinic.contact.pk).exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"group_id": "g-1"},
        {"group_id": "g-1", "number": [CUSTOMER, "+12125550178"], "to_number": ["a"], "sendblue_number": None},
        {"group_id": "g-1", "sendblue_number": "+12125550999"},
    ],
    ids=["one line", "lists of numbers", "unknown line"],
)
def test_a_group_message_is_a_conflict_and_kept(clinic: Clinic, fields: dict[str, Any]) -> None:
    make_line(clinic.setup)
    tell(clinic.setup, {**received(clinic.account.phone_number, "dear all"), **fields})
    apply_due()
    event = only_event()
    assert event.outcome == EventOutcome.CONFLICT
    assert "group" in event.detail
    assert b"dear all" in bytes(event.body)
    assert not Message.objects.exists()


def test_a_message_without_an_id_is_kept_for_a_person(clinic: Clinic) -> None:
    tell(clinic.setup, received(clinic.account.phone_number, "nameless", message_handle=""), topic="receive")
    apply_due()
    event = only_event()
    assert event.outcome in (EventOutcome.CONFLICT, EventOutcome.UNKNOWN)
    assert b"nameless" in bytes(event.body)
    assert not Message.objects.exists()


# --- what it says -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("👩‍👩‍👧‍👦 ❤️ 🇨🇭 👍🏽", "👩‍👩‍👧‍👦 ❤️ 🇨🇭 👍🏽"),
        ("ä" * 20_000, "ä" * 20_000),
        ("", ""),
        ("a\x00b", "ab"),
        ("half \ud83d pair", "half ? pair"),
        ("line\r\nline\u2028line\u202eeil", "line\r\nline\u2028line\u202eeil"),
        ("{IM#2} is only text here", "{IM#2} is only text here"),
        ("'; DROP TABLE messaging_message; --", "'; DROP TABLE messaging_message; --"),
    ],
    ids=["emoji", "20,000 characters", "empty", "NUL", "half a pair", "controls", "override", "SQL"],
)
def test_any_text_is_kept_as_it_is(clinic: Clinic, api: APIClient, text: str, stored: str) -> None:
    tell(clinic.setup, received(clinic.account.phone_number, text))
    apply_due()
    assert kept().text == stored
    assert listed(api)[0]["text"] == stored


def test_a_flood_of_files_keeps_the_message_and_the_first_of_them(clinic: Clinic) -> None:
    links = [f"a{number}" for number in range(60_000)]
    assert tell(clinic.setup, received(clinic.account.phone_number, "look", media_urls=links)).status_code == 200
    apply_due()
    assert kept().text == "look"
    assert list(kept().attachments.order_by("order").values_list("url", flat=True)) == links[:50]


def test_what_came_in_cannot_be_cancelled_and_is_never_sent(clinic: Clinic, api: APIClient) -> None:
    tell(clinic.setup, received(clinic.account.phone_number))
    apply_due()
    message = kept()
    assert api.post(f"{MESSAGES}{message.pk}/cancel/").status_code == 409
    assert work_once() == 0
    message.refresh_from_db()
    assert (message.dispatch_state, message.due_at) == (DispatchState.RECEIVED, None)


def test_a_status_about_a_received_message_changes_nothing(clinic: Clinic) -> None:
    body = received(clinic.account.phone_number)
    tell(clinic.setup, body)
    apply_due()
    tell(clinic.setup, status(body["message_handle"], "ERROR", error_code=10001))
    apply_due()
    assert kept().status == "received"
    assert not kept().conflict
