"""What providers told us, applied: facts about messages, messages from customers, typing, lines."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from messaging import consent, reactions, threads
from messaging.delivery import evidence
from messaging.models import Attachment, Attempt, Direction, DispatchState, Message, MessageEvent, TypingNotice
from messaging.models.messages import NextPosition
from messaging.webhooks_out.outbox import note_statuses
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
    UnknownEvent,
)
from routing.models import Account, Contact
from routing.phones import InvalidPhone, parse_possible_phone
from routing.services import get_or_create_contact, note_last_account

log = structlog.get_logger("hub.events")

GIVE_UP_AFTER = timedelta(hours=24)
"""How long an event waits for what it speaks of: our own answer, or a line's number."""
LONGEST_WAIT = timedelta(minutes=5)
"""Between two tries: what was waited for may come at any moment, and somebody looks for a reply."""
MAX_FILES = 50
"""Of one received message; no phone sends as many, and the hub fetches none for somebody's joke."""
TYPING_LASTS = timedelta(seconds=60)

FACT_COLUMNS = {
    FactKind.SENT: "sent_at",
    FactKind.DELIVERED: "delivered_at",
    FactKind.READ: "read_at",
    FactKind.FAILED: "failed_at",
}

Result = tuple[EventOutcome, str]


class Waits(Exception):
    """What the event speaks of is not known yet; it is tried again later. The text says what it waits for.

    `in_vain` is what becomes of it when that never comes.
    """

    def __init__(self, detail: str, *, in_vain: EventOutcome = EventOutcome.IGNORED) -> None:
        super().__init__(detail)
        self.in_vain = in_vain


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
        _wait(event, str(waits), in_vain=waits.in_vain)
        return
    except ProviderError as error:
        _wait(event, error.detail, in_vain=EventOutcome.CONFLICT)
        return
    finish(event, due_in=None, outcome=outcome, detail=detail, applied_at=timezone.now())
    log.info("event applied", provider_event=str(event.pk), outcome=str(outcome))


def put_off(event: ProviderEvent) -> None:
    """An event that could not be applied for a reason of ours comes back later, for a day; then it is shown to
    people."""
    _wait(event, "The hub could not apply this; its log tells where.", in_vain=EventOutcome.CONFLICT)


def _wait(event: ProviderEvent, detail: str, *, in_vain: EventOutcome) -> None:
    if timezone.now() - event.received_at < GIVE_UP_AFTER:
        finish(event, due_in=_backoff(event.attempts), detail=detail)
    else:
        finish(event, due_in=None, outcome=in_vain, detail=f"Given up: {detail}", applied_at=timezone.now())


def _backoff(attempts: int) -> timedelta:
    return min(timedelta(seconds=2 ** min(attempts, 12)), LONGEST_WAIT)


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
    if event.attempt_id is not None and not isinstance(part, StatusEvent | UnknownEvent):
        return EventOutcome.CONFLICT, "At a message's own address only its statuses are believed."
    for kind, handle in handlers:
        if isinstance(part, kind):
            return handle(event, part)
    return EventOutcome.UNKNOWN, "The hub does not know this type of event; it is kept as it came."


def _line_hint(event: ProviderEvent, hint: LineHint) -> Result:
    outcome = provisioning.apply_line_hint(event=event, hint=hint)
    return outcome, event.detail


# --- facts ------------------------------------------------------------------------------------------------------------
def _status(event: ProviderEvent, status: StatusEvent) -> Result:
    message = _message_of(event, status)
    with transaction.atomic():
        if event.attempt_id is not None and message.provider_id == "":
            # Whatever the callback says, that it came proves that this attempt was accepted.
            accepted = Accepted(provider_id=storable(status.provider_id), service=status.service)
            try:
                with transaction.atomic():
                    evidence.note_accepted(message, accepted, at=status.at)
            except IntegrityError:
                return EventOutcome.CONFLICT, "The callback names the id of another message."
        if event.attempt_id is not None:
            evidence.note_proven(event.attempt_id)
        result = record_fact(message, status, event=event)
    if event.attempt_id is not None and not _has_id(message, status.provider_id):
        evidence.note_second_id(message, storable(status.provider_id))
        return EventOutcome.CONFLICT, "The message has another id at the provider: it may have been sent twice."
    return result


def _has_id(message: Message, provider_id: str) -> bool:
    return Message.objects.filter(pk=message.pk, provider_id=storable(provider_id)).exists()


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
    if changed:
        note_statuses([message.pk])
    return (EventOutcome.APPLIED if added and changed else EventOutcome.IGNORED), ""


