"""The desk in the admin: the evidence side by side, two decisions, and who may make them."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from messaging.models import Attempt, DispatchState, Message
from provisioning.models import EventOutcome
from routing.models import Account, AuditEntry, Contact
from tests.admin.world import World, make_event, operation, sign_in, url
from tests.factories import make_contact, make_message

DESK = reverse("admin:messaging_message_desk")
HOUR = timedelta(hours=1)


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def uncertain(world: World, text: str = "results are in", *, ago: timedelta = HOUR, **columns: Any) -> Message:
    """A message whose only attempt ended without an answer, so long ago."""
    at = timezone.now() - ago
    contact = columns.pop("contact", world.contact)
    message = make_message(
        contact,
        account=world.account,
        text=text,
        dispatch_state=DispatchState.UNCERTAIN,
        due_at=None,
        uncertain_at=at,
        lookup_at=None,
        code="timeout",
        detail="No answer came in time.",
        **columns,
    )
    Attempt.objects.create(
        location=world.location,
        message=message,
        account=world.account,
        fence=1,
        token_digest=f"digest-{message.pk}",
        started_at=at - timedelta(seconds=12.5),
        ended_at=at,
        outcome="uncertain",
        code="timeout",
        detail="Nobody answered.",
    )
    return Message.objects.get(pk=message.pk)


def words(client: Client, address: str = DESK) -> str:
    """The page's words, its markup taken out."""
    answer = client.get(address)
    assert answer.status_code == 200
    content = answer.content.decode().split('id="content-start"')[1]
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", content).split()))


def state(message: Message) -> str:
    """The dispatch state in the database."""
    return str(Message.objects.values_list("dispatch_state", flat=True).get(pk=message.pk))


# --- what lies there --------------------------------------------------------------------------------------------------
def test_it_shows_what_nobody_knows_about_the_longest_first(client: Client, ours: World, theirs: World) -> None:
    asked = uncertain(ours, "still asked after", ago=timedelta(minutes=1))
    Message.objects.filter(pk=asked.pk).update(lookup_at=timezone.now() + timedelta(minutes=1))
    uncertain(ours, "an hour old")
    uncertain(ours, "days old", ago=timedelta(days=3))
    uncertain(theirs, "CANARY text")
    told = words(client)
    places = [told.index(text) for text in ("days old", "an hour old", "still asked after")]
    assert places == sorted(places)
    assert told.count("to decide uncertain since") == 2
    assert told.index("still asking the provider") > places[1]
    assert "which has not found it so far; next" in told
    assert "not asked any more" in told
    assert "CANARY" not in told
    assert "words ours" not in told


def test_it_says_when_there_is_nothing_to_decide(client: Client, ours: World) -> None:
    assert "Nothing to decide" in words(client)


def test_the_evidence_stands_beside_it(client: Client, ours: World) -> None:
    lost = uncertain(ours)
    assert lost.uncertain_at is not None
    told = words(client)
    for clue in ("Nobody answered.", "no clear answer", "took 12.5 s", "No notice of any message", "Nothing later in"):
        assert clue in told, clue

    common: dict[str, Any] = {"provider_id": "somebody-elses", "received_at": lost.uncertain_at + timedelta(minutes=1)}
    make_event(ours.setup, type="odd_status", outcome=EventOutcome.WAITING, **common)
    make_event(ours.setup, type="status", outcome=EventOutcome.APPLIED, **common)
    make_event(ours.setup, type="later_status", **common | {"received_at": timezone.now()})
    make_message(
        ours.contact, account=ours.account, text="later", dispatch_state="accepted", delivered_at=lost.created_at
    )
    make_message(ours.contact, account=ours.account, received=True, text="got <it>, thanks")
    told = words(client)
    for clue in (
        "An unexplained notice came, odd_status",
        "Notices of other messages came",
        "arrived",
        "got <it>, thanks",
    ):
        assert clue in told, clue
    assert "later_status" not in told
    assert "Nothing later in" not in told


def test_clues_of_another_conversation_or_location_do_not_count(client: Client, ours: World, theirs: World) -> None:
    lost = uncertain(ours)
    other = make_contact(ours.location)
    make_message(other, account=ours.account, text="x", dispatch_state="accepted", delivered_at=lost.created_at)
    make_message(other, account=ours.account, received=True, text="from somebody else")
    make_event(
        theirs.setup, type="CANARY_status", outcome=EventOutcome.WAITING, provider_id="x", received_at=lost.uncertain_at
    )
    told = words(client)
    assert "Nothing later in" in told
    assert "CANARY" not in told


def test_the_number_of_queries_does_not_grow(client: Client, ours: World) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as ran:
            client.get(DESK)
        return len(ran)

    uncertain(ours)
    make_message(ours.contact, account=ours.account, received=True, text="a reply")
    first = queries()
    for number in range(9):
        lost = uncertain(ours, f"text {number}", contact=make_contact(ours.location))
        make_message(lost.contact, account=ours.account, received=True, text="a reply")
    assert queries() == first


def test_it_goes_on_on_further_pages(client: Client, ours: World) -> None:
    for number in range(23):
        uncertain(ours, f"number {number:02}", ago=timedelta(hours=50 - number))
    seen = [re.findall(r"number \d\d", words(client, f"{DESK}?page={page}")) for page in (1, 2, 3, 4)]
    assert [len(page) for page in seen] == [10, 10, 3, 0]
    assert [text for page in seen for text in page] == [f"number {number:02}" for number in range(23)]
    for odd in ("0", "-1", "x", "²", "9" * 400, "%00"):
        assert words(client, f"{DESK}?page={odd}").count("number ") in (0, 10)


