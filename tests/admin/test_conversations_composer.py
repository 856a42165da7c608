"""Answering in a conversation: looked ahead at by the code that sends, sent once, tried again, by those who may."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from messaging import threads
from messaging.composer import new_token
from messaging.conversation import TRIED_AGAIN_WITHIN
from messaging.models import Attachment, DispatchState, Message, MessageStatus, Reaction, Thread, TypingNotice
from routing.models import Account, AuditEntry, Contact
from tests.admin.test_conversations import bubble, inbound, words
from tests.admin.world import World, send_message, sign_in, url
from tests.factories import make_account, make_contact, make_message

TOKEN = "0123456789abcdef" * 2
FRAGMENT = {"X-Hub-Fragment": "1"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 64


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def door(world: World, name: str) -> str:
    """One of the conversation's doors."""
    return url("thread", name, world.contact.pk)


def again(world: World, message: Message) -> str:
    """The door that tries it again."""
    return url("thread", "again", world.contact.pk, message.pk)


def sent(world: World) -> list[str]:
    """What was written to the contact, after the world's own message."""
    return list(world.contact.messages.exclude(pk=world.message.pk).order_by("position").values_list("text", flat=True))


def outlook(client: Client, world: World, text: str) -> str:
    """What the composer says of the text."""
    answer = client.post(door(world, "preview"), {"text": text})
    assert answer.status_code == 200
    return words(answer.content.decode())


# --- looking ahead ----------------------------------------------------------------------------------------------------


def national(account: Account) -> str:
    number = account.phone_number
    return f"({number[2:5]}) {number[5:8]}-{number[8:]}"


def test_the_number_and_why_are_told_before_anything_is_sent(client: Client, ours: World) -> None:
    second = make_account(ours.location, label="Billing")
    told = outlook(client, ours, "hello")
    assert f"From {national(ours.account)} (Desk ours): it is an account of the contact's assigned user." in told
    told = outlook(client, ours, "hello {IM#2}")
    assert f"From {national(second)} (Billing): this message asks for account 2." in told
    assert "Goes out as: “hello”" in told
    assert sent(ours) == []


def test_what_is_told_is_what_happens(client: Client, ours: World) -> None:
    second = make_account(ours.location, label="Billing")
    Contact.objects.filter(pk=ours.contact.pk).update(last_account=second)
    for text in ("plain", "{TEMP-IM#2} once", "{IM#2}\nlines"):
        told = outlook(client, ours, text)
        client.post(door(ours, "send"), {"text": text})
        message = Message.objects.order_by("-position")[0]
        assert message.account is not None
        assert national(message.account) in told
        assert ("This contact last saw" in told) is message.number_switch


def test_an_empty_composer_tells_the_number_too(client: Client, ours: World) -> None:
    assert national(ours.account) in outlook(client, ours, " \n ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{IM2} hi", "The account override near character 2 cannot be read. Write {IM#2}."),
        ("{IM#99} hi", "Not sent: this message asks for account 99, which this location does not have; name another."),
        ("{IM#1}{IM#2} hi", "account"),
        ("x" * 19_000, "18,996"),
    ],
)
def test_what_would_not_be_sent_is_told_in_words(client: Client, ours: World, text: str, problem: str) -> None:
    told = outlook(client, ours, text)
    assert problem in told
    assert "parse_overrides" not in told
    assert "From (" not in told


def test_a_contact_who_opted_out_gets_nothing_and_the_composer_says_so(client: Client, ours: World) -> None:
    Contact.objects.filter(pk=ours.contact.pk).update(opted_out_at=timezone.now())
    assert "opted out" in outlook(client, ours, "hello")
    assert "opted out" in words(client.get(url("thread", "change", ours.contact.pk)).content.decode())


# --- sending ----------------------------------------------------------------------------------------------------------


def test_sending_answers_with_the_new_bubble_and_a_fresh_token(client: Client, ours: World) -> None:
    answer = client.post(door(ours, "send"), {"text": "on its way", "token": TOKEN}, headers=FRAGMENT)
    assert answer.status_code == 200
    content = answer.content.decode()
    assert "on its way" in content
    assert "<html" not in content
    assert 'data-token="' in content
    assert TOKEN not in content
    assert sent(ours) == ["on its way"]


