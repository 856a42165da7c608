"""Changing a message before it leaves: over HTTP, against workers, and what a scheduled one is when it falls due."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from messaging import services
from messaging.delivery import claiming
from messaging.models import DispatchState, Message
from routing import services as routing
from routing.models import Account, AuditEntry, Location
from routing.quiet_hours import DAYS
from tests.factories import Clinic, make_account, make_contact, make_line, make_message
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import CUSTOMER

MESSAGES = "/api/v1/messages/"
HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=60)


def later(hours: float = 2) -> datetime:
    """A moment to come, without its seconds."""
    return (timezone.now() + hours * HOUR).replace(second=0, microsecond=0)


def schedule(clinic: Clinic, text: str = "before", **fields: Any) -> Message:
    """A scheduled message of the clinic."""
    wanted = services.NewMessage(to=clinic.contact.phone_number, text=text, **{"scheduled_at": later()} | fields)
    return services.send(location=clinic.location, wanted=wanted, now=timezone.now())


def second_account(clinic: Clinic) -> Account:
    """Account 2 of the clinic, which can send."""
    account = make_account(clinic.location)
    make_line(clinic.setup, account=account)
    return account


def change(api: APIClient, message: Message, **fields: Any) -> Any:
    """The answer to PATCH; moments as text."""
    body = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    return api.patch(f"{MESSAGES}{message.pk}/", body)


def fresh(message: Message) -> Message:
    """The message as it stands."""
    return Message.objects.get(pk=message.pk)


def told(message: Message) -> list[AuditEntry]:
    """What the trail says of it."""
    return list(AuditEntry.objects.filter(object_id=str(message.pk)).order_by("id"))


# --- what can be changed ----------------------------------------------------------------------------------------------
def test_text_and_times_of_a_scheduled_message_are_changed(clinic: Clinic, api: APIClient) -> None:
    message = schedule(clinic)
    at, until = later(5), later(9)
    answer = change(api, message, text="after", scheduled_at=at, expires_at=until)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["text"], body["status"]) == ("after", "scheduled")
    assert [datetime.fromisoformat(body[name]) for name in ("scheduled_at", "scheduled_for", "expires_at")] == [
        at, at, until,
    ]  # fmt: skip
    assert body["edited_at"] is not None
    assert fresh(message).due_at == at
    [entry] = told(message)
    assert set(entry.changes) == {"text", "scheduled_at", "expires_at"}
    assert entry.changes["text"] is None
    assert entry.actor == "API key CRM"
    for word in ("before", "after", clinic.contact.phone_number):
        assert word not in f"{entry.changes} {entry.object_name}"


def test_the_same_change_again_changes_nothing(clinic: Clinic, api: APIClient) -> None:
    second_account(clinic)
    message = schedule(clinic)
    asked = {"text": "after {IM#2}", "scheduled_at": later(5), "expires_at": None}
    first, again = change(api, message, **asked), change(api, message, **asked)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert len(told(message)) == 1
    assert change(api, message).json() == first.json()


def test_what_is_not_named_stays(clinic: Clinic, api: APIClient) -> None:
    until = later(30)
    message = schedule(clinic, expires_at=until)
    change(api, message, text="after")
    assert (fresh(message).scheduled_at, fresh(message).expires_at) == (message.scheduled_at, until)
    change(api, message, scheduled_at=later(5))
    assert (fresh(message).text, fresh(message).expires_at) == ("after", until)


def test_an_expiry_that_nobody_asked_for_is_counted_anew(clinic: Clinic, api: APIClient) -> None:
    message, at = schedule(clinic), later(50)
    change(api, message, scheduled_at=at)
    assert fresh(message).expires_at == at + settings.HUB_MESSAGE_LIFETIME
    change(api, message, expires_at=at + HOUR)
    change(api, message, expires_at=None)
    assert fresh(message).expires_at == at + settings.HUB_MESSAGE_LIFETIME


def test_a_message_that_is_not_scheduled_any_more_joins_the_queue_behind_the_others(
    clinic: Clinic, api: APIClient
) -> None:
    message = schedule(clinic)
    first = services.send(
        location=clinic.location,
        wanted=services.NewMessage(to=clinic.contact.phone_number, text="first"),
        now=timezone.now(),
    )
    answer = change(api, message, scheduled_at=None)
    assert (answer.json()["status"], answer.json()["scheduled_for"]) == ("queued", None)
    assert list(claiming.claim_due(limit=5, lease=LEASE)) == [first]
    Message.objects.filter(pk=first.pk).update(dispatch_state=DispatchState.ACCEPTED)
    assert list(claiming.claim_due(limit=5, lease=LEASE)) == [message]


def test_a_message_that_waits_for_quiet_hours_is_changed_and_scheduled(clinic: Clinic, api: APIClient) -> None:
    now = timezone.now().astimezone(UTC)
    hours = [{"days": list(DAYS), "from": f"{now - HOUR:%H:%M}", "to": f"{now + HOUR:%H:%M}"}]
    Location.objects.filter(pk=clinic.location.pk).update(quiet_hours=hours, time_zone="UTC")
    message_id = api.post(MESSAGES, clinic.text("before")).json()["id"]
    message = Message.objects.get(pk=message_id)
    assert change(api, message, text="after").json()["text"] == "after"
    moved = change(api, message, scheduled_at=now + 25 * HOUR - timedelta(minutes=30)).json()
    assert (moved["status"], moved["code"]) == ("scheduled", "quiet_hours")
    assert datetime.fromisoformat(moved["scheduled_for"]) == (now + 25 * HOUR).replace(second=0, microsecond=0)


# --- overrides --------------------------------------------------------------------------------------------------------
def test_an_override_stays_unless_the_new_text_has_one(clinic: Clinic, api: APIClient) -> None:
    second, third = second_account(clinic), second_account(clinic)
    message = schedule(clinic, "before {IM#2}")
    assert change(api, message, text="after").json()["account"]["index"] == second.index
    body = change(api, message, text="once {TEMP-IM#3} more").json()
    assert (body["text"], body["account"]["index"]) == ("once more", third.index)
    assert body["routing"]["rule"] == "temporary_override"
    row = fresh(message)
    assert (row.override_index, row.temporary_override_index, row.rule) == (None, 3, "temporary_override")


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"text": "to {IM#}"}, 400, "override_malformed", "text"),
        ({"text": "to {IM#1} and {IM#2}"}, 400, "override_conflict", "text"),
        ({"text": "x" * 20_000}, 400, "text_too_long", "text"),
        ({"text": "  "}, 400, "empty_message", "text"),
        ({"text": "{IM#1}"}, 400, "empty_message", "text"),
        ({"text": "to {IM#7}"}, 422, "override_account_not_found", None),
        ({"text": None}, 400, "null", "text"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, 400, "scheduled_in_past", "scheduled_at"),
        ({"scheduled_at": "2126-01-01T00:00:00Z"}, 400, "scheduled_too_far", "scheduled_at"),
        ({"scheduled_at": "tomorrow"}, 400, "invalid", "scheduled_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400, "expires_before_due", "expires_at"),
        ({"expires_at": "2126-01-01T00:00:00Z"}, 400, "expires_too_late", "expires_at"),
        ({"to": "+12125550100"}, 400, "unknown_field", "to"),
        ({"status": "queued"}, 400, "unknown_field", "status"),
    ],
)
def test_what_sending_refuses_is_refused_here_and_nothing_changes(
    clinic: Clinic, api: APIClient, fields: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    message = schedule(clinic)
    before = Message.objects.filter(pk=message.pk).values().get()
    answer = change(api, message, **fields)
    assert answer.status_code == status, answer.content
    codes = {error["code"] for error in answer.json().get("errors", [])} | {answer.json()["code"]}
    assert code in codes
    if field is not None:
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert Message.objects.filter(pk=message.pk).values().get() == before
    assert told(message) == []


def test_an_expiry_that_was_given_may_have_to_move_along(clinic: Clinic, api: APIClient) -> None:
    message = schedule(clinic, expires_at=later(3))
    answer = change(api, message, scheduled_at=later(5))
    assert (answer.status_code, answer.json()["code"]) == (400, "expires_before_due")
    assert change(api, message, scheduled_at=later(5), expires_at=later(6)).status_code == 200


def test_a_text_whose_braces_are_text_stays_one(clinic: Clinic, api: APIClient) -> None:
    message = schedule(clinic, "{IM#9}", parse_overrides=False)
    assert change(api, message, text="keep {IM#8}").json()["text"] == "keep {IM#8}"
    assert fresh(message).override_index is None


# --- what cannot ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "columns",
    [
        {"dispatch_state": state, "due_at": None}
        for state in DispatchState
        if state not in (DispatchState.SCHEDULED, DispatchState.QUEUED, DispatchState.RECEIVED)
    ]
    + [
        {"dispatch_state": DispatchState.QUEUED, "due_at": timezone.now() - HOUR},
        {"dispatch_state": DispatchState.QUEUED, "due_at": timezone.now() + HOUR, "attempt_count": 1},
        {"dispatch_state": DispatchState.SCHEDULED, "due_at": timezone.now() + HOUR, "exempt_from_opt_out": True},
    ],
    ids=lambda columns: "-".join(str(value) for value in columns.values() if not isinstance(value, datetime)),
)
def test_what_may_have_left_or_never_will_is_not_changed(
    clinic: Clinic, api: APIClient, columns: dict[str, Any]
) -> None:
    message = make_message(clinic.contact, account=clinic.account, text="before", **columns)
    answer = change(api, message, text="after")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_editable")
    assert fresh(message).text == "before"


def test_a_received_message_is_not_changed(clinic: Clinic, api: APIClient) -> None:
    message = make_message(clinic.contact, account=clinic.account, received=True, text="theirs")
    assert change(api, message, text="ours").status_code == 409


def test_others_find_nothing_to_change(clinic: Clinic, api_as: Callable[..., APIClient]) -> None:
    message = schedule(clinic)
    assert change(api_as(clinic.other_key), message, text="theirs").status_code == 404
    assert change(api_as(None), message, text="nobody's").status_code == 401
    viewer = api_as(None)
    viewer.force_authenticate(clinic.viewer)
    assert change(viewer, message, text="looked at").status_code == 403
    assert fresh(message).text == "before"


# --- against workers --------------------------------------------------------------------------------------------------
def test_a_claim_that_comes_between_wins(clinic: Clinic, api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row moves on after it was read and before it is written."""
    from messaging import editing

    message = schedule(clinic)
    times = editing._times

    def claimed_meanwhile(*args: Any) -> dict[str, Any]:
        Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.CLAIMED)
        return times(*args)

    monkeypatch.setattr(editing, "_times", claimed_meanwhile)
    answer = change(api, message, text="after")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_editable")
    assert (fresh(message).text, told(message)) == ("before", [])


