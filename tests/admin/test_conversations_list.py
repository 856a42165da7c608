"""The list of conversations: the liveliest first, found by contact, limited to the user's locations, never counted."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import threads
from messaging.models import Thread
from routing.models import Contact, Location, Membership, Role, User
from tests.admin.world import World, send_message, sign_in, url
from tests.factories import make_account, make_contact, make_location, make_member, make_message


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def receive(contact: Contact, text: str = "hi there", **columns: object) -> None:
    """A message of the contact's that nobody has looked at."""
    account = columns.pop("account", None) or make_account(contact.location)
    message = make_message(contact, account=account, received=True, text=text, **columns)  # type: ignore[arg-type]
    threads.note_message(message, at=timezone.now(), unread=True)


def rows(client: Client, **query: str) -> list[str]:
    """Each row's words."""
    content = client.get(url("thread"), query).content.decode().split('id="threads"')[1]
    found = re.findall(r"<li>(.*?)</li>", content.split("</ul>")[0], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_a_row_says_who_what_when_from_where(client: Client, ours: World) -> None:
    receive(ours.contact, "Is it\nready?", account=ours.account)
    [row] = rows(client)
    assert "Patient ours" in row
    assert f"({ours.contact.phone_number[2:5]})" in row
    assert "They wrote: Is it ready?" in row
    assert "1 unread" in row
    assert f"{ours.account.index} · Desk ours" in row


def test_what_we_wrote_last_tells_its_status(client: Client, ours: World) -> None:
    [row] = rows(client)
    assert "We wrote: words ours" in row
    assert "queued" in row
    assert "unread" not in row


def test_the_liveliest_stands_first_and_older_ones_follow(client: Client, ours: World) -> None:
    first = make_contact(ours.location, name="Zoe First")
    send_message(ours.location, first)
    assert [row.split()[1] for row in rows(client)] == ["Zoe", "Patient"]
    send_message(ours.location, ours.contact)
    assert [row.split()[1] for row in rows(client)] == ["Patient", "Zoe"]
    for number in range(50):
        send_message(ours.location, make_contact(ours.location, name=f"Person {number}"))
    content = client.get(url("thread")).content.decode()
    older = re.search(r'href="(\?before=[^"]+)" rel="next"', content)
    assert older is not None
    assert "Zoe First" in client.get(url("thread") + older.group(1)).content.decode()
    assert len(rows(client)) == 50


def test_found_by_name_and_by_number(client: Client, ours: World) -> None:
    other = make_contact(ours.location, name="Zoe Miller")
    send_message(ours.location, other)
    digits = other.phone_number[2:]
    for term in ("zoe", "MILLER", other.phone_number, f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"):
        assert [row.split()[1] for row in rows(client, q=term)] == ["Zoe"], term
    assert "Nothing matches" in client.get(url("thread"), {"q": "words ours"}).content.decode()


def test_filtered_by_unread_and_account(client: Client, ours: World) -> None:
    second = make_account(ours.location, label="Second")
    other = make_contact(ours.location, name="Zoe Miller")
    receive(other, account=second)
    assert len(rows(client)) == 2
    assert [row.split()[1] for row in rows(client, unread="yes")] == ["Zoe"]
    assert [row.split()[1] for row in rows(client, last_message__account__id__exact=str(second.pk))] == ["Zoe"]


def test_the_side_bar_counts_what_is_unread(client: Client, ours: World) -> None:
    receive(make_contact(ours.location), account=ours.account)
    content = client.get("/admin/").content.decode()
    assert re.search(r'Conversations.{0,40}<span class="hub-count"[^>]*>1<', content, re.DOTALL)


def test_an_empty_list_says_what_to_do(ours: World) -> None:
    location = make_location()
    content = sign_in(make_member(location, Role.AGENT)).get(url("thread")).content.decode()
    assert "No conversations yet" in content
    assert "/admin/messaging/thread/new/" in content
    assert "thread/new/" not in sign_in(make_member(location, Role.VIEWER)).get(url("thread")).content.decode()


def test_nobody_sees_another_location_or_finds_it(client: Client, ours: World, theirs: World) -> None:
    for query in ({}, {"q": "CANARY"}, {"q": theirs.contact.phone_number}, {"unread": "yes"}):
        assert not any("CANARY" in row for row in rows(client, **query) if "threads" not in row), query
    account = {"last_message__account__id__exact": str(theirs.account.pk)}
    assert b"Patient CANARY" not in client.get(url("thread"), account).content


def test_the_list_costs_the_same_for_three_and_for_thirty_and_counts_nothing(ours: World) -> None:
    def cost() -> list[str]:
        client = sign_in(User.objects.get(pk=ours.agent.pk))
        with CaptureQueriesContext(connection) as seen:
            client.get(url("thread"))
        return [query["sql"] for query in seen]

    for count in (3, 30):
        for _ in range(count):
            contact = make_contact(ours.location)
            receive(contact)
            send_message(ours.location, contact)
        if count == 3:
            few = cost()
    many = cost()
    assert len(few) == len(many)
    assert not [sql for sql in many if "COUNT(" in sql and "LIMIT" not in sql.upper()]


def test_members_of_two_locations_see_where_each_is_held(ours: World, theirs: World) -> None:
    Membership.objects.create(location=theirs.location, user=ours.agent, role=Role.VIEWER)
    client = sign_in(User.objects.get(pk=ours.agent.pk))
    seen = rows(client)
    assert ["Clinic ours" in " ".join(seen), "Clinic CANARY" in " ".join(seen)] == [True, True]
    assert len(rows(client, location__id__exact=str(ours.location.pk))) == 1


def test_times_stand_in_the_zone_of_the_location(client: Client, ours: World) -> None:
    Location.objects.filter(pk=ours.location.pk).update(time_zone="Asia/Tokyo")
    noon = timezone.now().replace(hour=12, minute=0) - timedelta(days=2)
    Thread.objects.filter(pk=ours.contact.pk).update(last_at=noon)
    assert "9:00 PM" in rows(client)[0]