def test_without_scripts_sending_leads_back_to_the_page(client: Client, ours: World) -> None:
    answer = client.post(door(ours, "send"), {"text": "a\r\nb\0", "token": TOKEN})
    assert (answer.status_code, answer["Location"]) == (302, url("thread", "change", ours.contact.pk))
    assert sent(ours) == ["a\nb"]


def test_the_same_composer_sent_twice_makes_one_message(client: Client, ours: World) -> None:
    for _ in range(3):
        client.post(door(ours, "send"), {"text": "once", "token": TOKEN})
    assert sent(ours) == ["once"]
    assert AuditEntry.objects.filter(object_type="messaging.message").count() == 1
    client.post(door(ours, "send"), {"text": "once", "token": "f" * 32})
    assert sent(ours) == ["once", "once"]


def test_a_text_that_changed_under_its_token_is_not_taken_for_the_first(client: Client, ours: World) -> None:
    client.post(door(ours, "send"), {"text": "first", "token": TOKEN})
    answer = client.post(door(ours, "send"), {"text": "second", "token": TOKEN}, headers=FRAGMENT)
    assert answer.status_code == 422
    assert b"sent already" in answer.content
    assert b'data-code="idempotency_key_reused"' in answer.content
    assert sent(ours) == ["first"]


def test_one_token_of_two_people_is_two(ours: World) -> None:
    for user in (ours.agent, ours.admin):
        sign_in(user).post(door(ours, "send"), {"text": "mine", "token": TOKEN})
    assert sent(ours) == ["mine", "mine"]


@pytest.mark.parametrize("text", ["", "  \n", "{IM2} hi"])
def test_what_is_malformed_is_refused_and_the_text_stays(client: Client, ours: World, text: str) -> None:
    answer = client.post(door(ours, "send"), {"text": text, "token": TOKEN}, headers=FRAGMENT)
    assert answer.status_code == 400
    page = client.post(door(ours, "send"), {"text": text, "token": TOKEN})
    assert page.status_code == 400
    assert text.strip() in page.content.decode().split("<textarea")[1].split("</textarea>")[0]
    assert sent(ours) == []


def test_what_no_number_can_send_is_kept_as_failed(client: Client, ours: World) -> None:
    client.post(door(ours, "send"), {"text": "{IM#99} hi", "token": TOKEN})
    message = Message.objects.order_by("-position")[0]
    assert (message.text, message.status) == ("hi", MessageStatus.FAILED)


def test_who_sent_it_is_in_the_trail_and_what_is_not(client: Client, ours: World) -> None:
    client.post(door(ours, "send"), {"text": "my secret words", "token": TOKEN})
    entry = AuditEntry.objects.get(object_type="messaging.message")
    assert entry.actor == ours.agent.username
    assert entry.object_id == str(Message.objects.order_by("-position")[0].pk)
    told = json.dumps([entry.object_name, entry.detail, entry.changes])
    assert "secret" not in told
    assert "Patient" not in told
    assert ours.contact.phone_number not in told


def test_a_picture_goes_with_the_text(client: Client, ours: World, settings: Any, tmp_path: Any) -> None:
    picture = SimpleUploadedFile("x.exe", PNG, content_type="text/html")
    client.post(door(ours, "send"), {"text": "look", "token": TOKEN, "picture": picture})
    row = Attachment.objects.get(message__text="look")
    assert row.content_type == "image/png"
    assert bubble(client, ours, row.message).count("<img") == 1
    text = SimpleUploadedFile("x.png", b"no picture at all", content_type="image/png")
    answer = client.post(door(ours, "send"), {"text": "bad", "token": "b" * 32, "picture": text}, headers=FRAGMENT)
    assert answer.status_code == 400
    assert b"PNG, JPEG" in answer.content
    assert sent(ours) == ["look"]


def test_the_same_text_with_another_picture_is_another_message(client: Client, ours: World) -> None:
    for content in (PNG, PNG + b"\0"):
        picture = SimpleUploadedFile("x.png", content)
        answer = client.post(door(ours, "send"), {"text": "", "token": TOKEN, "picture": picture}, headers=FRAGMENT)
    assert answer.status_code == 422
    assert Attachment.objects.count() == 1


