"""A message that waits: why, until when, and the page that changes it; and the composer that sends later."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from messaging.composer import new_token
from messaging.models import DispatchState, Message
from routing.models import AuditEntry, Location
from routing.quiet_hours import DAYS
from tests.admin.test_conversations import bubble, words
from tests.admin.world import World, operation, send_message, sign_in, url

HOUR = timedelta(hours=1)
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def later(hours: float = 30) -> datetime:
    """A moment to come, without its seconds."""
    return (timezone.now() + hours * HOUR).replace(second=0, microsecond=0)


def local(moment: datetime) -> str:
    """As the browser's picker writes it, on the location's clocks."""
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%dT%H:%M}"


def scheduled(world: World, **wanted: Any) -> Message:
    """A scheduled message, at a moment with seconds."""
    at = later() + timedelta(seconds=17)
    return send_message(world.location, world.contact, "before", **{"scheduled_at": at} | wanted)


def fresh(message: Message) -> Message:
    """The message as it stands."""
    return Message.objects.get(pk=message.pk)


def hush(world: World) -> None:
    """It is quiet in the location for another two hours."""
    now = timezone.now().astimezone(NEW_YORK)
    hours = [{"days": list(DAYS), "from": f"{now - HOUR:%H:%M}", "to": f"{now + 2 * HOUR:%H:%M}"}]
    Location.objects.filter(pk=world.location.pk).update(quiet_hours=hours)
    world.location.refresh_from_db()


# --- why it waits -----------------------------------------------------------------------------------------------------
def test_everywhere_it_is_told_until_when_a_message_waits_and_why(client: Client, ours: World) -> None:
    hush(ours)
    message = send_message(ours.location, ours.contact)
    page = words(client.get(url("message", "change", message.pk)).content.decode())
    assert "Leaves Quiet hours: waits until" in page
    assert "Quiet hours: waits until" in words(bubble(client, ours, message))
    assert "Quiet hours: waits until" in words(client.get(url("message")).content.decode())


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"attempt_count": 1, "code": "provider_busy"}, "Tried again"),
        ({"code": "new_contacts_used_up"}, "New contacts of its line are used up: waits until"),
        ({"code": "quiet_hours_unclear"}, "Quiet hours cannot be read; looked at again"),
        ({"dispatch_state": "scheduled"}, "Scheduled for"),
        ({"dispatch_state": "scheduled", "code": "quiet_hours"}, "Scheduled; quiet hours until"),
    ],
)
def test_each_reason_has_its_words(client: Client, ours: World, columns: dict[str, Any], why: str) -> None:
    Message.objects.filter(pk=ours.message.pk).update(due_at=later(), **columns)
    assert why in words(bubble(client, ours, ours.message))


def test_what_waits_for_nothing_says_nothing(client: Client, ours: World) -> None:
    told = words(bubble(client, ours, ours.message))
    assert "Sending" in told
    assert "Change" not in told
    assert "Leaves" not in words(client.get(url("message", "change", ours.message.pk)).content.decode())


# --- changing it ------------------------------------------------------------------------------------------------------
def test_a_scheduled_message_is_changed_from_its_conversation(client: Client, ours: World) -> None:
    message, at = scheduled(ours), later(40)
    door = f"{url('message', 'edit', message.pk)}?from=conversation"
    assert door in bubble(client, ours, message)
    form = client.get(door).content.decode()
    assert ">before</textarea>" in form.replace("\n", "")
    assert f'value="{local(later())}"' in form
    assert "America/New York" in form
    answer = client.post(door, {"text": "one\r\ntwo", "scheduled_at": local(at), "expires_at": ""})
    assert (answer.status_code, answer["Location"]) == (302, url("thread", "change", ours.contact.pk))
    changed = fresh(message)
    assert (changed.text, changed.scheduled_at, changed.due_at) == ("one\ntwo", at, at)
    [entry] = AuditEntry.objects.all()
    assert (entry.user, entry.detail) == (ours.agent, "Changed before it left.")
    assert "two" not in str(entry.changes)


def test_what_nobody_touched_is_not_changed(client: Client, ours: World) -> None:
    """Not the seconds that the picker doesn't show, and not the lines of the text."""
    message = scheduled(ours, expires_at=later(50) + timedelta(seconds=5))
    Message.objects.filter(pk=message.pk).update(text="one\ntwo")
    door = url("message", "edit", message.pk)
    same = {"scheduled_at": local(later()), "expires_at": local(later(50)), "text": "one\r\ntwo"}
    before = Message.objects.filter(pk=message.pk).values().get()
    answer = client.post(door, same)
    assert (answer.status_code, answer["Location"]) == (302, url("message", "change", message.pk))
    assert Message.objects.filter(pk=message.pk).values().get() == before
    assert not AuditEntry.objects.exists()


