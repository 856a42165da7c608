"""What shows that the provider took a message on, from wherever it comes: an answer, a callback, a look-up, a person.

Which moves these are stands in the table of `messaging.delivery.outbox`.
"""

from datetime import datetime
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from messaging.models import LIVE_STATES, Attempt, DispatchState, EventKind, Message, MessageEvent
from messaging.webhooks_out.outbox import note_statuses
from provisioning.models import PhoneLine, ProviderEvent
from provisioning.providers.base import Accepted
from routing.services import note_last_account, replace_number_tag


def note_accepted(message: Message, accepted: Accepted, *, at: datetime | None = None) -> bool:
    """Evidence that the provider took the message, from whomever: closes it, whatever was thought before.

    False when it was accepted already. The facts that came before us are applied next; the contact has seen the
    number. Raises IntegrityError when another message of the account has that provider id.
    """
    row = Message.objects.filter(pk=message.pk)
    closed = row.filter(dispatch_state__in=[*LIVE_STATES, DispatchState.UNCERTAIN]).update(
        dispatch_state=DispatchState.ACCEPTED,
        provider_id=accepted.provider_id,
        service=accepted.service[:16],
        accepted_at=Now(),
        due_at=None,
        lease_until=None,
        lookup_at=None,
        **_other_number(message, accepted),
    )
    if not closed:
        # Closed before. One that was cancelled and left all the same stays what it is; its facts will show it.
        if row.filter(provider_id="").update(provider_id=accepted.provider_id):
            _wake_events(message, accepted.provider_id)
        return False
    MessageEvent.objects.bulk_create(
        [
            MessageEvent(
                location_id=message.location_id,
                message_id=message.pk,
                kind=EventKind.ACCEPTED,
                at=at or timezone.now(),
            )
        ],
        ignore_conflicts=True,
    )
    _wake_events(message, accepted.provider_id)
    _note_seen(message)
    note_statuses([message.pk])
    return True


def note_settled_as_sent(message: Message) -> bool:
    """A person's word that an uncertain message was sent: closes it; False when it was not uncertain any more.

    Its id at the provider stays open: a callback of the attempt may still bring it.
    """
    settled = Message.objects.filter(pk=message.pk, dispatch_state=DispatchState.UNCERTAIN).update(
        dispatch_state=DispatchState.ACCEPTED, accepted_at=Now(), due_at=None, lookup_at=None, code="", detail=""
    )
    if settled:
        _note_seen(message)
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


def _wake_events(message: Message, provider_id: str) -> None:
    """What was told of this id before we knew whose it is waits no longer."""
    setups = PhoneLine.objects.filter(account=message.account_id).values("setup")
    ProviderEvent.objects.filter(setup__in=setups, provider_id=provider_id, due_at__isnull=False).exclude(
        provider_id=""
    ).update(due_at=Now())


def _note_seen(message: Message) -> None:
    """The contact has seen the number that this left from."""
    note_last_account(contact_id=message.contact_id, account_id=message.sender.pk)
    if message.override_index is not None and message.location.manual_override_persists:
        replace_number_tag(contact=message.contact, phone_number=message.sender.phone_number)


def _other_number(message: Message, accepted: Accepted) -> dict[str, str]:
    if accepted.from_number in (None, message.sender.phone_number):
        return {"code": "", "detail": ""}
    return {
        "code": "other_number_used",
        "detail": "The provider says it sent this from another number than it was asked to.",
    }
