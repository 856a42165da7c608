"""Messages in the admin: read, understood, cancelled; never edited and never counted."""

import re
from datetime import datetime, time, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.http import QueryDict
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


# --- by day -----------------------------------------------------------------------------------------------------------


def aged(world: World, text: str, at: datetime) -> Message:
    """A message that was accepted then."""
    return make_message(world.contact, account=world.account, text=text, created_at=at, dispatch_state="accepted")


def listed(client: Client, **query: str) -> set[str]:
    """The texts in the list, of those that `aged` made."""
    return set(re.findall(r"text-[a-z0-9]+", client.get(url("message"), query).content.decode()))


def test_days_are_those_of_the_locations_zone(ours: World) -> None:
    ours.location.time_zone = "America/Los_Angeles"
    ours.location.save()
    client = sign_in(ours.agent)
    zone = ZoneInfo("America/Los_Angeles")
    today = timezone.localdate(timezone=zone)

    def at(days_ago: int, hour: int, minute: int = 0) -> datetime:
        return datetime.combine(today - timedelta(days=days_ago), time(hour, minute), tzinfo=zone)

    aged(ours, "text-today", at(0, 0, 1))
    aged(ours, "text-late", at(1, 23, 59))  # today already in UTC
    aged(ours, "text-yesterday", at(1, 0))
    aged(ours, "text-week", at(6, 12))
    aged(ours, "text-month", at(29, 12))
    aged(ours, "text-older", at(31, 12))
    assert listed(client, date="today") == {"text-today"}
    assert listed(client, date="yesterday") == {"text-late", "text-yesterday"}
    assert listed(client, date="7") == {"text-today", "text-late", "text-yesterday", "text-week"}
    assert listed(client, date="30") == listed(client) - {"text-older"}
    month, week = (str(today - timedelta(days=days)) for days in (29, 6))
    assert listed(client, **{"from": month, "to": week}) == {"text-month", "text-week"}
    assert listed(client, **{"from": week, "to": ""}) == listed(client, date="7")
    assert listed(client, to=month) == {"text-month", "text-older"}
    assert listed(client, date="someday") == listed(client)


def test_a_page_of_days_goes_on_with_older_ones(client: Client, ours: World, theirs: World) -> None:
    now = timezone.now()
    for number in range(119):
        # Positions say otherwise than times: what was scheduled joins the queue late.
        aged(ours, f"text-{number:03}", now - timedelta(seconds=1 + number // 3))
    aged(theirs, "text-canary", now)
    seen: list[str] = []
    query: dict[str, str] | None = {"date": "30", "direction__exact": "outbound"}
    address = url("message")
    while query is not None:
        content = client.get(address, query).content.decode()
        seen += re.findall(r"text-[a-z0-9]+", content)
        older = re.search(r'href="\?([^"]+)" rel="next"', content)
        query = QueryDict(unescape(older[1])).dict() if older else None
    assert len(seen) == len(set(seen)) == 119
    assert [int(text[5:]) // 3 for text in seen] == sorted(int(text[5:]) // 3 for text in seen)


@pytest.mark.parametrize("odd", ["x", "2026-13-01", "0001-01-01", "9999-12-31", "2026-W01-1'", "\0"])
def test_an_odd_day_is_no_error(client: Client, odd: str) -> None:
    for name in ("from", "to", "date"):
        assert client.get(url("message"), {name: odd}).status_code in (200, 302, 400)


def test_the_two_days_keep_the_other_filters(client: Client, ours: World) -> None:
    content = client.get(url("message"), {"status": "failed", "q": "zoe", "from": "2026-01-02"}).content.decode()
    days = content.split('class="msg-days"')[1].split("</form>")[0]
    assert '<input type="hidden" name="status" value="failed">' in days
    assert '<input type="hidden" name="q" value="zoe">' in days
    assert '<input type="date" name="from" value="2026-01-02">' in days


# --- what a row and a page tell ---------------------------------------------------------------------------------------


def test_a_row_tells_which_way_from_where_and_why_not(client: Client, ours: World) -> None:
    send_message(ours.location, ours.contact, "{IM#9} never left")
    inbound(ours, "an answer")
    send_message(ours.location, ours.contact, "on time", scheduled_at=timezone.now() + timedelta(hours=30))
    rows = [
        " ".join(re.sub(r"<[^>]+>", " ", row).split())
        for row in client.get(url("message")).content.decode().split("<tbody>")[1].split("</tr>")
    ]
    later, answer, failed, first = rows[:4]
    assert "scheduled for " in later
    assert "from Patient ours" in answer
    assert "failed Not sent: this message asks for account 9" in failed
    assert "to Patient ours" in first
    assert f"{{IM#{ours.account.index}}} Desk ours" in first


def test_the_timeline_tells_how_long_each_step_took(client: Client, ours: World) -> None:
    begun = timezone.now() - timedelta(days=2)
    message = aged(ours, "hello", begun)
    common: dict[str, Any] = {"location": ours.location, "message": message}
    Attempt.objects.create(
        **common,
        account=ours.account,
        fence=1,
        token_digest="d",
        started_at=begun + timedelta(seconds=0.5),
        ended_at=begun + timedelta(seconds=1.2),
        outcome="accepted",
    )
    for kind, after in (("accepted", 1.2), ("sent", -0.4), ("delivered", 125), ("read", 3 * 3600 + 60)):
        MessageEvent.objects.create(**common, kind=kind, at=begun + timedelta(seconds=after))
    told = page(client, message).split("What happened")[1]
    steps = [
        "Sent −0.4 s",
        "Accepted by the hub",
        "Attempt: handed to the provider +0.5 s",
        "Accepted by the provider +1.2 s",
        "Delivered +2 min 5 s",
        "Read +3 h 1 min",
    ]
    places = [told.index(step) for step in steps]
    assert places == sorted(places)


def test_a_message_that_was_taken_on_twice_says_so(client: Client, ours: World) -> None:
    for fence in (1, 2):
        Attempt.objects.create(
            location=ours.location,
            message=ours.message,
            account=ours.account,
            fence=fence,
            token_digest=f"d{fence}",
            outcome="accepted",
        )
    assert "took this on more than once" in page(client, ours.message)


def test_list_and_page_run_the_same_queries_however_much_there_is(client: Client, ours: World) -> None:
    def queries(address: str, **query: str) -> int:
        with CaptureQueriesContext(connection) as ran:
            assert client.get(address, query).status_code == 200
        return len(ran)

    addresses = [url("message"), url("message", "change", ours.message.pk)]
    few = [queries(address) for address in addresses] + [queries(url("message"), date="7")]
    for number in range(40):
        aged(ours, f"text-{number}", timezone.now())
        Attempt.objects.create(
            location=ours.location, message=ours.message, account=ours.account, fence=number, token_digest=f"d{number}"
        )
    assert [queries(address) for address in addresses] + [queries(url("message"), date="7")] == few


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
