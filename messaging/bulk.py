"""One message to many: decided, stored and refused row by row, in a fixed number of queries.

Each row comes to what sending it by itself would have come to: the same message, decided by the same rules from the
same facts. All of it is one transaction.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from messaging import services, threads
from messaging.delivery.doorbell import doorbell
from messaging.models import BatchRefusal, DispatchState, Message, MessageBatch
from messaging.models.batches import next_positions
from messaging.services import UUID_FORM, Decided, NewMessage
from messaging.webhooks_out.outbox import note_statuses
from routing import audit, facts
from routing.errors import Refused
from routing.mass_insert import insert_all, know_growth
from routing.models import ApiKey, AuditAction, Contact, Location, User
from routing.overrides import Override
from routing.phones import InvalidPhone, parse_phone
from routing.selection import select

MAX_RECIPIENTS = 10_000
LOCK_WAIT_MS = 30_000
"""How long a batch waits for another that touches the same contacts."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One row of the list. `to`: a phone number as typed, or a contact's id. `text` None: the text of all."""

    to: str
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """What became of a list: the batch, and the rows that are not sent, in their order."""

    batch: MessageBatch
    refusals: Sequence[BatchRefusal]


@dataclass(slots=True)
class _Row:
    """A row on its way. `refused`: it is not even decided."""

    index: int
    recipient: Recipient
    contact: Contact | None = None
    text: str = ""
    override: Override = field(default_factory=Override)
    refused: Refused | None = None


@transaction.atomic
def send_bulk(
    *,
    location: Location,
    frame: NewMessage,
    recipients: Sequence[Recipient],
    by: User | ApiKey | None,
    now: datetime,
    label: str = "",
    origin: str = "",
    taken: Collection[str] = (),
) -> Sent:
    """Store a message for each of up to MAX_RECIPIENTS recipients, to be sent behind what people write themselves.

    `frame` is what all have in common; its `to` is not looked at. A row that sending by itself would refuse is told in
    the refusals and keeps none of the others; a decision that finds no account is told there too, and its message is
    kept as failed. A recipient who has a message of this list already, or whose number is in `taken`, is refused as
    `duplicate_recipient`. Positions follow the list. `origin`: see `MessageBatch`.

    Raises Refused, and stores nothing, for what is wrong with the whole: `no_recipients`, `too_many_recipients`, and
    the frame's own faults as `services.send` does.
    """
    if not recipients:
        raise Refused("no_recipients", "Name at least one recipient.", field="recipients")
    if len(recipients) > MAX_RECIPIENTS:
        detail = f"A batch has at most {MAX_RECIPIENTS:,} recipients; send the rest in another one."
        raise Refused("too_many_recipients", detail, field="recipients")
    services.check_frame(location, frame)
    rows = [_Row(index, recipient) for index, recipient in enumerate(recipients)]
    _find_contacts(location, rows)
    _read_texts(rows, frame, services.account_index(location, frame.account))
    _refuse_doubles(rows, taken)
    return _store(location, rows, frame, _batch(location, by, now, label, origin), by)


def send_bulk_once(
    *,
    location: Location,
    key: str,
    fingerprint: str,
    act: Callable[[], Sent],
    render: Callable[[Sent], tuple[int, dict[str, Any]]],
) -> tuple[int, dict[str, Any], bool]:
    """Do `act`, which is a `send_bulk`, once for each `key` of the location, as `services.send_once` does."""

    def waiting_longer() -> tuple[int, dict[str, Any], None]:
        # The key is ours; what is waited for from here on is another batch.
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(LOCK_WAIT_MS)])
        return *render(act()), None

    return services.once(location=location, key=key, fingerprint=fingerprint, act=waiting_longer)


def _batch(location: Location, by: User | ApiKey | None, now: datetime, label: str, origin: str) -> MessageBatch:
    return MessageBatch(
        location=location,
        label=label,
        origin=origin,
        created_by=by if isinstance(by, User) else None,
        api_key=by if isinstance(by, ApiKey) else None,
        actor=audit.actor_name(by),
        created_at=now,
    )


# --- reading ----------------------------------------------------------------------------------------------------------
def _find_contacts(location: Location, rows: Sequence[_Row]) -> None:
    """Give each row its contact: one that is there, or a new one, not stored, for a number nobody has."""
    ids: dict[int, UUID] = {}
    numbers: dict[int, str] = {}
    for row in rows:
        to = row.recipient.to
        if UUID_FORM.fullmatch(to):
            ids[row.index] = UUID(to)
            continue
        try:
            numbers[row.index] = parse_phone(to, region=location.region)
        except InvalidPhone as error:
            row.refused = Refused(error.code, error.detail, field="to")
    contacts = Contact.objects.select_related("last_account").filter(location=location)
    by_id = {contact.pk: contact for contact in contacts.filter(pk__in=set(ids.values()))} if ids else {}
    there = contacts.filter(phone_number__in=set(numbers.values())) if numbers else ()
    by_number = {contact.phone_number: contact for contact in there}
    for row in rows:
        if row.index in numbers:
            number = numbers[row.index]
            if number not in by_number:
                by_number[number] = Contact(location=location, phone_number=number)
            row.contact = by_number[number]
        elif row.index in ids:
            row.contact = by_id.get(ids[row.index])
            if row.contact is None:
                row.refused = Refused("contact_not_found", "There is no contact with that id.", field="to")


