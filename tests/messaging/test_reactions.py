"""Hearts and thumbs come as texts: on the message they speak of when that is certain, and as a text otherwise."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import reactions
from messaging.models import Attachment, Direction, DispatchState, Message, Reaction, Thread
from provisioning.models import EventOutcome, ProviderEvent
from provisioning.sandbox.network import TAPBACKS
from routing.models import Contact
from tests.factories import Clinic, make_account, make_contact, make_line, make_message
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import accepted, apply_due, iso, make_due, new_handle, received, tell

Tell = Callable[..., dict[str, Any]]


@pytest.fixture
def writes(clinic: Clinic) -> Tell:
    """Lets the clinic's contact write a text, by the webhook's door, and applies it; gives the body."""

    def write(text: str, *, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
        body = received(
            clinic.account.phone_number,
            text,
            from_number=clinic.contact.phone_number,
            number=clinic.contact.phone_number,
            **{"date_sent": iso(at or timezone.now()), "date_updated": iso(at or timezone.now())} | fields,
        )
        assert tell(clinic.setup, body).status_code == 200
        assert apply_due() == 1
        return body

    return write


def on(message: Message) -> str | None:
    """The reaction that stands on the message."""
    found = Reaction.objects.filter(message=message, removed_at=None).first()
    return found.emoji if found else None


def bubbles() -> list[str]:
    """The texts that were received."""
    return list(Message.objects.filter(direction=Direction.INBOUND).order_by("position").values_list("text", flat=True))


def with_picture(clinic: Clinic) -> Message:
    """A sent message with a picture and no words."""
    message = make_message(
        clinic.contact, account=clinic.account, dispatch_state=DispatchState.ACCEPTED, provider_id=new_handle()
    )
    Attachment.objects.create(location=clinic.location, message=message, url="https://cdn.example/a.png")
    return message


# --- what is a reaction -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("start", "emoji"),
    [
        ("Loved", "❤️"),
        ("Liked", "👍"),
        ("Disliked", "👎"),
        ("Laughed at", "😂"),
        ("Emphasized", "‼️"),
        ("Questioned", "❓"),
        ("Reacted 😀 to", "😀"),
        ("Reacted 1️⃣ to", "1️⃣"),
        ("Reacted 👩‍👩‍👧‍👦 to", "👩‍👩‍👧‍👦"),
    ],
)
@pytest.mark.parametrize("quotes", ["“”", '""'])
def test_a_reaction_stands_on_the_message_and_is_no_text(
    clinic: Clinic, writes: Tell, start: str, emoji: str, quotes: str
) -> None:
    message, other = accepted(clinic, text="See you at “ten”\non Tuesday"), accepted(clinic, text="Bye")
    seen = Thread.objects.get()
    writes(f"{start} {quotes[0]}{message.text}{quotes[1]}")
    assert (on(message), on(other)) == (emoji, None)
    assert bubbles() == []
    thread = Thread.objects.get()
    assert (thread.last_message_id, thread.unread_count) == (seen.last_message_id, 0)
    assert ProviderEvent.objects.get().outcome == EventOutcome.APPLIED


def test_every_word_that_the_sandbox_uses_is_known() -> None:
    assert {f"{word} " for word in TAPBACKS.values()} <= set(reactions.ADDED)


def test_a_reaction_as_it_was_captured_is_read() -> None:
    read = reactions.read("Loved “Capture prompt [sendblue-capture:redacted:tapback-heart]”")
    assert read == reactions.Tapback("❤️", "Capture prompt [sendblue-capture:redacted:tapback-heart]")


def test_the_contact_is_written_to_next_from_the_number_it_reacted_to(clinic: Clinic, writes: Tell) -> None:
    accepted(clinic, text="Hello")
    Contact.objects.update(last_account=None)
    writes("Loved “Hello”")
    assert Contact.objects.get(pk=clinic.contact.pk).last_account == clinic.account


@pytest.mark.parametrize(
    "text",
    [
        "Loved “Goodbye”",
        "Loved “”",
        "Loved ”Hello“",
        "Loved Hello",
        "Loved the clinic",
        "loved “Hello”",
        "I Loved “Hello”",
        "Loved “Hello” a lot",
        "Loved “…”",
        "Loved “Hel…”",
        "Reacted well to “Hello”",
        "Reacted 😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀 to “Hello”",
        "Reacted  to “Hello”",
        "Removed “Hello”",
        "Removed a mole from “Hello”",
        "Loved an image",
        "STOP",
    ],
)
def test_what_speaks_of_no_message_for_certain_stays_a_text(clinic: Clinic, writes: Tell, text: str) -> None:
    message = accepted(clinic, text="Hello")
    writes(text)
    assert on(message) is None
    assert bubbles()[0] == text
    assert Thread.objects.get().unread_count >= 1


def test_a_text_with_a_file_is_a_text(clinic: Clinic, writes: Tell) -> None:
    accepted(clinic, text="Hello")
    writes("Loved “Hello”", media_url="https://cdn.example/a.png")
    assert bubbles() == ["Loved “Hello”"]


# --- which message ----------------------------------------------------------------------------------------------------
def test_of_equal_messages_it_is_the_newest_that_was_sent_by_then(clinic: Clinic, writes: Tell) -> None:
    old, new = accepted(clinic, text="Reminder"), accepted(clinic, text="Reminder")
    writes("Liked “Reminder”")
    assert (on(old), on(new)) == (None, "👍")
    Message.objects.filter(pk=old.pk).update(accepted_at=timezone.now() - timedelta(hours=3))
    writes("Loved “Reminder”", at=timezone.now() - timedelta(hours=2))
    assert (on(old), on(new)) == ("❤️", "👍")


@pytest.mark.parametrize("cut", ["…", "..."])
def test_a_quote_that_was_cut_short_finds_its_message(clinic: Clinic, writes: Tell, cut: str) -> None:
    whole = accepted(clinic, text="Please come ten minutes early and bring your card")
    exact = accepted(clinic, text=f"Please come{cut}")
    writes(f"Liked “Please come ten minutes{cut}”")
    assert (on(whole), on(exact)) == ("👍", None)
    writes(f"Loved “Please come{cut}”")
    assert (on(whole), on(exact)) == ("👍", "❤️")


@pytest.mark.parametrize("what", ["an image", "an attachment"])
def test_a_picture_is_found_when_there_is_only_one(clinic: Clinic, writes: Tell, what: str) -> None:
    accepted(clinic, text="Hello")
    message = with_picture(clinic)
    writes(f"Loved {what}")
    assert (on(message), bubbles()) == ("❤️", [])
    with_picture(clinic)
    writes(f"Laughed at {what}")
    assert bubbles() == [f"Laughed at {what}"]


def test_only_what_that_contact_got_from_that_number_is_meant(clinic: Clinic, writes: Tell) -> None:
    second = make_account(clinic.location)
    make_line(clinic.setup, account=second)
    stranger = make_contact(clinic.location)
    sent: dict[str, Any] = {"dispatch_state": DispatchState.ACCEPTED, "text": "Hello"}
    others = [
        make_message(clinic.contact, account=second, **sent),
        make_message(stranger, account=clinic.account, **sent),
        make_message(clinic.contact, account=clinic.account, received=True, text="Hello", provider_id="theirs"),
        *(
            make_message(clinic.contact, account=clinic.account, text="Hello", dispatch_state=state)
            for state in ("queued", "scheduled", "claimed", "rejected", "cancelled", "expired")
        ),
    ]
    writes("Loved “Hello”")
    assert bubbles() == ["Hello", "Loved “Hello”"]
    assert not Reaction.objects.exists()
    assert [on(one) for one in others] == [None] * len(others)


def test_the_look_back_is_bounded(clinic: Clinic, writes: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "LOOK_BACK", 2)
    accepted(clinic, text="Hello")
    for _ in range(2):
        accepted(clinic, text="More")
    with CaptureQueriesContext(connection) as queries:
        writes("Loved “Hello”")
    assert bubbles() == ["Loved “Hello”"]
    assert any("LIMIT 2" in query["sql"] for query in queries)


# --- one after the other ----------------------------------------------------------------------------------------------
def test_another_reaction_replaces_it_and_it_can_be_taken_back(clinic: Clinic, writes: Tell) -> None:
    message = accepted(clinic, text="Hello")
    for text, emoji in [
        ("Loved “Hello”", "❤️"),
        ("Liked “Hello”", "👍"),
        ("Removed a like from “Hello”", None),
        ("Reacted 😀 to “Hello”", "😀"),
        ("Removed a 😀 reaction from “Hello”", None),
        ("Questioned “Hello”", "❓"),
        ("Removed a question mark from “Hello”", None),
        ("Emphasized “Hello”", "‼️"),
        ("Removed an exclamation from “Hello”", None),
    ]:
        writes(text)
        assert on(message) == emoji, text
    assert bubbles() == []
    assert Reaction.objects.count() == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_whatever_order_they_come_in_the_last_one_written_stands(
    clinic: Clinic, writes: Tell, order: tuple[int, ...]
) -> None:
    message = accepted(clinic, text="Hello")
    start = timezone.now() - timedelta(seconds=30)
    texts = ["Loved “Hello”", "Liked “Hello”", "Removed a like from “Hello”"]
    for number in order:
        writes(texts[number], at=start + timedelta(seconds=number))
    assert on(message) is None
    assert bubbles() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_reaction_that_was_taken_back_before_it_came_does_not_show(
    clinic: Clinic, writes: Tell, order: tuple[int, ...]
) -> None:
    message = accepted(clinic, text="Hello")
    start = timezone.now() - timedelta(seconds=30)
    for number in order:
        writes(["Loved “Hello”", "Removed a heart from “Hello”"][number], at=start + timedelta(seconds=number))
    assert on(message) is None
    writes("Loved “Hello”")
    assert on(message) == "❤️"


def test_the_same_notice_again_changes_nothing(clinic: Clinic, writes: Tell) -> None:
    message = accepted(clinic, text="Hello")
    body = writes("Loved “Hello”")
    event = ProviderEvent.objects.get()
    before = Reaction.objects.values().get()
    assert tell(clinic.setup, body).status_code == 200
    ProviderEvent.objects.filter(pk=event.pk).update(due_at=timezone.now())
    make_due()
    apply_due()
    assert Reaction.objects.values().get() == before
    writes("Removed a heart from “Hello”")
    ProviderEvent.objects.filter(pk=event.pk).update(due_at=timezone.now())
    make_due()
    apply_due()
    assert on(message) is None
    assert bubbles() == []


def test_what_was_kept_as_a_text_stays_one(clinic: Clinic, writes: Tell) -> None:
    writes("Loved “Hello”")
    message = accepted(clinic, text="Hello")
    ProviderEvent.objects.update(due_at=timezone.now())
    make_due()
    apply_due()
    assert on(message) is None
    assert bubbles() == ["Loved “Hello”"]


def test_a_clock_that_is_ahead_does_not_hold_back_what_follows(clinic: Clinic, writes: Tell) -> None:
    message = accepted(clinic, text="Hello")
    writes("Loved “Hello”", at=timezone.now() + timedelta(days=300))
    writes("Liked “Hello”", at=timezone.now() + timedelta(days=200))
    assert on(message) == "👍"


def test_a_reaction_with_half_a_sign_in_it_is_kept(clinic: Clinic, writes: Tell) -> None:
    accepted(clinic, text="Hello")
    writes("Loved “Hello\ud83d”")
    writes("Reacted \x00 to “Hello”")
    assert len(bubbles()) == 2


# --- the API, and the sandbox -----------------------------------------------------------------------------------------
def test_the_api_shows_the_reaction_until_it_is_taken_back(clinic: Clinic, writes: Tell, api: Any) -> None:
    message = accepted(clinic, text="Hello")

    def shown() -> Any:
        return api.get(f"/api/v1/messages/{message.pk}/").json()["reaction"]

    assert shown() is None
    writes("Loved “Hello”")
    assert shown() == "❤️"
    writes("Removed a heart from “Hello”")
    assert shown() is None
    assert "reaction" not in api.get("/api/v1/messages/").json()["results"][0]


def test_a_reaction_at_the_phone_reaches_the_message(hub: Hub) -> None:
    message = hub.work_until_status(hub.send("+12125550100", "See you at ten"), "delivered")
    hub.sandbox.network.react(handle=message.provider_id, reaction="laugh")
    hub.work_until(lambda: on(message) == "😂")
    assert bubbles() == []
