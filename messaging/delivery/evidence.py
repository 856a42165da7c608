"""What shows that the provider took a message on, from wherever it comes: an answer, a callback, a look-up, a person.

Which moves these are stands in the table of `messaging.delivery.outbox`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from messaging import raw_sql
from messaging.models import LIVE_STATES, Attempt, DispatchState, EventKind, Message, MessageEvent
from messaging.webhooks_out.outbox import note_statuses
from provisioning.models import PhoneLine, ProviderEvent
from provisioning.providers.base import Accepted
from routing.services import note_last_accounts, replace_number_tag

OPEN = {*LIVE_STATES, DispatchState.UNCERTAIN}
"""States that evidence closes."""


def note_accepted(message: Message, accepted: Accepted, *, at: datetime | None = None) -> bool:
    """Evidence that the provider took the message, from whomever: closes it, whatever was thought before.

    False when it was accepted already. The facts that came before us are applied next; the contact has seen the
    number. Raises IntegrityError when another message of the account has that provider id.
    """
    return bool(note_all_accepted([(message, accepted)], at=at))


def note_all_accepted(taken: Sequence[tuple[Message, Accepted]], *, at: datetime | None = None) -> set[UUID]:
    """As `note_accepted` for many messages, in few statements: those that were open until now. Stores nothing when it
    raises IntegrityError."""
    with transaction.atomic():
        ids = [message.pk for message, _ in taken]
        states = Message.objects.filter(pk__in=ids).select_for_update(no_key=True).order_by("pk")
        open_ = {pk for pk, state in states.values_list("pk", "dispatch_state") if state in OPEN}
        closing = [(message, accepted) for message, accepted in taken if message.pk in open_]
        _close(closing)
        for message, accepted in taken:
            if message.pk not in open_ and Message.objects.filter(pk=message.pk, provider_id="").update(
                provider_id=accepted.provider_id
            ):
                # One that was cancelled and left all the same stays what it is; its facts will show it.
                _wake_events([(message, accepted)])
        if closing:
            MessageEvent.objects.bulk_create(
                [
                    MessageEvent(
                        location_id=message.location_id,
                        message_id=message.pk,
                        kind=EventKind.ACCEPTED,
                        at=at or timezone.now(),
                    )
                    for message, _ in closing
                ],
                ignore_conflicts=True,
            )
            _wake_events(closing)
            _note_seen([message for message, _ in closing])
            note_statuses([message.pk for message, _ in closing])
    return open_


def _close(closing: Sequence[tuple[Message, Accepted]]) -> None:
    """One statement for all, sent once and run for each: what differs are the provider's words."""
    rows = [
        (
            accepted.provider_id,
            accepted.service[:16],
            *_other_number(message, accepted),
            raw_sql.id_parameter(message.pk),
        )
        for message, accepted in closing
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE messaging_message SET dispatch_state = 'accepted', provider_id = %s, service = %s, code = %s,"  # noqa: S608
            f" detail = %s, accepted_at = {raw_sql.now()}, due_at = NULL, lease_until = NULL, lookup_at = NULL"
            " WHERE id = %s",
            rows,
        )


def note_settled_as_sent(message: Message) -> bool:
    """A person's word that an uncertain message was sent: closes it; False when it was not uncertain any more.

    Its id at the provider stays open: a callback of the attempt may still bring it.
    """
    settled = Message.objects.filter(pk=message.pk, dispatch_state=DispatchState.UNCERTAIN).update(
        dispatch_state=DispatchState.ACCEPTED, accepted_at=Now(), due_at=None, lookup_at=None, code="", detail=""
    )
    if settled:
        _note_seen([message])
        note_statuses([message.pk])
    return bool(settled)


def note_proven(attempt_id: UUID) -> None:
    """The attempt's own callback came: it was accepted, whatever was thought of it."""
    Attempt.objects.filter(pk=attempt_id).exclude(outcome="accepted").update(
        outcome="accepted",
        code="",
        detail="Proven by its own callback.",
        ended_at=Coalesce(F("ended_at"), Now()),
    )


def note_second_id(message: Message, provider_id: str) -> None:
    """Two attempts were accepted, each under an id of its own: told on the message."""
    Message.objects.filter(pk=message.pk).exclude(provider_id__in=["", provider_id]).update(
        code="second_provider_id",
        detail="The provider gave this message two ids: it may have been sent twice.",
    )


def _wake_events(closing: Sequence[tuple[Message, Accepted]]) -> None:
    """What was told of these ids before we knew whose they are waits no longer."""
    accounts = {message.account_id for message, _ in closing}
    setups = PhoneLine.objects.filter(account__in=accounts).values("setup")
    ids = {accepted.provider_id for _, accepted in closing} - {""}
    ProviderEvent.objects.filter(setup__in=setups, provider_id__in=ids, due_at__isnull=False).exclude(
        provider_id=""
    ).update(due_at=Now())


def _note_seen(messages: Sequence[Message]) -> None:
    """The contacts have seen the numbers that these left from."""
    note_last_accounts({message.contact_id: message.sender.pk for message in messages})
    for message in messages:
        if message.override_index is not None and message.location.manual_override_persists:
            replace_number_tag(contact=message.contact, phone_number=message.sender.phone_number)


def _other_number(message: Message, accepted: Accepted) -> tuple[str, str]:
    """Code and words where the provider took another number than it was told to."""
    if accepted.from_number in (None, message.sender.phone_number):
        return "", ""
    return "other_number_used", "The provider says it sent this from another number than it was asked to."