def test_a_change_that_comes_between_is_built_upon(
    clinic: Clinic, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from messaging import editing

    message, at = schedule(clinic), later(7)
    times = editing._times
    calls: list[Any] = []

    def moved_meanwhile(*args: Any) -> dict[str, Any]:
        if not calls:
            Message.objects.filter(pk=message.pk).update(scheduled_at=at, due_at=at)
        calls.append(args)
        return times(*args)

    monkeypatch.setattr(editing, "_times", moved_meanwhile)
    assert change(api, message, text="after").status_code == 200
    assert (fresh(message).text, fresh(message).scheduled_at, len(calls)) == ("after", at, 2)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_claim_and_a_change_at_once_agree_on_what_leaves(
    clinic: Clinic, api_as: Callable[..., APIClient], in_threads: Callable[..., list[Any]]
) -> None:
    messages = []
    for _ in range(30):
        contact = make_contact(clinic.location)
        messages.append(
            make_message(
                contact,
                account=clinic.account,
                text="before",
                dispatch_state=DispatchState.SCHEDULED,
                scheduled_at=timezone.now() - HOUR,
                due_at=timezone.now() - HOUR,
                expires_at=timezone.now() + HOUR,
            )
        )

    def work(i: int) -> Any:
        if i == 0:
            taken: list[Message] = []
            while len(taken) < len(messages):
                taken += claiming.claim_due(limit=3, lease=LEASE)
            return taken
        client = api_as(clinic.key)
        return {message.pk: change(client, message, text=f"after {i}").status_code for message in messages[i - 1 :: 3]}

    claimed, *changed = in_threads(4, work)
    assert not isinstance(claimed, Exception), claimed
    answers = {pk: status for part in changed for pk, status in part.items()}
    assert set(answers.values()) <= {200, 409}
    for message in claimed:
        assert message.text.startswith("after" if answers[message.pk] == 200 else "before")
        assert fresh(message).text == message.text


# --- when it falls due ------------------------------------------------------------------------------------------------
def test_a_scheduled_message_is_decided_anew_when_it_is_due(hub: Hub) -> None:
    """Rules 3 to 6 by what holds then."""
    routing.set_default_account(account=hub.accounts[0], by=None)
    message = hub.send(CUSTOMER, "hello", scheduled_at=later().isoformat())
    assert message.account_id == hub.accounts[0].pk
    routing.set_default_account(account=hub.accounts[1], by=None)
    Message.objects.filter(pk=message.pk).update(due_at=timezone.now() - HOUR)
    sent = hub.work_until_status(message, "delivered")
    assert (sent.account_id, sent.rule) == (hub.accounts[1].pk, "default_account")
    assert hub.sandbox.ledger()[-1].from_number == hub.accounts[1].phone_number


@pytest.mark.parametrize("token", ["{IM#2}", "{TEMP-IM#2}"])
def test_the_override_it_was_given_stays(hub: Hub, token: str) -> None:
    routing.set_default_account(account=hub.accounts[0], by=None)
    message = hub.send(CUSTOMER, f"hello {token}", scheduled_at=later().isoformat())
    contact = message.contact
    routing.set_tags(contact=contact, names=[f"im: {hub.accounts[0].phone_number}"])
    Message.objects.filter(pk=message.pk).update(due_at=timezone.now() - HOUR)
    sent = hub.work_until_status(message, "delivered")
    assert hub.sandbox.ledger()[-1].from_number == hub.accounts[1].phone_number
    assert sent.rule == ("manual_override" if token.startswith("{IM") else "temporary_override")


def test_the_override_of_a_change_stays_too(hub: Hub) -> None:
    routing.set_default_account(account=hub.accounts[0], by=None)
    message = hub.send(CUSTOMER, "hello", scheduled_at=later().isoformat())
    answer = change(hub.api, message, text="changed {IM#2}")
    assert answer.status_code == 200, answer.content
    Message.objects.filter(pk=message.pk).update(due_at=timezone.now() - HOUR)
    hub.work_until_status(message, "delivered")
    left = hub.sandbox.ledger()[-1]
    assert (left.from_number, left.content) == (hub.accounts[1].phone_number, "changed")
