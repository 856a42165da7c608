"""The desk: what a person decides about a message when nobody can tell whether it was sent."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from messaging.delivery import evidence
from messaging.delivery.doorbell import doorbell
from messaging.models import DispatchState, Message
from routing import audit
from routing.errors import Refused
from routing.models import Account, AuditAction, Contact, User

MAX_REASON_LENGTH = 200


def settle_as_sent(*, message: Message, by: User, reason: str = "") -> str:
    """Somebody knows that it was sent: it counts as accepted, and what the provider still tells of it is added. A
    sentence on what was done.

    `reason` is kept in the audit trail, written in the same transaction. Raises Refused("not_uncertain", 409) when it
    was settled meanwhile, by whomever.
    """
    sentence = _with_reason("Settled: it was sent.", reason)
    with transaction.atomic():
        if not evidence.note_settled_as_sent(message):
            raise _settled_meanwhile(message)
        _record(message, by, sentence)
    return sentence


def send_again(*, message: Message, by: User, reason: str = "") -> str:
    """Send it once more, in its old place in the conversation and with a new time of expiry: the only place where a
    contact may come to get one message twice. A sentence on what was done.

    Audited as `settle_as_sent`. Evidence of the first try that comes before the second leaves stops the second. Raises
    Refused: ("not_uncertain", 409), ("contact_opted_out", 422), ("account_not_connected", 422).
    """
    sentence = _with_reason("Sent again: the contact may get it twice.", reason)
    with transaction.atomic():
        _check_contact(message)
        _check_account(message.sender)
        again = _undecided(message).update(
            dispatch_state=DispatchState.QUEUED,
            due_at=Now(),
            expires_at=Now() + settings.HUB_MESSAGE_LIFETIME,
            uncertain_at=None,
            lookup_at=None,
            lease_until=None,
            code="",
            detail="",
        )
        if not again:
            raise _settled_meanwhile(message)
        _record(message, by, sentence)
        doorbell().ring()
    return sentence


def _undecided(message: Message) -> Any:
    """The row, while nothing is known of the message: neither an id at the provider nor any fact."""
    return Message.objects.filter(
        pk=message.pk,
        dispatch_state=DispatchState.UNCERTAIN,
        provider_id="",
        sent_at__isnull=True,
        delivered_at__isnull=True,
        read_at__isnull=True,
    )


def _check_contact(message: Message) -> None:
    opted_out = Contact.objects.filter(pk=message.contact_id, opted_out_at__isnull=False)
    if not message.exempt_from_opt_out and opted_out.exists():
        raise Refused(
            "contact_opted_out", "The contact has opted out since: nothing is sent to them any more.", status=422
        )


def _check_account(account: Account) -> None:
    """By the row as it is now. Raises Refused when it cannot send: another number would be a surprise."""
    blockers = Account.objects.get(pk=account.pk).blockers
    if blockers:
        words = ", ".join(blocker.replace("_", " ") for blocker in blockers)
        raise Refused(
            "account_not_connected",
            f"Its account {account.index} cannot send now ({words}). Try again when it can, or write a new message.",
            status=422,
        )


def _settled_meanwhile(message: Message) -> Refused:
    status = Message.objects.values_list("status", flat=True).get(pk=message.pk)
    return Refused(
        "not_uncertain", f"Nothing was done: the message is not uncertain any more, it is {status} now.", status=409
    )


def _with_reason(sentence: str, reason: str) -> str:
    reason = " ".join(reason.replace("\0", "").split())[:MAX_REASON_LENGTH]
    return f"{sentence} Reason: {reason}" if reason else sentence


def _record(message: Message, by: User, sentence: str) -> None:
    audit.record(by=by, action=AuditAction.CHANGED, obj=message, location_id=message.location_id, detail=sentence)
