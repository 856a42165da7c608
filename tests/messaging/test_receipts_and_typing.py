"""Typing dots and read receipts, in both directions."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.conf import LazySettings
from django.utils import timezone

from messaging.delivery.duties import housekeeping
from messaging.delivery.worker import work_once
from messaging.models import Message, TypingNotice
from provisioning.models import EventOutcome, PhoneLine, ProviderEvent, Setup
from provisioning.providers.base import Capability
from provisioning.providers.sendblue import SendblueAdapter
from provisioning.sandbox.server import Sandbox
from provisioning.services import credentials_of, webhook_url
from routing.models import Account, Contact
from tests.factories import Clinic, make_api_key, make_contact, make_location
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import CUSTOMER, apply_due, iso, only_event, secret_of, tell

TYPING_AT_PROVIDER = "POST /api/send-typing-indicator"
READ_AT_PROVIDER = "POST /api/mark-read"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A provider that tells of typing."""
    with Sandbox(delivery_delay_s=0.01, retry_waits_s=(0.05, 0.1), allow_typing_webhook=True) as running:
        yield running


def reply(hub: Hub, text: str = "hello", *, to: int = 0) -> Message:
    """A message that the customer wrote to one of the accounts."""
    hub.sandbox.reply(from_number=CUSTOMER, to_number=hub.accounts[to].phone_number, text=text)
    hub.sandbox.drain_webhooks()
    work_once()
    message: Message = Message.objects.get(direction="inbound", text=text)
    return message


def types(hub: Hub, *, typing: bool = True) -> None:
    """The customer types to the first account, whose setup is told of it."""
    setup = hub.setups[0]
    credentials = credentials_of(Setup.objects.get(pk=setup.pk))
    entry = {"url": f"{webhook_url(setup)}?topic=typing_indicator", "secret": secret_of(setup)}
    registered = requests.post(
        f"{hub.sandbox.url}/api/account/webhooks",
        json={"webhooks": [entry], "type": "typing_indicator"},
        headers={"sb-api-key-id": credentials.key_id, "sb-api-secret-key": credentials.secret},
        timeout=5,
    )
    assert registered.status_code == 200
    before = ProviderEvent.objects.filter(type="typing_indicator").count()
    hub.sandbox.typing(from_number=CUSTOMER, to_number=hub.accounts[0].phone_number, typing=typing)
    hub.sandbox.drain_webhooks()
    assert ProviderEvent.objects.filter(type="typing_indicator").count() == before + 1
    work_once()


# --- the customer types -----------------------------------------------------------------------------------------------
def test_a_customer_who_types_is_noticed_and_forgotten(hub: Hub) -> None:
    message = reply(hub)
    types(hub)
    notice = TypingNotice.objects.get()
    assert (notice.contact, notice.account, notice.location) == (message.contact, hub.accounts[0], hub.location)
    assert timedelta(0) < notice.until - timezone.now() <= timedelta(seconds=60)
    types(hub)
    assert TypingNotice.objects.count() == 1
    types(hub, typing=False)
    assert not TypingNotice.objects.exists()


def test_the_message_ends_the_typing(hub: Hub) -> None:
    reply(hub)
    types(hub)
    assert TypingNotice.objects.exists()
    reply(hub, "there it is")
    assert not TypingNotice.objects.exists()


def test_a_notice_whose_time_is_over_is_cleared_away(hub: Hub) -> None:
    reply(hub)
    types(hub)
    assert TypingNotice.objects.update(until=timezone.now() - timedelta(seconds=1)) == 1
    housekeeping()
    assert not TypingNotice.objects.exists()


def typed(clinic: Clinic, **fields: Any) -> None:
    """A typing event of the clinic's contact."""
    number = clinic.contact.phone_number
    body = {
        "number": number,
        "from_number": number,
        "is_typing": True,
        "sendblue_number": clinic.account.phone_number,
        "timestamp": iso(timezone.now()),
    }
    tell(clinic.setup, body | fields, topic="typing_indicator")
    apply_due()