# --- inbound ----------------------------------------------------------------------------------------------------------
def _inbound(event: ProviderEvent, inbound: InboundEvent) -> Result:
    if inbound.group_id:
        return EventOutcome.CONFLICT, "A group message: the hub converses with one contact at a time."
    account = _account_of(event.setup, inbound.line_number)
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
            if _is_reaction(event, contact, account, inbound):
                note_last_account(contact_id=contact.pk, account_id=account.pk)
                return EventOutcome.APPLIED, "A reaction to a message."
            _store_inbound(contact, account, inbound, now)
            note_last_account(contact_id=contact.pk, account_id=account.pk)
            TypingNotice.objects.filter(contact=contact, account=account).delete()
            consent.apply(contact=contact, account=account, text=inbound.text, said_at=inbound.at, now=now)
    except IntegrityError:
        there = Message.objects.filter(account=account, provider_id=storable(inbound.provider_id)).first()
        if there is None:
            raise
        if there.direction != Direction.INBOUND:
            return EventOutcome.CONFLICT, "A message that was sent has the same id at the provider."
        return EventOutcome.IGNORED, "Stored already."
    return EventOutcome.APPLIED, ""


def _is_reaction(event: ProviderEvent, contact: Contact, account: Account, inbound: InboundEvent) -> bool:
    """Whether the text was put on the message that it speaks of, and is no message itself."""
    notice = reactions.Notice(
        text=storable(inbound.text),
        provider_id=storable(inbound.provider_id),
        # A time to come would hold back all that follows.
        at=min(inbound.at or event.received_at, event.received_at),
    )
    return not inbound.media_urls and reactions.note(contact=contact, account=account, notice=notice)


def _store_inbound(contact: Contact, account: Account, inbound: InboundEvent, now: datetime) -> None:
    message = Message.objects.create(
        position=NextPosition(),
        location=contact.location,
        contact=contact,
        contact_number=contact.phone_number,
        account=account,
        direction=Direction.INBOUND,
        text=storable(inbound.text),
        dispatch_state=DispatchState.RECEIVED,
        provider_id=storable(inbound.provider_id),
        service=storable(inbound.service)[:16],
        sent_at=None,
        created_at=now,
    )
    threads.note_message(message, at=now, unread=True)
    Attachment.objects.bulk_create(
        [
            Attachment(location=contact.location, message=message, order=order, url=storable(url)[:2000], due_at=Now())
            for order, url in enumerate(inbound.media_urls[:MAX_FILES])
        ]
    )
    note_statuses([message.pk])


def _account_of(setup: Setup, line_number: str) -> Account:
    """The account behind one of the setup's numbers; of its only line when none is named. Raises Waits while there is
    none."""
    accounts = Account.objects.filter(phone_line__setup=setup)
    if not line_number:
        found = list(accounts.filter(phone_line__status=LineStatus.ASSIGNED)[:2])
        if len(found) != 1:
            raise Waits("It is not said which number was written to.", in_vain=EventOutcome.CONFLICT)
        return found[0]
    try:
        number = parse_possible_phone(line_number, region=setup.location.region)
    except InvalidPhone:
        raise Waits("The number that was written to cannot be read.", in_vain=EventOutcome.CONFLICT) from None
    # The line may have ended since; who was written to is the same.
    account = accounts.filter(phone_line__phone_number=number).order_by("-phone_line__assigned_at").first()
    if account is None:
        raise Waits("No line of this setup has the number that was written to, yet.", in_vain=EventOutcome.CONFLICT)
    return account


def _typing(event: ProviderEvent, typing: TypingEvent) -> Result:
    try:
        account = _account_of(event.setup, typing.line_number)
        number = parse_possible_phone(typing.from_number, region=event.setup.location.region)
    except (Waits, InvalidPhone):
        # Later it would mean nothing any more.
        return EventOutcome.IGNORED, "Nobody is known by these numbers."
    contact = Contact.objects.filter(location=event.location_id, phone_number=number).first()
    if contact is None:
        return EventOutcome.IGNORED, ""
    now = timezone.now()
    until = min(typing.at or event.received_at, event.received_at) + TYPING_LASTS
    TypingNotice.objects.filter(until__lte=now).delete()
    if not typing.is_typing or until <= now:
        TypingNotice.objects.filter(contact=contact, account=account).delete()
    else:
        TypingNotice.objects.update_or_create(
            contact=contact,
            account=account,
            defaults={"location_id": event.location_id, "until": until},
        )
    return EventOutcome.APPLIED, ""


def storable(text: str) -> str:
    """The text without what a database refuses: NUL becomes the replacement character, half a surrogate pair "?"."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
