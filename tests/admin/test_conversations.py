"""A conversation: what each bubble says, what is unread, and who may look."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import threads
from messaging.models import (
    Attachment,
    DispatchState,
    EventKind,
    Message,
    MessageEvent,
    Reaction,
    Thread,
    TypingNotice,
)
from routing.models import Location, User
from tests.admin.world import World, send_message, sign_in, url
from tests.factories import make_account, make_contact, make_message


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def page(client: Client, world: World, **query: Any) -> str:
    """The conversation's page."""
    answer = client.get(url("thread", "change", world.contact.pk), query)
    assert answer.status_code == 200
    content: str = answer.content.decode()
    return content


def bubble(client: Client, world: World, message: Message) -> str:
    """One bubble with all that stands at it."""
    return page(client, world).split(f'id="m-{message.pk}"')[1].split("\n</li>")[0]


def words(markup: str) -> str:
    """What people read."""
    plain = re.sub(r"<[^>]+>", " ", markup.replace("&#x27;", "'"))
    return " ".join(plain.split())


def inbound(world: World, text: str = "hi there", **columns: Any) -> Message:
    """A message of the contact's that nobody has looked at."""
    columns.setdefault("account", world.account)
    message = make_message(world.contact, received=True, text=text, **columns)
    threads.note_message(message, at=timezone.now(), unread=True)
    return message


def change(message: Message, **columns: Any) -> None:
    """The message as it stands after that."""
    Message.objects.filter(pk=message.pk).update(**columns)


def test_ours_stand_on_one_side_and_theirs_on_the_other(client: Client, ours: World) -> None:
    theirs = inbound(ours)
    content = page(client, ours)
    assert re.search(rf'id="m-{ours.message.pk}" class="hub-said hub-said-ours"', content)
    assert re.search(rf'id="m-{theirs.pk}" class="hub-said hub-said-theirs"', content)
    assert content.index("words ours") < content.index("hi there")


def test_what_they_write_is_text_and_nothing_else(client: Client, ours: World) -> None:
    message = inbound(ours, "<script>alert(1)</script>\nsecond line")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\nsecond line" in bubble(client, ours, message)


@pytest.mark.parametrize(
    ("columns", "mark"),
    [
        ({}, "Sending"),
        ({"dispatch_state": "accepted"}, "On its way"),
        ({"dispatch_state": "accepted", "sent_at": "now"}, "Sent"),
        ({"dispatch_state": "accepted", "delivered_at": "now"}, "Delivered 9:05 AM"),
        ({"dispatch_state": "accepted", "delivered_at": "now", "read_at": "now"}, "Read 9:05 AM"),
        ({"dispatch_state": "scheduled", "scheduled_at": "now"}, "Scheduled Jun 1, 2026, 9:05 AM"),
        ({"dispatch_state": "cancelled"}, "Cancelled"),
        ({"dispatch_state": "expired"}, "Not sent in time"),
    ],
)
def test_each_state_has_its_mark(client: Client, ours: World, columns: dict[str, Any], mark: str) -> None:
    at = datetime(2026, 6, 1, 13, 5, tzinfo=UTC)  # 9:05 in New York
    change(ours.message, **{name: at if value == "now" else value for name, value in columns.items()})
    told = words(bubble(client, ours, ours.message))
    assert mark.replace(", 2026", "") in told.replace(", 2026", "")


def test_why_this_number_is_told_and_the_whole_trace_is_one_click_away(client: Client, ours: World) -> None:
    shown = bubble(client, ours, ours.message)
    summary = re.search(r"<summary[^>]*>(.*?)</summary>", shown, re.DOTALL)
    assert summary is not None
    number = ours.account.phone_number
    assert words(summary.group(1)) == (
        f"Sent from ({number[2:5]}) {number[5:8]}-{number[8:]} (account 1) because it is an account of the contact's"
        " assigned user."
    )
    assert number in summary.group(0)  # E.164 in the tooltip
    assert "account of the assigned user chosen" in words(shown)
    assert "default of the location not reached" in words(shown)