def test_typing_of_long_ago_shows_nothing(clinic: Clinic) -> None:
    typed(clinic, timestamp=iso(timezone.now() - timedelta(seconds=61)))
    assert not TypingNotice.objects.exists()


def test_an_event_that_lay_about_shows_nothing(clinic: Clinic) -> None:
    tell(clinic.setup, {"number": clinic.contact.phone_number, "is_typing": True}, topic="typing_indicator")
    ProviderEvent.objects.update(received_at=timezone.now() - timedelta(minutes=5))
    apply_due()
    assert not TypingNotice.objects.exists()
    # Fresh, the same is shown: without a number the setup's only line is meant.
    typed(clinic, sendblue_number="")
    assert TypingNotice.objects.get().account == clinic.account


def test_a_clock_that_is_ahead_does_not_make_the_dots_stay(clinic: Clinic) -> None:
    typed(clinic, timestamp=iso(timezone.now() + timedelta(days=3)))
    assert TypingNotice.objects.get().until <= timezone.now() + timedelta(seconds=60)


@pytest.mark.parametrize(
    "fields",
    [
        {"number": "+12125550999", "from_number": "+12125550999"},
        {"number": "pat@example.com", "from_number": "pat@example.com"},
        {"sendblue_number": "+12125550888"},
    ],
    ids=["stranger", "no number", "unknown line"],
)
def test_typing_that_nobody_can_place_is_let_go_at_once(clinic: Clinic, fields: dict[str, str]) -> None:
    typed(clinic, **fields)
    event = only_event()
    assert (event.outcome, event.due_at) == (EventOutcome.IGNORED, None)
    assert not TypingNotice.objects.exists()
    assert Contact.objects.count() == 1


# --- we type ----------------------------------------------------------------------------------------------------------
def typing_url(contact: Contact) -> str:
    return f"/api/v1/contacts/{contact.pk}/typing/"


def shown(hub: Hub) -> list[tuple[str, str]]:
    """Lines whose dots customers see now."""
    return [(one["line"], one["customer"]) for one in hub.sandbox.typing_now() if one["who"] == "business"]


def test_our_dots_reach_the_contact_and_go_out(hub: Hub) -> None:
    contact = reply(hub, to=1).contact
    assert hub.api.post(typing_url(contact), {"is_typing": True}).status_code == 204
    assert shown(hub) == [(hub.accounts[1].phone_number, CUSTOMER)]
    assert hub.api.post(typing_url(contact), {"is_typing": False}).status_code == 204
    assert shown(hub) == []
    assert Message.objects.filter(direction="outbound").count() == 0


def test_our_dots_leave_from_the_account_that_is_named(hub: Hub) -> None:
    contact = reply(hub, "one", to=0).contact
    reply(hub, "two", to=1)
    assert hub.api.post(typing_url(contact), {"is_typing": True, "account": 1}).status_code == 204
    assert shown(hub) == [(hub.accounts[0].phone_number, CUSTOMER)]


def test_nobody_types_to_one_who_opted_out(hub: Hub) -> None:
    contact = reply(hub, "STOP").contact
    answer = hub.api.post(typing_url(contact), {"is_typing": True})
    assert (answer.status_code, answer.json()["code"]) == (422, "contact_opted_out")
    assert hub.sandbox.requests()[TYPING_AT_PROVIDER] == 0


def test_another_locations_contact_is_not_typed_to(hub: Hub) -> None:
    stranger = make_contact(make_location())
    assert hub.api.post(typing_url(stranger), {"is_typing": True}).status_code == 404
    assert hub.sandbox.requests()[TYPING_AT_PROVIDER] == 0


# --- receipts ---------------------------------------------------------------------------------------------------------
def read_url(message: Message) -> str:
    return f"/api/v1/messages/{message.pk}/mark-read/"


