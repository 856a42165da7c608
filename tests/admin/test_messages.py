"""Messages in the admin: read, understood, cancelled; never edited and never counted."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging.models import Attachment, Attempt, DispatchState, Message, MessageEvent
from routing.models import Account, AuditEntry
from tests.admin.world import World, operation, send_message, sign_in, url
from tests.factories import make_account, make_contact, make_message, new_phone


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def page(client: Client, message: Message) -> str:
    """The message's page, its markup taken out."""
    content = client.get(url("message", "change", message.pk)).content.decode().split('id="content-main"')[1]
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


def inbound(world: World, text: str = "hi there") -> Message:
    """A message of the contact's."""
    return make_message(world.contact, account=world.account, received=True, text=text)


def test_the_decision_is_told_in_words(client: Client, ours: World) -> None:
    """The sentence, each rule in its order, the blockers, the warning."""
    make_account(ours.location, label="Second", user=ours.agent)
    Account.objects.filter(pk=ours.account.pk).update(line_blocked=True)
    last = make_account(ours.location, label="Third")
    contact = make_contact(ours.location, tags=(f"im: {ours.account.phone_number}",), last_account=last)
    message = send_message(ours.location, contact)
    assert message.trace is not None
    told = page(client, message)

    assert message.trace["sentence"] in told.replace("&#x27;", "'")
    rules = [
        "{IM#N} in the text, or an account in the request does not apply",
        "{TEMP-IM#N} in the text does not apply",
        "im: tag of the contact cannot send line blocked 1",
        "account of the assigned user does not apply",
        "default of the location cannot send line blocked 1",
        "any account that can send chosen 3",
    ]
    places = [told.index(rule) for rule in rules]
    assert places == sorted(places)
    for warning in message.trace["warnings"]:
        assert warning["detail"] in told


def test_a_failed_decision_shows_its_code(client: Client, ours: World) -> None:
    message = send_message(ours.location, ours.contact, "{IM#9} hello")
    assert message.code == "override_account_not_found"
    told = page(client, message)
    assert "override_account_not_found" in told
    assert "failed" in told
    assert "cannot send" in told


def test_a_trace_of_another_version_is_shown_as_it_is(client: Client, ours: World) -> None:
    for trace in ({"steps": [{"rule": "new_rule", "outcome": "new_outcome"}]}, {"sentence": "<b>x</b>"}, {}):
        Message.objects.filter(pk=ours.message.pk).update(trace=trace)
        assert client.get(url("message", "change", ours.message.pk)).status_code == 200
    Message.objects.filter(pk=ours.message.pk).update(trace={"steps": [{"rule": "new_rule", "outcome": "odd"}]})
    assert "new_rule odd" in page(client, ours.message)


def test_the_page_shows_attempts_events_and_times(client: Client, ours: World) -> None:
    now = timezone.now()
    common: dict[str, Any] = {"location": ours.location, "message": ours.message}
    Attempt.objects.create(
        **common, account=ours.account, fence=1, token_digest="digest-canary", outcome="unavailable", detail="No answer"
    )
    Attempt.objects.create(**common, account=ours.account, fence=2, token_digest="digest-canary-2")
    MessageEvent.objects.create(**common, kind="delivered", at=now, detail="Carrier says so")
    Message.objects.filter(pk=ours.message.pk).update(delivered_at=now, failed_at=now, failed_code="4001")
    told = page(client, ours.message)
    for words in ("No answer", "not known", "Carrier says so", "Delivered +", "contradicted", "4001"):
        assert words in told, words
    assert "digest-canary" not in client.get(url("message", "change", ours.message.pk)).content.decode()


def test_texts_are_escaped(client: Client, ours: World) -> None:
    message = send_message(ours.location, ours.contact, "<script>alert(1)</script>", metadata={"a": "</pre><b>"})
    for answer in (client.get(url("message", "change", message.pk)), client.get(url("message"))):
        assert b"<script>alert(1)" not in answer.content
        assert b"&lt;script&gt;alert(1)" in answer.content
        assert b"</pre><b>" not in answer.content


def test_inbound_messages_have_no_decision(client: Client, ours: World) -> None:
    told = page(client, inbound(ours))
    assert "The contact wrote; nothing had to be chosen." in told
    assert "hi there" in told


def test_nothing_is_written_by_a_form(ours: World, operator: Any) -> None:
    for user in (ours.admin, operator):
        client = sign_in(user)
        before = Message.objects.filter(pk=ours.message.pk).values().get()
        assert client.post(url("message", "change", ours.message.pk), {"text": "forged"}).status_code == 403
        assert client.post(url("message", "add"), {"text": "forged"}).status_code == 403
        assert client.post(url("message", "delete", ours.message.pk), {"post": "yes"}).status_code == 403
        assert Message.objects.filter(pk=ours.message.pk).values().get() == before


# --- cancelling -------------------------------------------------------------------------------------------------------