def test_a_failed_one_says_why_and_offers_to_try_again(client: Client, ours: World) -> None:
    message = send_message(ours.location, ours.contact, "x {IM#99}")
    told = words(bubble(client, ours, message))
    assert "Failed" in told
    assert "Not sent: this message asks for account 99" in told
    assert "Try again" in told
    assert "Try again" not in words(bubble(sign_in(ours.viewer), ours, message))


def test_why_the_provider_could_not_deliver_is_told_with_what_to_do(client: Client, ours: World) -> None:
    now = timezone.now()
    change(ours.message, dispatch_state=DispatchState.ACCEPTED, failed_at=now, failed_code="10001")
    told = words(bubble(client, ours, ours.message))
    assert "The message could not be delivered. Check the contact's number." in told
    change(ours.message, failed_code="odd")
    assert "The provider did not say why." in words(bubble(client, ours, ours.message))
    MessageEvent.objects.create(
        location=ours.location, message=ours.message, kind=EventKind.FAILED, at=now, detail="Their phone is off."
    )
    assert "Their phone is off." in words(bubble(client, ours, ours.message))


def test_an_uncertain_one_says_so_and_leads_to_its_evidence(client: Client, ours: World) -> None:
    change(ours.message, dispatch_state=DispatchState.UNCERTAIN, uncertain_at=timezone.now())
    shown = bubble(client, ours, ours.message)
    assert "Nobody knows yet whether this was sent." in words(shown)
    assert url("message", "change", ours.message.pk) in shown
    assert "Try again" not in shown


def test_a_reaction_sits_on_its_bubble_until_it_is_taken_back(client: Client, ours: World) -> None:
    reaction = Reaction.objects.create(location=ours.location, message=ours.message, emoji="💛", provider_id="r1")
    assert "Reaction: 💛" in words(bubble(client, ours, ours.message))
    Reaction.objects.filter(pk=reaction.pk).update(removed_at=timezone.now())
    assert "💛" not in bubble(client, ours, ours.message)


def test_pictures_are_shown_and_other_files_are_links(client: Client, ours: World) -> None:
    message = inbound(ours, "")
    rows = [("image/png", "p.png"), ("application/pdf", "p.pdf"), ("image/svg+xml", "p.svg")]
    for order, (content_type, name) in enumerate(rows):
        row = Attachment.objects.create(
            location=ours.location, message=message, order=order, url="https://x.test/1", content_type=content_type
        )
        row.file.save(name, ContentFile(b"x"))
    shown = bubble(client, ours, message)
    doors = [url("message", "attachment", message.pk, order) for order in range(3)]
    assert [f'<img src="{door}"' in shown for door in doors] == [True, False, False]
    assert all(f'href="{door}"' in shown for door in doors)


def test_days_are_those_of_the_location(client: Client, ours: World) -> None:
    Location.objects.filter(pk=ours.location.pk).update(time_zone="Asia/Tokyo")
    change(ours.message, created_at=datetime(2025, 3, 4, 14, 59, tzinfo=UTC))  # 23:59 there
    later = inbound(ours, created_at=datetime(2025, 3, 4, 15, 1, tzinfo=UTC))  # 00:01 the next day
    same = inbound(ours, created_at=datetime(2025, 3, 4, 16, 0, tzinfo=UTC))
    assert "Tuesday, March 4, 2025" in bubble(client, ours, ours.message)
    assert "Wednesday, March 5, 2025" in bubble(client, ours, later)
    assert "hub-day" not in bubble(client, ours, same)
    now = inbound(ours, created_at=timezone.now())
    assert "Today" in bubble(client, ours, now)


def test_a_change_of_the_number_is_told_between_the_bubbles(client: Client, ours: World) -> None:
    second = make_account(ours.location, label="Second")
    failed = send_message(ours.location, ours.contact, f"{{IM#{second.index}}} a")
    change(failed, dispatch_state=DispatchState.REJECTED)
    switched = send_message(ours.location, ours.contact, f"{{IM#{second.index}}} b")
    again = send_message(ours.location, ours.contact, f"{{IM#{second.index}}} c")
    back = inbound(ours)
    number = second.phone_number
    assert f"From here on from ({number[2:5]}) {number[5:8]}-{number[8:]}" in words(bubble(client, ours, switched))
    assert "From here on they write to" in words(bubble(client, ours, back))
    for silent in (ours.message, failed, again):
        assert "From here on" not in bubble(client, ours, silent)