def test_the_side_bar_counts_what_is_to_decide(client: Client, ours: World) -> None:
    uncertain(ours)
    uncertain(ours, ago=timedelta(minutes=1))
    side = client.get(url("message")).content.decode().split(f'href="{DESK}"')[1].split("</a>")[0]
    assert re.search(r">\s*1\b", side)


# --- it was sent ------------------------------------------------------------------------------------------------------
def test_it_was_sent(client: Client, ours: World) -> None:
    lost = uncertain(ours)
    door = f"{operation('message', lost.pk, 'settle')}?from=desk"
    assert f'action="{door}"' in client.get(DESK).content.decode()
    answer = client.post(door, {"reason": "He called"})
    assert answer["Location"] == DESK
    assert state(lost) == DispatchState.ACCEPTED
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.detail) == (ours.agent, "Settled: it was sent. Reason: He called")
    told = words(client)
    assert "Settled: it was sent." in told
    assert "Nothing to decide" in told
    # Its page tells who decided.
    assert f"{ours.agent.username}: Settled: it was sent. Reason: He called" in words(
        client, url("message", "change", lost.pk)
    )


# --- send again -------------------------------------------------------------------------------------------------------
def test_send_again_is_asked_for_with_the_danger_said(client: Client, ours: World) -> None:
    lost = uncertain(ours)
    door = f"{operation('message', lost.pk, 'send-again')}?from=desk"
    assert f'href="{door}"' in client.get(DESK).content.decode()
    told = words(client, door)
    assert "may get this text twice" in told
    assert "results are in" in told
    assert state(lost) == DispatchState.UNCERTAIN
    answer = client.post(door, {"reason": "<b>Not there</b>"})
    assert answer["Location"] == DESK
    assert state(lost) == DispatchState.QUEUED
    entry = AuditEntry.objects.get()
    assert entry.detail == "Sent again: the contact may get it twice. Reason: <b>Not there</b>"
    assert "results are in" not in f"{entry.object_name}{entry.detail}{entry.changes}"
    assert b"<b>Not there" not in client.get(url("message", "change", lost.pk)).content


def test_a_refusal_is_told_and_changes_nothing(client: Client, ours: World) -> None:
    lost = uncertain(ours)
    door = operation("message", lost.pk, "send-again")
    Contact.objects.filter(pk=ours.contact.pk).update(opted_out_at=timezone.now())
    assert "has opted out" in unescape(client.post(door, {"reason": ""}).content.decode())
    Contact.objects.filter(pk=ours.contact.pk).update(opted_out_at=None)
    Account.objects.filter(pk=ours.account.pk).update(line_blocked=True)
    assert "line blocked" in unescape(client.post(door, {"reason": ""}).content.decode())
    assert client.post(door, {"reason": "x" * 201}).status_code == 200
    assert state(lost) == DispatchState.UNCERTAIN
    assert not AuditEntry.objects.exists()


# --- who, and when it is too late -------------------------------------------------------------------------------------
def test_the_message_page_offers_both(client: Client, ours: World) -> None:
    lost = uncertain(ours)
    content = client.get(url("message", "change", lost.pk)).content.decode()
    for name in ("settle", "send-again"):
        door = operation("message", lost.pk, name)
        assert f'href="{door}"' in content
    client.post(operation("message", lost.pk, "settle"), {"reason": ""})
    content = client.get(url("message", "change", lost.pk)).content.decode()
    assert "send-again" not in content


def test_a_viewer_sees_the_desk_and_decides_nothing(ours: World) -> None:
    lost = uncertain(ours)
    viewer = sign_in(ours.viewer)
    content = viewer.get(DESK).content.decode()
    assert "results are in" in content
    for name in ("settle", "send-again"):
        door = operation("message", lost.pk, name)
        assert door not in content
        assert viewer.post(door, {"reason": ""}).status_code == 403
    assert state(lost) == DispatchState.UNCERTAIN


def test_other_locations_and_strangers_decide_nothing(ours: World, theirs: World) -> None:
    lost = uncertain(ours)
    for name in ("settle", "send-again"):
        door = operation("message", lost.pk, name)
        assert sign_in(theirs.admin).post(door, {"reason": ""}).status_code == 404
        assert Client().post(door, {"reason": ""}).status_code == 302
    assert Client().get(DESK).status_code == 302
    assert sign_in(ours.admin).post(DESK).status_code == 405
    assert state(lost) == DispatchState.UNCERTAIN


@pytest.mark.parametrize("name", ["settle", "send-again"])
def test_who_comes_too_late_is_told_what_it_is_now(client: Client, ours: World, name: str) -> None:
    lost = uncertain(ours)
    Message.objects.filter(pk=lost.pk).update(
        dispatch_state=DispatchState.ACCEPTED, provider_id="p", delivered_at=timezone.now()
    )
    answer = client.post(f"{operation('message', lost.pk, name)}?from=desk", {"reason": ""}, follow=True)
    assert answer.redirect_chain[0][0] == DESK
    assert "Nothing was done: the message is not uncertain any more, it is delivered now." in answer.content.decode()
    assert state(lost) == DispatchState.ACCEPTED
    assert not AuditEntry.objects.exists()