def test_a_read_receipt_reaches_the_contact_once(hub: Hub) -> None:
    message = reply(hub, to=1)
    for _ in range(3):
        answer = hub.api.post(read_url(message))
        assert answer.status_code == 200
        assert [event["kind"] for event in answer.json()["events"]] == ["receipt"]
    assert hub.sandbox.requests()[READ_AT_PROVIDER] == 1
    [seen] = hub.sandbox.store.messages("is_outbound = 0")
    assert seen.read_at is not None


def test_only_a_received_message_is_marked_as_read(hub: Hub) -> None:
    message = hub.work_until_status(hub.send(CUSTOMER), "delivered")
    answer = hub.api.post(read_url(message))
    assert (answer.status_code, answer.json()["code"]) == (409, "not_inbound")
    assert hub.sandbox.requests()[READ_AT_PROVIDER] == 0


def test_another_locations_message_is_not_marked_as_read(hub: Hub, api_as: Any) -> None:
    message = reply(hub)
    _, foreign = make_api_key(make_location())
    assert api_as(foreign).post(read_url(message)).status_code == 404
    assert hub.sandbox.requests()[READ_AT_PROVIDER] == 0


# --- when it cannot be ------------------------------------------------------------------------------------------------
@pytest.fixture(params=["receipt", "typing"])
def door(hub: Hub, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], str, str]:
    """What to post where, and the endpoint of the provider that it leads to."""
    message = reply(hub)
    if request.param == "receipt":
        return read_url(message), {}, "/api/mark-read", READ_AT_PROVIDER
    return typing_url(message.contact), {"is_typing": True}, "/api/send-typing-indicator", TYPING_AT_PROVIDER


Door = tuple[str, dict[str, Any], str, str]


def refused(hub: Hub, door: Door) -> tuple[int, str]:
    """Status and code of the answer; no trace is left of what was not done."""
    answer = hub.api.post(door[0], door[1])
    assert not Message.objects.filter(events__kind="receipt").exists()
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("status", [400, 402, 403, 404, 422])
def test_what_the_provider_refuses_is_told(hub: Hub, door: Door, status: int) -> None:
    hub.sandbox.faults.fail_endpoint("POST", door[2], status)
    assert refused(hub, door) == (502, "provider_refused")
    assert hub.api.post(door[0], door[1]).status_code < 300
    # A feature that is refused stops no account.
    assert Account.objects.get(pk=hub.accounts[0].pk).can_send


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_provider_in_trouble_is_told(hub: Hub, door: Door, status: int) -> None:
    hub.sandbox.faults.fail_endpoint("POST", door[2], status)
    assert refused(hub, door) == (503, "provider_unavailable")
    assert hub.api.post(door[0], door[1]).status_code < 300


def test_a_provider_that_is_not_there_is_told(hub: Hub, door: Door, settings: LazySettings) -> None:
    there, settings.SENDBLUE = settings.SENDBLUE, {**settings.SENDBLUE, "base_url": "http://127.0.0.1:9"}
    assert refused(hub, door) == (503, "provider_unavailable")
    settings.SENDBLUE = there
    assert hub.api.post(door[0], door[1]).status_code < 300


def test_an_account_that_cannot_send_gives_no_sign(hub: Hub, door: Door) -> None:
    Account.objects.filter(location=hub.location).update(connected=False)
    status, code = refused(hub, door)
    assert (status, code) in [(409, "account_not_connected"), (422, "no_connected_account")]
    assert hub.sandbox.requests()[door[3]] == 0


def test_an_account_without_a_line_gives_no_sign(hub: Hub, door: Door) -> None:
    PhoneLine.objects.all().delete()
    assert refused(hub, door) == (409, "account_not_connected")
    assert hub.sandbox.requests()[door[3]] == 0


def test_what_a_provider_cannot_do_is_told(hub: Hub, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SendblueAdapter, "capabilities", Capability.CALLBACK_URL)
    assert refused(hub, door) == (409, "not_supported")
    assert hub.sandbox.requests()[door[3]] == 0
