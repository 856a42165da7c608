"""What providers told us, applied: facts about messages, messages from customers, typing, lines."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from messaging import consent
from messaging.delivery import outbox
from messaging.models import Attachment, Attempt, Direction, DispatchState, Message, MessageEvent, TypingNotice
from messaging.models.messages import NextPosition
from provisioning import services as provisioning
from provisioning.duties import claim_due, finish
from provisioning.models import EventOutcome, LineStatus, PhoneLine, ProviderEvent, Setup
from provisioning.providers import get_adapter
from provisioning.providers.base import (
    Accepted,
    FactKind,
    InboundEvent,
    LineHint,
    ProviderError,
    StatusEvent,
    TypingEvent,
)
from routing.models import Account, Contact
from routing.phones import InvalidPhone, parse_possible_phone
from routing.services import get_or_create_contact, note_last_account

log = structlog.get_logger("hub.events")

GIVE_UP_AFTER = timedelta(hours=24)
"""How long an event waits for what it speaks of: our own answer, or a line's number."""
TYPING_LASTS = timedelta(seconds=60)

FACT_COLUMNS = {
    FactKind.SENT: "sent_at",
    FactKind.DELIVERED: "delivered_at",
    FactKind.READ: "read_at",
    FactKind.FAILED: "failed_at",
}

Result = tuple[EventOutcome, str]
E = TypeVar("E")


class Waits(Exception):  # noqa: N818
    """What the event speaks of is not known yet; it is tried again later. The text says what it waits for."""


def take_due(limit: int) -> list[ProviderEvent]:
    """Claim up to `limit` events that are to be applied."""
    rows = ProviderEvent.objects.select_related("setup__location")
    return list(claim_due(rows, limit=limit, lease=settings.HUB_LEASE))


def apply(event: ProviderEvent) -> None:
    """Apply one claimed event and write down what became of it; one that has to wait comes back later.

    Repeats and any order change nothing: facts are a set, and inbound messages are unique.
    """
    try:
        outcome, detail = _apply(event)
    except Waits as waits:
        if timezone.now() - event.received_at < GIVE_UP_AFTER:
            finish(event, due_in=_backoff(event.attempts), detail=str(waits))
            return
        outcome, detail = EventOutcome.IGNORED, f"Given up: {waits}"
    except ProviderError as error:
        finish(event, due_in=_backoff(event.attempts), detail=f"{error.code}")
        return
    finish(event, due_in=None, outcome=outcome, detail=detail, applied_at=timezone.now())
    log.info("event applied", provider_event=str(event.pk), outcome=str(outcome))


def _backoff(attempts: int) -> timedelta:
    return timedelta(seconds=min(2 ** min(attempts, 12), 3600))


def _apply(event: ProviderEvent) -> Result:
    parsed = get_adapter(event.setup.provider).parse(json.loads(bytes(event.body)), topic=event.topic)
    results = [_apply_part(event, part) for part in parsed.events]
    if not results:
        return EventOutcome.IGNORED, ""
    # One that asks for a person's eye speaks for all.
    order = [EventOutcome.CONFLICT, EventOutcome.APPLIED, EventOutcome.UNKNOWN, EventOutcome.IGNORED]
    return min(results, key=lambda result: order.index(result[0]))


def _apply_part(event: ProviderEvent, part: Any) -> Result:
    handlers: list[tuple[type, Callable[[ProviderEvent, Any], Result]]] = [
        (StatusEvent, _status),
        (InboundEvent, _inbound),
        (TypingEvent, _typing),
        (LineHint, _line_hint),
    ]
    for kind, handle in handlers:
        if isinstance(part, kind):
            return handle(event, part)
    return EventOutcome.UNKNOWN, "The hub does not know this type of event; it is kept as it came."


def _line_hint(event: ProviderEvent, hint: LineHint) -> Result:
    return provisioning.apply_line_hint(event=event, hint=hint), ""


# --- facts ------------------------------------------------------------------------------------------------------------
def _status(event: ProviderEvent, status: StatusEvent) -> Result:
    message = _message_of(event, status)
    with transaction.atomic():
        if event.attempt_id is not None and message.provider_id == "":
            # Whatever the callback says, that it came proves that this attempt was accepted.
            accepted = Accepted(provider_id=storable(status.provider_id), service=status.service)
            try:
                with transaction.atomic():
                    outbox.note_accepted(message, accepted, at=status.at)
            except IntegrityError:
                return EventOutcome.CONFLICT, "The callback names the id of another message."
        return record_fact(message, status, event=event)


def _message_of(event: ProviderEvent, status: StatusEvent) -> Message:
    """The message that a status speaks of. Raises Waits while there is none."""
    messages = Message.objects.filter(location=event.location_id, direction=Direction.OUTBOUND)
    if event.attempt_id is not None:
        attempt = Attempt.objects.filter(pk=event.attempt_id, location=event.location_id).first()
        if attempt is not None:
            return messages.get(pk=attempt.message_id)
    lines = PhoneLine.objects.filter(setup=event.setup_id, account__isnull=False)
    found = messages.filter(provider_id=storable(status.provider_id), account__in=lines.values("account")).first()
    if found is None or status.provider_id == "":
        raise Waits("No message with this id at the provider is known yet.")
    return found