def _read_texts(rows: Iterable[_Row], frame: NewMessage, account_index: int | None) -> None:
    """Give each row its text and what it asks for; the text of all is read once."""
    known: dict[str, tuple[str, Override] | Refused] = {}
    for row in rows:
        if row.refused is not None:
            continue
        given = frame.text if row.recipient.text is None else row.recipient.text
        if given not in known:
            try:
                known[given] = services.read_text(replace(frame, text=given), account_index=account_index)
            except Refused as refused:
                known[given] = refused
        found = known[given]
        if isinstance(found, Refused):
            row.refused = found
        else:
            row.text, row.override = found


def _refuse_doubles(rows: Iterable[_Row], taken: Collection[str]) -> None:
    first: dict[UUID, int] = {}
    for row in rows:
        if row.refused is not None or row.contact is None:
            continue
        if row.contact.phone_number in taken:
            row.refused = Refused("duplicate_recipient", "An earlier part of the list has this recipient.", field="to")
        elif row.contact.pk in first:
            detail = f"The recipient at index {first[row.contact.pk]} is the same; one message goes to each."
            row.refused = Refused("duplicate_recipient", detail, field="to")
        else:
            first[row.contact.pk] = row.index


# --- storing ----------------------------------------------------------------------------------------------------------
def _store(
    location: Location, rows: Sequence[_Row], frame: NewMessage, batch: MessageBatch, by: User | ApiKey | None
) -> Sent:
    kept = [row for row in rows if row.refused is None]
    decided = _decide(location, kept)
    stored = _stored_contacts(location, [each.contact for each in decided])
    messages = [
        services.message_row(
            location,
            replace(each, contact=stored.get(each.contact.phone_number, each.contact)),
            replace(frame, text=each.text, metadata=row.recipient.metadata),
            batch.created_at,
            position=position,
            batch=batch,
        )
        for row, each, position in zip(kept, decided, next_positions(len(kept)), strict=True)
    ]
    refusals = list(_refusals(batch, rows, {row.index: message for row, message in zip(kept, messages, strict=True)}))
    batch.recipient_count, batch.refused_count = len(rows), len(refusals)
    batch.accepted_count = len(rows) - len(refusals)
    batch.save(force_insert=True)
    insert_all(messages)
    threads.note_new_messages(messages, at=batch.created_at)
    insert_all([row for message in messages for row in services.attachment_rows(message, frame.media_urls)])
    insert_all(refusals)
    note_statuses([message.pk for message in messages if message.dispatch_state == DispatchState.REJECTED])
    know_growth([Contact, Message], added=len(messages))
    audit.record(
        by=by,
        action=AuditAction.CREATED,
        obj=batch,
        location_id=location.pk,
        detail=f"{batch.accepted_count:,} messages to be sent, {batch.refused_count:,} refused.",
    )
    if any(message.dispatch_state == DispatchState.QUEUED for message in messages):
        doorbell().ring()
    return Sent(batch, refusals)


def _decide(location: Location, rows: Sequence[_Row]) -> list[Decided]:
    contacts = [row.contact for row in rows if row.contact is not None]
    known = facts.load_many(location=location, contacts=contacts, overrides=[row.override for row in rows])
    policy = facts.policy_of(location)
    return [
        Decided(contact, row.text, row.override, select(each, row.override, policy=policy))
        for row, contact, each in zip(rows, contacts, known, strict=True)
    ]


def _stored_contacts(location: Location, contacts: Sequence[Contact]) -> dict[str, Contact]:
    """Those that were new, by number, once they are there, whoever made them."""
    # In one order for all, so that two batches wait for each other one way round only.
    new = sorted(
        (contact for contact in contacts if contact._state.adding), key=lambda contact: str(contact.phone_number)
    )
    if not new:
        return {}
    insert_all(new, on_conflict="ON CONFLICT DO NOTHING")
    there = Contact.objects.filter(location=location, phone_number__in=[contact.phone_number for contact in new])
    return {contact.phone_number: contact for contact in there}


def _refusals(batch: MessageBatch, rows: Iterable[_Row], messages: Mapping[int, Message]) -> Iterable[BatchRefusal]:
    for row in rows:
        message = messages.get(row.index)
        if row.refused is not None:
            code, detail = row.refused.code, row.refused.detail
        elif message is not None and message.dispatch_state == DispatchState.REJECTED:
            code, detail = message.code, message.detail
        else:
            continue
        yield BatchRefusal(
            location_id=batch.location_id,
            batch=batch,
            index=row.index,
            code=code,
            detail=detail,
            message=message,
        )