def test_viewers_and_strangers_send_nothing(ours: World, theirs: World) -> None:
    failed = send_message(ours.location, ours.contact, "x {IM#99}")
    for user, status in ((ours.viewer, 403), (theirs.admin, 404)):
        client = sign_in(user)
        for page in (door(ours, "send"), door(ours, "preview"), again(ours, failed)):
            assert client.post(page, {"text": "hi", "token": TOKEN}).status_code == status, page
            assert client.post(page, {"text": "hi"}, headers=FRAGMENT).status_code == status, page
    assert sent(ours) == ["x"]
    assert Client().post(door(ours, "send"), {"text": "hi"}).status_code == 302
    assert sent(ours) == ["x"]


def test_only_posts_send(client: Client, ours: World) -> None:
    for page in (door(ours, "send"), door(ours, "preview"), again(ours, ours.message)):
        assert client.get(page, {"text": "hi"}).status_code == 405
    assert sent(ours) == []


def test_a_post_from_another_site_is_refused(ours: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ours.agent)
    assert client.post(door(ours, "send"), {"text": "hi"}).status_code == 403
    assert sent(ours) == []


# --- trying again -----------------------------------------------------------------------------------------------------


def test_a_failed_one_is_tried_again_once_however_often_it_is_clicked(client: Client, ours: World) -> None:
    Message.objects.filter(pk=ours.message.pk).update(dispatch_state=DispatchState.ACCEPTED, failed_at=timezone.now())
    assert client.post(again(ours, ours.message)).status_code == 302
    assert client.post(again(ours, ours.message), headers=FRAGMENT).status_code == 409
    assert sent(ours) == [ours.message.text]
    [new] = ours.contact.messages.exclude(pk=ours.message.pk)
    assert new.status == MessageStatus.QUEUED


def test_what_is_too_old_for_a_second_click_to_be_known_is_not_tried_again(client: Client, ours: World) -> None:
    old = timezone.now() - TRIED_AGAIN_WITHIN - timedelta(minutes=1)
    Message.objects.filter(pk=ours.message.pk).update(
        dispatch_state=DispatchState.ACCEPTED, failed_at=timezone.now(), created_at=old
    )
    assert client.post(again(ours, ours.message), headers=FRAGMENT).status_code == 409
    assert b"Try again" not in client.get(url("thread", "change", ours.contact.pk)).content
    assert sent(ours) == []


def test_one_token_is_good_for_one_contact(client: Client, ours: World) -> None:
    other = make_contact(ours.location)
    form = {"text": "same words", "token": new_token()}
    for contact, status in ((ours.contact, 200), (other, 422)):
        path = reverse("admin:messaging_thread_send", args=[contact.pk])
        assert client.post(path, form, headers=FRAGMENT).status_code == status
    assert list(Message.objects.filter(text="same words").values_list("contact", flat=True)) == [ours.contact.pk]


@pytest.mark.parametrize(
    ("text", "manual", "temporary"), [("hi {IM#2}", 2, None), ("hi {TEMP-IM#2}", None, 2), ("hi", None, None)]
)
def test_the_number_that_was_asked_for_is_asked_for_again(
    client: Client, ours: World, text: str, manual: int | None, temporary: int | None
) -> None:
    make_account(ours.location)
    message = send_message(ours.location, ours.contact, text)
    Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.EXPIRED)
    client.post(again(ours, message))
    new = Message.objects.order_by("-position")[0]
    assert new.pk != message.pk
    assert (new.text, new.override_index, new.temporary_override_index) == ("hi", manual, temporary)


def test_a_literal_text_stays_literal(client: Client, ours: World) -> None:
    message = send_message(ours.location, ours.contact, "{IM#2} stays", parse_overrides=False)
    Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.EXPIRED)
    client.post(again(ours, message))
    assert sent(ours) == ["{IM#2} stays", "{IM#2} stays"]


