"""Threads: in step with the messages, whoever stores them and in whatever order they commit."""

import importlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from messaging import threads
from messaging.delivery.worker import work_once
from messaging.models import Message, Thread
from tests.factories import Clinic, make_contact, make_message

SEND = "/api/v1/messages/"


def thread_of(clinic: Clinic) -> Thread:
    """The clinic's contact's."""
    return Thread.objects.get(contact=clinic.contact)


def test_each_message_becomes_the_last_one(clinic: Clinic, api: Any) -> None:
    for text in ("one", "two"):
        sent = api.post(SEND, clinic.text(text)).json()
        thread = thread_of(clinic)
        assert str(thread.last_message_id) == sent["id"]
        assert thread.last_position == Message.objects.get(pk=sent["id"]).position
        assert thread.location == clinic.location
    assert thread_of(clinic).unread_count == 0


def test_a_message_that_found_no_account_is_in_the_thread(clinic: Clinic, api: Any) -> None:
    answer = api.post(SEND, clinic.text("{IM#9} hello")).json()
    assert str(thread_of(clinic).last_message_id) == answer["message"]


def test_what_is_not_looked_at_is_counted_until_it_is(clinic: Clinic) -> None:
    for _ in range(3):
        message = make_message(clinic.contact, account=clinic.account, received=True)
        threads.note_message(message, at=timezone.now(), unread=True)
    assert thread_of(clinic).unread_count == 3
    assert threads.mark_seen(contact_id=clinic.contact.pk)
    assert not threads.mark_seen(contact_id=clinic.contact.pk)
    assert thread_of(clinic).unread_count == 0


def test_an_earlier_message_that_is_told_later_is_not_the_last(clinic: Clinic) -> None:
    earlier, later = (make_message(clinic.contact, account=clinic.account) for _ in range(2))
    now = timezone.now()
    threads.note_message(later, at=now)
    threads.note_message(earlier, at=now + timedelta(minutes=1), unread=True)
    thread = thread_of(clinic)
    assert (thread.last_message_id, thread.last_at, thread.unread_count) == (later.pk, now, 1)


def test_a_scheduled_message_is_the_last_when_it_falls_due(clinic: Clinic, api: Any) -> None:
    later = timezone.now() + timedelta(hours=1)
    scheduled = api.post(SEND, clinic.text("later", scheduled_at=later.isoformat())).json()["id"]
    api.post(SEND, clinic.text("now"))
    Message.objects.filter(pk=scheduled).update(due_at=timezone.now() - timedelta(seconds=1))
    work_once()
    assert str(thread_of(clinic).last_message_id) == scheduled


def test_messages_from_before_get_their_threads(clinic: Clinic) -> None:
    other = make_contact(clinic.location)
    for contact in (clinic.contact, other, clinic.contact):
        last = make_message(contact, account=clinic.account)
    assert not Thread.objects.exists()
    migration = importlib.import_module("messaging.migrations.0003_threads_of_messages")
    migration.open_threads(apps, connection.schema_editor())
    assert Thread.objects.count() == 2
    assert thread_of(clinic).last_message_id == last.pk


@pytest.mark.postgres
def test_fifty_at_once_leave_the_last_position(clinic: Clinic, in_threads: Callable[..., list[Any]]) -> None:
    messages = [make_message(clinic.contact, account=clinic.account, received=True) for _ in range(50)]

    def note(i: int) -> None:
        threads.note_message(messages[i], at=timezone.now(), unread=True)

    assert in_threads(50, note) == [None] * 50
    thread = thread_of(clinic)
    assert thread.last_position == max(Message.objects.values_list("position", flat=True))
    assert thread.unread_count == 50