def test_typing_shows_until_it_is_over(client: Client, ours: World) -> None:
    notice = TypingNotice.objects.create(
        location=ours.location,
        contact=ours.contact,
        account=ours.account,
        until=timezone.now() + timedelta(seconds=30),
    )
    assert "Patient ours is typing" in words(page(client, ours))
    TypingNotice.objects.filter(pk=notice.pk).update(until=timezone.now() - timedelta(seconds=1))
    assert "is typing" not in words(page(client, ours))


def test_older_ones_stand_on_pages_of_their_own(client: Client, ours: World) -> None:
    for number in range(70):
        make_message(ours.contact, account=ours.account, text=f"text {number:02}")
    newest = page(client, ours)
    assert newest.count('class="hub-said ') == 50
    assert "text 69" in newest
    assert "text 19" not in newest
    older = re.search(r"\?before=(\d+)", newest)
    assert older is not None
    before = page(client, ours, before=older.group(1))
    assert [f"text {number:02}" in before for number in (0, 19, 20)] == [True, True, False]
    assert "words ours" in before
    assert 'rel="prev"' not in before
    assert 'id="composer"' not in before
    for odd in ("x", "-1", "9" * 30, "\0", "٣"):
        assert "text 69" in page(client, ours, before=odd), odd


@pytest.mark.parametrize(("role", "left"), [("agent", 0), ("admin", 0), ("viewer", 2)])
def test_who_may_answer_makes_it_read_by_looking(ours: World, role: str, left: int) -> None:
    inbound(ours)
    inbound(ours)
    page(sign_in(getattr(ours, role)), ours)
    assert Thread.objects.get(pk=ours.contact.pk).unread_count == left


def test_the_facts_of_the_contact_stand_beside_it(client: Client, ours: World) -> None:
    told = words(page(client, ours))
    assert "vip ours" in told
    assert "First ours Last" in told
    assert "allowed" in told
    ours.contact.opted_out_at = timezone.now()
    ours.contact.save()
    assert "opted out" in words(page(client, ours))


def test_viewers_read_and_have_no_composer(ours: World) -> None:
    assert 'id="composer"' in page(sign_in(ours.agent), ours)
    content = page(sign_in(ours.viewer), ours)
    assert "words ours" in content
    assert 'id="composer"' not in content
    assert "<textarea" not in content


def test_a_foreign_one_is_as_absent_as_one_that_never_was(client: Client, theirs: World) -> None:
    for name in ("live", "preview", "send"):
        for pk in (theirs.contact.pk, uuid4(), "x", "%00"):
            for method in (client.get, client.post):
                assert method(f"/admin/messaging/thread/{pk}/{name}/").status_code == 404, (name, pk)
    again = f"/admin/messaging/thread/{theirs.contact.pk}/again/{theirs.message.pk}/"
    assert client.post(again).status_code == 404
    seen = client.get(url("thread", "change", theirs.contact.pk))
    unseen = client.get(url("thread", "change", uuid4()))
    assert (seen.status_code, seen["Location"]) == (unseen.status_code, unseen["Location"]) == (302, "/admin/")


def test_a_page_costs_the_same_for_three_and_for_fifty(ours: World) -> None:
    def cost() -> int:
        client = sign_in(User.objects.get(pk=ours.agent.pk))
        with CaptureQueriesContext(connection) as seen:
            page(client, ours)
        return len(seen)

    def add(count: int) -> None:
        for number in range(count):
            message = send_message(ours.location, ours.contact, f"text {number}")
            change(message, failed_at=timezone.now())
            Reaction.objects.create(location=ours.location, message=message, emoji="👍", provider_id=f"r{message.pk}")
            Attachment.objects.create(location=ours.location, message=message, url="https://x.test/1")

    add(3)
    few = cost()
    add(45)
    assert cost() == few


def test_its_messages_of_another_contact_are_not_in_it(client: Client, ours: World) -> None:
    other = make_contact(ours.location, name="Other")
    send_message(ours.location, other, "for somebody else")
    assert "for somebody else" not in page(client, ours)