@pytest.mark.parametrize("state", ["queued", "uncertain", "accepted", "cancelled"])
def test_what_did_not_fail_is_not_sent_again(client: Client, ours: World, state: str) -> None:
    Message.objects.filter(pk=ours.message.pk).update(dispatch_state=state)
    assert client.post(again(ours, ours.message), headers=FRAGMENT).status_code == 409
    assert client.post(again(ours, inbound(ours)), headers=FRAGMENT).status_code == 409
    assert sent(ours) == ["hi there"]


def test_a_message_of_another_conversation_is_not_tried_again_here(client: Client, ours: World, theirs: World) -> None:
    failed = send_message(theirs.location, theirs.contact, "x {IM#99}")
    assert client.post(again(ours, failed)).status_code == 404
    assert Message.objects.filter(location=theirs.location).count() == 2


# --- following --------------------------------------------------------------------------------------------------------


def live(client: Client, world: World, **query: str) -> Any:
    """What an open page asks."""
    return client.get(door(world, "live"), query, headers=FRAGMENT)


def version(client: Client, world: World) -> str:
    """What the page shows now."""
    found: str = live(client, world).content.decode().split('data-version="')[1].split('"')[0]
    return found


def test_nothing_new_is_answered_with_nothing(client: Client, ours: World) -> None:
    page = client.get(url("thread", "change", ours.contact.pk)).content.decode()
    seen = page.split('data-version="')[1].split('"')[0]
    answer = live(client, ours, v=seen)
    assert (answer.status_code, answer.content) == (204, b"")


def test_whatever_changes_is_news(client: Client, ours: World) -> None:
    now = timezone.now()
    soon = now + timedelta(minutes=1)

    def updated(**columns: Any) -> None:
        Message.objects.filter(pk=ours.message.pk).update(**columns)

    picture: dict[str, Any] = {"location": ours.location, "message": ours.message, "url": "https://x.test/1"}
    typing: dict[str, Any] = {"location": ours.location, "contact": ours.contact, "account": ours.account}
    changes = [
        lambda: updated(dispatch_state="accepted"),
        lambda: updated(delivered_at=now),
        lambda: updated(read_at=now),
        lambda: updated(failed_at=now),
        lambda: inbound(ours),
        lambda: Reaction.objects.create(location=ours.location, message=ours.message, emoji="👍", provider_id="r"),
        lambda: Reaction.objects.update(emoji="💛"),
        lambda: Reaction.objects.update(removed_at=now),
        lambda: Attachment.objects.create(**picture),
        lambda: Attachment.objects.update(file="attachments/x.png"),
        lambda: TypingNotice.objects.create(until=soon, **typing),
        lambda: TypingNotice.objects.update(until=now),
    ]
    for number, change in enumerate(changes):
        seen = version(client, ours)
        assert live(client, ours, v=seen).status_code == 204, number
        change()
        answer = live(client, ours, v=seen)
        assert answer.status_code == 200, number
        assert live(client, ours, v=version(client, ours)).status_code == 204, number


def test_a_page_that_stays_open_keeps_the_conversation_read(ours: World) -> None:
    inbound(ours)
    live(sign_in(ours.viewer), ours)
    assert Thread.objects.get(pk=ours.contact.pk).unread_count == 1
    live(sign_in(ours.agent), ours)
    assert Thread.objects.get(pk=ours.contact.pk).unread_count == 0


def test_following_costs_few_queries_however_long_the_conversation(client: Client, ours: World) -> None:
    def cost(seen: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert live(client, ours, v=seen).status_code == 204
        return len(queries)

    few = cost(version(client, ours))
    for number in range(60):
        message = make_message(ours.contact, account=ours.account, text=f"text {number}")
        threads.note_message(message, at=timezone.now())
    assert cost(version(client, ours)) == few <= 8


def test_the_trace_and_texts_are_not_read_while_nothing_is_new(client: Client, ours: World) -> None:
    seen = version(client, ours)
    with CaptureQueriesContext(connection) as queries:
        live(client, ours, v=seen)
    about = [query["sql"] for query in queries if 'FROM "messaging_message"' in query["sql"]]
    assert about
    assert not [sql for sql in about if '"text"' in sql or '"trace"' in sql]
