"""Keeps the threads: what a list of conversations shows, in step with the messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Subquery, Value, When

from messaging.models import Message, Thread
from routing.mass_insert import insert_all


def note_message(message: Message, *, at: datetime, unread: bool = False) -> None:
    """Let the message stand as the last of its contact's thread, unless a later one does.

    In the transaction that stores or moves the message; takes the thread's row lock until its end. `unread`: it was
    received and nobody has looked at it.
    """
    if _note(message, at, unread):
        return
    first = Thread(
        contact_id=message.contact_id,
        location_id=message.location_id,
        last_message=message,
        last_position=0,  # before every message: the update below puts the real one
        last_at=at,
    )
    Thread.objects.bulk_create([first], ignore_conflicts=True)
    _note(message, at, unread)


def _note(message: Message, at: datetime, unread: bool) -> int:
    position = Subquery(Message.objects.filter(pk=message.pk).values("position")[:1])

    def if_later(value: Any, column: str) -> Case:
        return Case(When(last_position__lt=position, then=value), default=F(column))

    return Thread.objects.filter(pk=message.contact_id).update(
        last_message=if_later(Value(message.pk), "last_message"),
        last_at=if_later(Value(at), "last_at"),
        last_position=if_later(position, "last_position"),
        unread_count=F("unread_count") + int(unread),
    )


def note_new_messages(messages: Sequence[Message], *, at: datetime) -> None:
    """As `note_message`, for many that were just stored, each of another contact, in one statement."""
    # In one order for all, so that two batches wait for each other one way round only.
    rows = [
        Thread(
            contact_id=message.contact_id,
            location_id=message.location_id,
            last_message=message,
            last_position=message.position,
            last_at=at,
        )
        for message in sorted(messages, key=lambda message: message.contact_id)
    ]
    insert_all(
        rows,
        on_conflict=(
            "ON CONFLICT (contact_id) DO UPDATE SET last_message_id = excluded.last_message_id,"
            " last_position = excluded.last_position, last_at = excluded.last_at"
            " WHERE messaging_thread.last_position < excluded.last_position"
        ),
    )


def mark_seen(*, contact_id: UUID) -> bool:
    """Somebody who may answer has looked at the thread: nothing in it is unread. True when something was."""
    return bool(Thread.objects.filter(pk=contact_id, unread_count__gt=0).update(unread_count=0))