def test_a_scheduled_message_is_cancelled_after_a_question(client: Client, ours: World) -> None:
    later = timezone.now() + timedelta(hours=1)
    message = send_message(ours.location, ours.contact, scheduled_at=later)
    door = operation("message", message.pk, "cancel")
    assert client.get(door).status_code == 200
    message.refresh_from_db()
    assert message.status == "scheduled"
    client.post(door)
    message.refresh_from_db()
    assert message.status == "cancelled"
    assert AuditEntry.objects.get().detail == "Cancelled: it is not sent."
    assert door not in client.get(url("message", "change", message.pk)).content.decode()


def test_the_action_cancels_what_has_not_left(client: Client, ours: World) -> None:
    left = send_message(ours.location, ours.contact)
    Message.objects.filter(pk=left.pk).update(dispatch_state=DispatchState.ACCEPTED)
    data = {"action": "cancel", "_selected_action": [str(left.pk), str(ours.message.pk)]}
    told = client.post(url("message"), data, follow=True).content.decode()
    assert "1 cancelled." in told
    assert "1 left alone" in told
    left.refresh_from_db()
    ours.message.refresh_from_db()
    assert (left.status, ours.message.status) == ("accepted", "cancelled")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_goes_on_with_older_ones_and_counts_nothing(client: Client, ours: World) -> None:
    for number in range(119):
        send_message(ours.location, ours.contact, f"number {number:03}")
    seen: list[str] = []
    address, pages = url("message"), 0
    while address:
        pages += 1
        with CaptureQueriesContext(connection) as queries:
            content = client.get(address).content.decode()
        # The side bar's figures end at a bound.
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]
        assert all("LIMIT 100) subquery" in sql for sql in counts)
        seen += re.findall(r"number \d{3}", content)
        older = re.search(r'href="(\?before=[^"]+)" rel="next"', content)
        address = url("message") + older[1] if older else ""
        assert (">Newest</a>" in content) is (pages > 1)
    assert pages == 3
    assert seen == [f"number {number:03}" for number in reversed(range(119))]


def test_filters_are_kept_on_the_way_to_older_ones(client: Client, ours: World) -> None:
    for number in range(60):
        send_message(ours.location, ours.contact, "{IM#9} failed" if number % 2 else "fine")
        send_message(ours.location, ours.contact, "{IM#9} failed")
    content = client.get(url("message"), {"status": "failed"}).content.decode()
    older = re.search(r'href="(\?[^"]+)" rel="next"', content)
    assert older
    assert "status=failed" in older[1]
    following = client.get(url("message") + older[1].replace("&amp;", "&")).content.decode()
    assert following.count(">failed</span>") == 40
    # A filter's link begins at the newest again.
    assert "before=" not in following.split('class="hub-bar"')[1].split('id="changelist-form"')[0]


def test_messages_are_found_by_contact_and_by_id(client: Client, ours: World, theirs: World) -> None:
    other = make_contact(ours.location, name="Zoe", phone_number="+14155550124")
    message = send_message(ours.location, other, "to zoe")
    Message.objects.filter(pk=message.pk).update(provider_id="prov-77")
    for words in ("zoe", "(415) 555-0124", str(message.pk), "prov-77"):
        content = client.get(url("message"), {"q": words}).content.decode()
        assert "to zoe" in content, words
        assert "words ours" not in content, words
    assert "to zoe" not in client.get(url("message"), {"q": "to zoe"}).content.decode().replace('value="to zoe"', "")
    assert "to zoe" not in client.get(url("message"), {"q": theirs.contact.phone_number}).content.decode()


# --- attachments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "shown"), [("image/png", True), ("image/svg+xml", False), ("text/html", False), ("", False)]
)
def test_fetched_media_is_handed_out_safely(
    client: Client, ours: World, settings: Any, tmp_path: Path, content_type: str, shown: bool
) -> None:
    settings.STORAGES = settings.STORAGES | {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    }
    attachment = Attachment(
        location=ours.location, message=inbound(ours), url="https://provider.example/x", content_type=content_type
    )
    attachment.file.save("x", ContentFile(b"bytes"))
    door = url("message", "attachment", attachment.message_id, 0)
    answer = client.get(door)
    assert b"".join(answer) == b"bytes"
    assert answer["Content-Type"] == (content_type if shown else "application/octet-stream")
    assert answer["Content-Disposition"].startswith("inline" if shown else "attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    content = client.get(url("message", "change", attachment.message_id)).content.decode()
    assert (f'<img src="{door}"' in content) is shown
    assert "provider.example" not in content
    assert client.get(url("message", "attachment", attachment.message_id, 1)).status_code == 404


def test_a_number_that_stopped_being_ours_is_still_named(client: Client, ours: World) -> None:
    number = new_phone()
    Account.objects.filter(pk=ours.account.pk).update(phone_number=number, retired_at=timezone.now())
    assert number[-4:] in client.get(url("message", "change", ours.message.pk)).content.decode()