def test_it_may_leave_at_once_or_until_another_time(client: Client, ours: World) -> None:
    message = scheduled(ours)
    until = later(60)
    data = {"text": "before", "scheduled_at": "", "expires_at": local(until)}
    client.post(url("message", "edit", message.pk), data)
    changed = fresh(message)
    assert (changed.dispatch_state, changed.expires_at, changed.expiry_given) == (DispatchState.QUEUED, until, True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"text": "to {IM#}"}, "{IM#"),
        ({"text": " "}, "The message has neither text nor media."),
        ({"text": "to {IM#9}"}, "account 9"),
        ({"scheduled_at": "2020-01-01T10:00"}, "The time to send it must be in the future."),
        ({"scheduled_at": "soon"}, "Enter a valid date/time."),
        ({"scheduled_at": "2027-03-14T02:30"}, "America/New_York"),  # the clocks jump over it
        ({"expires_at": "2020-01-01T10:00"}, "choose a later time, or leave this empty"),
    ],
)
def test_what_is_wrong_is_told_at_the_form(client: Client, ours: World, fields: dict[str, str], told: str) -> None:
    message = scheduled(ours)
    data = {"text": "before", "scheduled_at": local(later()), "expires_at": ""} | fields
    answer = client.post(url("message", "edit", message.pk), data)
    assert answer.status_code == 200
    assert told in words(answer.content.decode())
    assert fresh(message).text == "before"
    assert fresh(message).edited_at is None


def test_one_that_left_meanwhile_is_told_and_left_alone(client: Client, ours: World) -> None:
    message = scheduled(ours)
    Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.SENDING)
    door = url("message", "edit", message.pk)
    for answer in (client.get(door, follow=True), client.post(door, {"text": "after"}, follow=True)):
        assert "can be changed" in words(answer.content.decode())
    assert fresh(message).text == "before"
    assert door not in client.get(url("message", "change", message.pk)).content.decode()


def test_others_change_nothing(ours: World, theirs: World) -> None:
    message = scheduled(ours)
    door = url("message", "edit", message.pk)
    assert sign_in(ours.viewer).post(door, {"text": "looked at"}).status_code == 403
    assert sign_in(theirs.admin).post(door, {"text": "theirs"}).status_code == 404
    assert door not in bubble(sign_in(ours.viewer), ours, message)
    assert door not in sign_in(ours.viewer).get(url("message", "change", message.pk)).content.decode()
    assert fresh(message).text == "before"


def test_cancelling_from_the_conversation_leads_back_to_it(client: Client, ours: World) -> None:
    message = scheduled(ours)
    door = f"{operation('message', message.pk, 'cancel')}?from=conversation"
    assert door in bubble(client, ours, message)
    answer = client.post(door)
    assert (answer.status_code, answer["Location"]) == (302, url("thread", "change", ours.contact.pk))
    assert fresh(message).status == "cancelled"


def test_a_change_is_a_sign_for_pages_that_are_open(client: Client, ours: World) -> None:
    message = scheduled(ours)
    live = url("thread", "live", ours.contact.pk)
    page = client.get(live).content.decode()
    version = page.split('data-version="')[1].split('"')[0]
    assert client.get(live, {"v": version}).status_code == 204
    data = {"text": "after", "scheduled_at": local(later()), "expires_at": ""}
    client.post(url("message", "edit", message.pk), data)
    assert client.get(live, {"v": version}).status_code == 200


# --- the composer -----------------------------------------------------------------------------------------------------
def compose(client: Client, world: World, **fields: Any) -> Any:
    """The answer to sending from the composer."""
    return client.post(url("thread", "send", world.contact.pk), {"text": "later", "token": new_token()} | fields)


def test_the_composer_sends_at_a_time_on_the_locations_clocks(client: Client, ours: World) -> None:
    at = later()
    assert compose(client, ours, scheduled_at=local(at)).status_code == 302
    message = ours.contact.messages.get(text="later")
    assert (message.status, message.scheduled_at) == ("scheduled", at)
    assert compose(client, ours, text="now", scheduled_at="").status_code == 302
    assert ours.contact.messages.get(text="now").status == "queued"


def test_the_same_token_with_another_time_is_another_request(client: Client, ours: World) -> None:
    token = new_token()
    compose(client, ours, token=token, scheduled_at=local(later()))
    compose(client, ours, token=token, scheduled_at=local(later()))
    assert compose(client, ours, token=token, scheduled_at=local(later(31))).status_code == 422
    assert ours.contact.messages.filter(text="later").count() == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("2020-01-01T10:00", "The time to send it must be in the future."),
        ("2027-03-14T02:30", "that the clocks show once"),
        ("2026-11-01T01:30", "that the clocks show once"),
        ("soon\0", "Choose a day and a time"),
        ("9999-12-31T23:59", "within a year"),
    ],
)
def test_a_time_that_cannot_be_is_refused_and_what_was_typed_stays(
    client: Client, ours: World, typed: str, told: str
) -> None:
    answer = compose(client, ours, scheduled_at=typed)
    assert answer.status_code == 400
    shown = answer.content.decode()
    assert told in words(shown)
    assert ">later</textarea>" in shown
    assert not ours.contact.messages.filter(text="later").exists()


def test_the_clocks_are_those_of_the_location(client: Client, ours: World) -> None:
    """What is typed is the location's time, whoever types it."""
    Location.objects.filter(pk=ours.location.pk).update(time_zone="Asia/Kolkata")
    at = later()
    compose(client, ours, scheduled_at=f"{at.astimezone(ZoneInfo('Asia/Kolkata')):%Y-%m-%dT%H:%M}")
    assert ours.contact.messages.get(text="later").scheduled_at == at.astimezone(UTC)
