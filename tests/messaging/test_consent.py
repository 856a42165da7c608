"""STOP and START: the contact's own word, what it blocks, and the one answer that it does not block."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from messaging.consent import Word, read_word
from messaging.delivery.worker import work_once
from messaging.models import Message, Thread
from routing.models import Account, Contact
from tests.factories import Clinic, make_contact
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import CUSTOMER, SECRET, apply_due, door, iso, knock, received, secret_of, tell

STOP_WORDS = ["stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "opt out", "opt-out", "optout"]
START_WORDS = ["start", "unstop"]

DRESSED = [
    "{}", " {} ", "\t{}\r\n", "{}.", "{}!", "{}!!!", "{}…", "{},", "{};", "({})", '"{}"', "“{}”", "'{}'", "*{}*",
    "-{}-", "{}\u200b", "\u200e{}\u200f", "\ufeff{}", "\xa0{}\u3000", "\n\n{}\n", "{} .", "¡{}!", "«{}»",
]  # fmt: skip


@pytest.mark.parametrize("dress", DRESSED)
def test_the_word_alone_counts_whatever_surrounds_it(dress: str) -> None:
    for words, meant in ((STOP_WORDS, Word.STOP), (START_WORDS, Word.START)):
        for word in words:
            for cased in (word, word.upper(), word.title(), word.swapcase()):
                assert read_word(dress.format(cased)) is meant, (dress, cased)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ＳＴＯＰ", Word.STOP),
        ("𝐒𝐓𝐎𝐏", Word.STOP),
        ("ſtop", Word.STOP),
        ("opt   out", Word.STOP),
        ("opt\nout", Word.STOP),
        ("s\u200bt\u200bo\u200bp", Word.STOP),
        ("ＳＴＡＲＴ", Word.START),
    ],
)
def test_the_word_in_other_letters(text: str, meant: Word) -> None:
    assert read_word(text) is meant


@pytest.mark.parametrize(
    "text",
    [
        "please stop", "stop please", "stop it", "don't stop", "stop stop", "the end", "cancel my appointment",
        "I want to quit smoking", "s t o p", "stopp", "stop1", "st op", "start over", "restart", "Loved “STOP”",
        "yes", "", " ", ".", "!!!", "out", "opt", "стоп", "ѕtop", "stop\x00", "no", "help", "stop🙂now",
        "stop" + "!" * 5000, "x" * 100_000, "\u200b" * 100_000,
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_a_sentence_says_nothing_about_consent(text: str) -> None:
    assert read_word(text) is None or text == "stop\x00"


# --- what follows -----------------------------------------------------------------------------------------------------
def hear(clinic: Clinic, text: str, *, said_at: datetime | None = None, **fields: Any) -> None:
    """The contact writes to the clinic."""
    fields = {"from_number": clinic.contact.phone_number, "number": clinic.contact.phone_number} | fields
    if said_at is not None:
        fields["date_sent"] = iso(said_at)
    assert tell(clinic.setup, received(clinic.account.phone_number, text, **fields)).status_code == 200
    apply_due()


def confirmations(clinic: Clinic) -> list[Message]:
    """What was answered, in order."""
    return list(Message.objects.filter(location=clinic.location, exempt_from_opt_out=True).order_by("position"))


def is_opted_out(clinic: Clinic) -> bool:
    return Contact.objects.filter(pk=clinic.contact.pk, opted_out_at__isnull=False).exists()


@pytest.mark.parametrize("word", STOP_WORDS)
def test_every_stop_word_blocks_the_next_message(clinic: Clinic, api: APIClient, word: str) -> None:
    assert api.post("/api/v1/messages/", clinic.text()).status_code == 202
    hear(clinic, word.upper())
    answer = api.post("/api/v1/messages/", clinic.text())
    assert answer.status_code == 422
    assert answer.json()["code"] == "contact_opted_out"
    blocked = Message.objects.get(pk=answer.json()["message"])
    assert (blocked.status, blocked.code) == ("failed", "contact_opted_out")


@pytest.mark.parametrize("word", START_WORDS)
def test_every_start_word_lifts_it(clinic: Clinic, api: APIClient, word: str) -> None:
    hear(clinic, "stop")
    hear(clinic, word)
    assert not is_opted_out(clinic)
    assert api.post("/api/v1/messages/", clinic.text()).status_code == 202
    assert len(confirmations(clinic)) == 2


def test_please_stop_blocks_nothing(clinic: Clinic, api: APIClient) -> None:
    hear(clinic, "please stop")
    assert api.post("/api/v1/messages/", clinic.text()).status_code == 202
    assert confirmations(clinic) == []


def test_stop_twice_is_confirmed_once(clinic: Clinic) -> None:
    hear(clinic, "STOP")
    first = Contact.objects.get(pk=clinic.contact.pk).opted_out_at
    hear(clinic, "stop")
    hear(clinic, "quit")
    assert len(confirmations(clinic)) == 1
    assert Contact.objects.get(pk=clinic.contact.pk).opted_out_at == first


def test_start_from_one_who_never_stopped_is_not_answered(clinic: Clinic) -> None:
    hear(clinic, "START")
    assert confirmations(clinic) == []


def test_the_stop_of_a_stranger_makes_a_contact_that_is_not_written_to(clinic: Clinic, api: APIClient) -> None:
    hear(clinic, "stop", from_number=CUSTOMER, number=CUSTOMER)
    contact = Contact.objects.get(location=clinic.location, phone_number=CUSTOMER)
    assert contact.opted_out_at is not None
    assert api.post("/api/v1/messages/", clinic.text(to=CUSTOMER)).status_code == 422


def test_consent_is_each_locations_own(clinic: Clinic, other_clinic: Clinic) -> None:
    other = make_contact(other_clinic.location, phone_number=clinic.contact.phone_number)
    hear(clinic, "stop")
    assert is_opted_out(clinic)
    other.refresh_from_db()
    assert other.opted_out_at is None


def test_stop_counts_for_every_account_of_the_location(hub: Hub) -> None:
    hub.sandbox.reply(from_number=CUSTOMER, to_number=hub.accounts[1].phone_number, text="Stop.")
    hub.sandbox.drain_webhooks()
    work_once()
    for index in (1, 2):
        answer = hub.post(CUSTOMER, f"hello {{IM#{index}}}")
        assert (answer.status_code, answer.json()["code"]) == (422, "contact_opted_out")


def test_the_confirmation_leaves_from_the_account_that_was_written_to(hub: Hub) -> None:
    first, second = hub.accounts
    hub.work_until_status(hub.send(CUSTOMER), "delivered")
    hub.sandbox.reply(from_number=CUSTOMER, to_number=second.phone_number, text="STOP")
    hub.work_until(lambda: len(hub.sandbox.ledger()) == 2)
    hub.sandbox.drain_webhooks()
    told = hub.sandbox.ledger()[-1]
    assert (told.from_number, told.number) == (second.phone_number, CUSTOMER)
    assert hub.location.name in told.content
    assert "START" in told.content
    hub.sandbox.reply(from_number=CUSTOMER, to_number=first.phone_number, text="start")
    hub.work_until(lambda: len(hub.sandbox.ledger()) == 3)
    told = hub.sandbox.ledger()[-1]
    assert told.from_number == first.phone_number
    assert "STOP" in told.content
    assert hub.post(CUSTOMER).status_code == 202


def test_a_confirmation_that_no_account_can_send_is_kept_as_failed_and_stop_counts(clinic: Clinic) -> None:
    Account.objects.filter(pk=clinic.account.pk).update(connected=False)
    hear(clinic, "STOP")
    assert is_opted_out(clinic)
    [confirmation] = confirmations(clinic)
    assert (confirmation.status, confirmation.code) == ("failed", "override_account_not_connected")


def test_what_was_queued_before_stop_does_not_leave(hub: Hub) -> None:
    hub.work_until_status(hub.send(CUSTOMER, "first"), "delivered")
    waiting = hub.send(CUSTOMER, "scheduled", scheduled_at=iso(timezone.now() + timedelta(hours=1)))
    hub.sandbox.reply(from_number=CUSTOMER, to_number=hub.accounts[0].phone_number, text="STOP")
    hub.work_until(lambda: len(hub.sandbox.ledger()) == 2)
    Message.objects.filter(pk=waiting.pk).update(due_at=waiting.created_at)
    failed = hub.work_until_status(waiting, "failed")
    assert failed.code == "contact_opted_out"
    assert [one.content for one in hub.sandbox.ledger()][1:] != ["scheduled"]
    assert len(hub.sandbox.ledger()) == 2


# --- order ------------------------------------------------------------------------------------------------------------
def test_a_start_that_was_written_before_the_stop_lifts_nothing(clinic: Clinic) -> None:
    now = timezone.now()
    hear(clinic, "stop", said_at=now - timedelta(seconds=10))
    hear(clinic, "start", said_at=now - timedelta(seconds=20))
    assert is_opted_out(clinic)
    hear(clinic, "start", said_at=now - timedelta(seconds=5))
    assert not is_opted_out(clinic)


def test_events_that_lay_for_hours_count_by_when_they_were_written(clinic: Clinic) -> None:
    now = timezone.now()
    hear(clinic, "stop", said_at=now - timedelta(hours=3))
    hear(clinic, "start", said_at=now - timedelta(hours=2))
    assert not is_opted_out(clinic)


def test_a_stop_from_a_clock_that_is_ahead_can_be_lifted(clinic: Clinic) -> None:
    hear(clinic, "stop", said_at=timezone.now() + timedelta(days=300))
    hear(clinic, "start")
    assert not is_opted_out(clinic)


@pytest.mark.postgres
def test_stops_at_once_are_confirmed_once(in_threads: Callable[..., list[Any]], clinic: Clinic) -> None:
    path, environ = door(clinic.setup), {SECRET: secret_of(clinic.setup)}
    sender = clinic.contact.phone_number
    for turn in range(5):
        Thread.objects.all().delete()
        Message.objects.all().delete()
        Contact.objects.update(opted_out_at=None)
        bodies = [received(clinic.account.phone_number, "STOP", from_number=sender) for _ in range(6)]

        def work(i: int, bodies: list[Any] = bodies) -> None:
            knock(path, bodies[i], **environ)
            apply_due()

        assert in_threads(6, work) == [None] * 6, turn
        assert Message.objects.filter(direction="inbound").count() == 6
        assert len(confirmations(clinic)) == 1