def record_fact(message: Message, status: StatusEvent, *, event: ProviderEvent | None) -> Result:
    """Add one fact to the message's set; the first of its kind stays, whenever it comes."""
    column = FACT_COLUMNS.get(status.fact)
    if column is None:
        if status.fact is FactKind.ACCEPTED:
            return EventOutcome.APPLIED, ""
        return EventOutcome.UNKNOWN, f"The provider's status “{storable(status.raw_status)[:40]}” changes nothing."
    at = status.at or timezone.now()
    code, detail = storable(status.code)[:64], storable(status.detail)
    added = MessageEvent.objects.bulk_create(
        [
            MessageEvent(
                location_id=message.location_id,
                message_id=message.pk,
                kind=status.fact.value,
                at=at,
                code=code,
                detail=detail,
                provider_event=event,
            )
        ],
        ignore_conflicts=True,
    )
    changes: dict[str, Any] = {column: at}
    if status.fact is FactKind.FAILED:
        changes["failed_code"] = code
    changed = Message.objects.filter(pk=message.pk, **{f"{column}__isnull": True}).update(**changes)
    if status.service:
        Message.objects.filter(pk=message.pk, service="").update(service=storable(status.service)[:16])
    return (EventOutcome.APPLIED if added and changed else EventOutcome.IGNORED), ""


# --- inbound ----------------------------------------------------------------------------------------------------------
def _inbound(event: ProviderEvent, inbound: InboundEvent) -> Result:
    account = _account_of(event.setup, inbound.line_number)
    if inbound.group_id:
        return EventOutcome.CONFLICT, "A group message: the hub converses with one contact at a time."
    try:
        sender = parse_possible_phone(inbound.from_number, region=event.setup.location.region)
    except InvalidPhone:
        return EventOutcome.CONFLICT, "The sender is no phone number."
    if not inbound.provider_id:
        return EventOutcome.CONFLICT, "The message has no id at the provider."
    now = timezone.now()
    try:
        with transaction.atomic():
            contact, _ = get_or_create_contact(location=event.setup.location, phone_number=sender)
            _store_inbound(contact, account, inbound, now)
            note_last_account(contact_id=contact.pk, account_id=account.pk)
            TypingNotice.objects.filter(contact=contact, account=account).delete()
            consent.apply(contact=contact, account=account, text=inbound.text, now=now)
    except IntegrityError:
        if Message.objects.filter(account=account, provider_id=storable(inbound.provider_id)).exists():
            return EventOutcome.IGNORED, "Stored already."
        raise
    return EventOutcome.APPLIED, ""


def _store_inbound(contact: Contact, account: Account, inbound: InboundEvent, now: datetime) -> None:
    message = Message.objects.create(
        position=NextPosition(),
        location=contact.location,
        contact=contact,
        account=account,
        direction=Direction.INBOUND,
        text=storable(inbound.text),
        dispatch_state=DispatchState.RECEIVED,
        provider_id=storable(inbound.provider_id),
        service=storable(inbound.service)[:16],
        sent_at=None,
        created_at=now,
    )
    Attachment.objects.bulk_create(
        [
            Attachment(location=contact.location, message=message, order=order, url=storable(url)[:2000], due_at=now)
            for order, url in enumerate(inbound.media_urls)
        ]
    )


def _account_of(setup: Setup, line_number: str) -> Account:
    """The account behind one of the setup's numbers. Raises Waits while no assigned line has it."""
    try:
        number = parse_possible_phone(line_number, region=setup.location.region)
    except InvalidPhone:
        raise Waits("The number that was written to cannot be read.") from None
    line = (
        PhoneLine.objects.filter(setup=setup, phone_number=number, account__isnull=False)
        .exclude(status=LineStatus.PENDING)
        .select_related("account")
        .order_by("-assigned_at")
        .first()
    )
    if line is None or line.account is None:
        raise Waits("No line of this setup has the number that was written to, yet.")
    return line.account


def _typing(event: ProviderEvent, typing: TypingEvent) -> Result:
    account = _account_of(event.setup, typing.line_number)
    region = event.setup.location.region
    try:
        number = parse_possible_phone(typing.from_number, region=region)
    except InvalidPhone:
        return EventOutcome.IGNORED, ""
    contact = Contact.objects.filter(location=event.location_id, phone_number=number).first()
    if contact is None:
        return EventOutcome.IGNORED, ""
    TypingNotice.objects.filter(until__lte=timezone.now()).delete()
    if not typing.is_typing or (typing.at and timezone.now() - typing.at > TYPING_LASTS):
        TypingNotice.objects.filter(contact=contact, account=account).delete()
    else:
        TypingNotice.objects.update_or_create(
            contact=contact,
            account=account,
            defaults={"location_id": event.location_id, "until": timezone.now() + TYPING_LASTS},
        )
    return EventOutcome.APPLIED, ""


def storable(text: str) -> str:
    """The text without what a database refuses: NUL and lone surrogates become the replacement character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
