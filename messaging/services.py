"""What people and programs do with messages: send, look before sending, cancel, give a receipt, show typing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.utils import timezone

from messaging import scheduling, threads, uploads
from messaging.delivery.doorbell import doorbell
from messaging.models import (
    Attachment,
    Direction,
    DispatchState,
    EventKind,
    IdempotencyKey,
    Message,
    MessageBatch,
    MessageEvent,
    Priority,
)
from messaging.models.messages import NextPosition
from messaging.webhooks_out.outbox import note_statuses
from provisioning.models import LineStatus
from provisioning.providers import get_adapter
from provisioning.providers.base import Capability, ProviderError
from provisioning.services import credentials_of
from routing import facts
from routing.errors import Refused
from routing.models import Account, Contact, Location
from routing.overrides import Override, TextRefused, combine, parse, require_content, require_length
from routing.phones import InvalidPhone, parse_phone
from routing.selection import Decision, select
from routing.services import get_or_create_contact

MAX_MEDIA = 1
"""What the providers take in one message; more would be several texts under one id."""
KEY_WAIT_MS = 2000
"""How long a repeated request waits for the first one before it is told that it is still running."""
CANCELLABLE = (DispatchState.QUEUED, DispatchState.SCHEDULED, DispatchState.CLAIMED)
"""States of a message of which nothing has left."""


@dataclass(frozen=True)
class NewMessage:
    """A message as it was asked for. `to`: a phone number as typed, or a contact's id. `account`: an account's id or
    index, which is rule 1 without braces. `pictures`: what a person attached, from `uploads.store_picture`."""

    to: str
    text: str = ""
    media_urls: tuple[str, ...] = ()
    pictures: tuple[uploads.StoredPicture, ...] = ()
    account: str | int | None = None
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    send_style: str = ""
    parse_overrides: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """What would happen: the trace, and the text as it would be sent."""

    routing: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Decided:
    """A request that was read, and the account that was picked for it. `contact` is not stored yet when its number is
    new."""

    contact: Contact
    text: str
    override: Override
    decision: Decision


def send(*, location: Location, wanted: NewMessage, now: datetime) -> Message:
    """Store one message, with its decision, to be sent; what comes back is committed with the caller's transaction.

    A decision that found no account gives a message with status failed that says why in `code` and `trace`. Raises
    Refused, and stores nothing, when the request itself is malformed.
    """
    with uploads.removed_on_error(wanted.pictures), transaction.atomic():
        return _store(location, _decide(location, wanted), wanted, now)


def send_confirmation(*, contact: Contact, account: Account, text: str, now: datetime) -> Message:
    """Store the answer to STOP or START: it leaves from the account that was written to, and no opt-out holds it."""
    override = Override(manual=account.index)
    location = contact.location
    known = facts.load(location=location, contact=contact, override=override)
    decision = select(known, override, policy=facts.policy_of(location), exempt_from_opt_out=True)
    decided = Decided(contact=contact, text=text, override=override, decision=decision)
    wanted = NewMessage(to=contact.phone_number, text=text, parse_overrides=False)
    return _store(location, decided, wanted, now, exempt_from_opt_out=True)


def send_once(
    *,
    location: Location,
    key: str,
    fingerprint: str,
    wanted: NewMessage,
    now: datetime,
    render: Callable[[Message], tuple[int, dict[str, Any]]],
) -> tuple[int, dict[str, Any], bool]:
    """As `send`, once for each `key` of the location: status code, JSON body, and whether that is a repetition.

    The key is stored with the message in one transaction, so neither is ever there without the other; a request that
    comes while the first runs waits for it. `fingerprint` is a digest of the request's meaning. Raises Refused
    ("idempotency_key_reused", 422) for another request under the same key, ("idempotency_in_progress", 409) when the
    wait was too long, and as `send` does.
    """

    def act() -> tuple[int, dict[str, Any], Message]:
        message = send(location=location, wanted=wanted, now=now)
        return *render(message), message

    with uploads.removed_on_error(wanted.pictures):
        return once(location=location, key=key, fingerprint=fingerprint, act=act)


@transaction.atomic
def once(
    *,
    location: Location,
    key: str,
    fingerprint: str,
    act: Callable[[], tuple[int, dict[str, Any], Message | None]],
) -> tuple[int, dict[str, Any], bool]:
    """Do `act`, which gives its answer and the message it is about, if any, once for each `key` of the location: status
    code, JSON body, and whether that is a repetition. Raises Refused as `send_once` does."""
    _take_key(location, key, fingerprint)
    row = IdempotencyKey.objects.get(location=location, key=key)
    if row.fingerprint != fingerprint:
        raise Refused(
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request; use a new one.",
            status=422,
        )
    # Answers are committed together with their keys: without an answer it is the row just made.
    if row.status_code is not None and row.answer is not None:
        return row.status_code, row.answer, True
    row.status_code, row.answer, row.message = act()
    row.save(update_fields=["status_code", "answer", "message"])
    return row.status_code, row.answer, False


def preview(*, location: Location, wanted: NewMessage) -> Preview:
    """What `send` would decide now, by the same code; stores nothing. Raises Refused as `send` does."""
    decided = _decide(location, wanted)
    return Preview(routing=decided.decision.trace(), text=decided.text)


@transaction.atomic
def cancel(*, message: Message) -> Message:
    """Keep a message from being sent; the message comes back as it is then. Raises Refused("not_cancellable", 409)
    once it may have left."""
    rows = Message.objects.filter(pk=message.pk, direction=Direction.OUTBOUND, dispatch_state__in=CANCELLABLE)
    cancelled = rows.update(dispatch_state=DispatchState.CANCELLED, due_at=None, lease_until=None)
    if not cancelled:
        raise Refused("not_cancellable", "Only a queued or scheduled message can be cancelled.", status=409)
    note_statuses([message.pk])
    message.refresh_from_db()
    return message


def mark_read(*, message: Message) -> None:
    """Give the contact a read receipt for an inbound message, now. Given once; again: nothing.

    Raises Refused: ("not_inbound", 409), ("not_supported", 409), ("account_not_connected", 409), ("provider_refused",
    502), ("provider_unavailable", 503).
    """
    if message.direction != Direction.INBOUND or message.account is None:
        raise Refused("not_inbound", "Only a received message can be marked as read.", status=409)
    if message.events.filter(kind=EventKind.RECEIPT).exists():
        return
    to, account = message.contact_number, message.account
    _ask_provider(
        account,
        Capability.MARK_READ,
        lambda adapter, credentials: adapter.mark_read(credentials, to=to, from_number=account.phone_number),
    )
    MessageEvent.objects.bulk_create(
        [MessageEvent(location_id=message.location_id, message=message, kind=EventKind.RECEIPT, at=timezone.now())],
        ignore_conflicts=True,
    )


def show_typing(*, contact: Contact, account: Account, is_typing: bool) -> None:
    """Show or hide the account's typing dots at the contact, now. Raises Refused as `mark_read` does."""
    _ask_provider(
        account,
        Capability.TYPING,
        lambda adapter, credentials: adapter.typing(
            credentials, to=contact.phone_number, from_number=account.phone_number, is_typing=is_typing
        ),
    )


def _ask_provider(account: Account, capability: Capability, call: Callable[..., None]) -> None:
    line = getattr(account, "phone_line", None)
    if line is None or line.status != LineStatus.ASSIGNED or not account.can_send:
        raise Refused("account_not_connected", "The account is not connected.", status=409)
    adapter = get_adapter(line.setup.provider)
    if not adapter.capabilities & capability:
        raise Refused("not_supported", f"{adapter.label} cannot do this.", status=409)
    try:
        call(adapter, credentials_of(line.setup))
    except ProviderError as error:
        if error.is_refusal:
            raise Refused("provider_refused", error.detail, status=502) from error
        raise Refused(
            "provider_unavailable", "The provider did not answer as it should; try again.", status=503
        ) from error


def _decide(location: Location, wanted: NewMessage) -> Decided:
    """Read the request and pick the account. Raises Refused."""
    check_frame(location, wanted)
    contact = _find_contact(location, wanted.to)
    text, override = read_text(wanted, account_index=account_index(location, wanted.account))
    known = facts.load(location=location, contact=contact, override=override)
    return Decided(contact, text, override, select(known, override, policy=facts.policy_of(location)))


def check_frame(location: Location, wanted: NewMessage) -> None:
    """Raises Refused for what is wrong whoever gets the message: its times, its files."""
    scheduling.check_times(location, wanted.scheduled_at, wanted.expires_at, now=timezone.now())
    if len(wanted.media_urls) + len(wanted.pictures) > MAX_MEDIA:
        raise Refused("too_many_media", "A message carries one file; send one message for each.", field="media_urls")


def read_text(wanted: NewMessage, *, account_index: int | None) -> tuple[str, Override]:
    """The text as the contact gets it, and the accounts it asks for, with the one that the request names by
    `account_index`. Raises Refused."""
    try:
        if wanted.parse_overrides:
            parsed = parse(wanted.text)
            text, override = parsed.text, parsed.override
        else:
            require_length(wanted.text)
            text, override = wanted.text, Override()
        require_content(text, bool(wanted.media_urls or wanted.pictures))
        return text, combine(override, account_index=account_index)
    except TextRefused as error:
        detail = f"{error.detail} {error.hint}" if error.hint else error.detail
        raise Refused(error.code, detail, field="text") from error


UUID_FORM = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def _find_contact(location: Location, to: str) -> Contact:
    """The contact that `to` names; a new one, not stored, for a number nobody has."""
    contacts = Contact.objects.select_related("last_account").filter(location=location)
    if UUID_FORM.fullmatch(to):
        contact = contacts.filter(pk=UUID(to)).first()
        if contact is None:
            raise Refused("contact_not_found", "There is no contact with that id.", field="to")
        contact.location = location
        return contact
    try:
        number = parse_phone(to, region=location.region)
    except InvalidPhone as error:
        raise Refused(error.code, error.detail, field="to") from error
    found = contacts.filter(phone_number=number).first()
    return found or Contact(location=location, phone_number=number)


def account_index(location: Location, given: str | int | None) -> int | None:
    """The index that the request's `account` names; 0, which no account has, for an id that is not there."""
    if given is None or isinstance(given, int):
        return given
    if not UUID_FORM.fullmatch(given):
        raise Refused("invalid_account", "account is an account's id or its index.", field="account")
    index = Account.objects.open().filter(location=location, pk=UUID(given)).values_list("index", flat=True).first()
    return index or 0


def _store(
    location: Location, decided: Decided, wanted: NewMessage, now: datetime, *, exempt_from_opt_out: bool = False
) -> Message:
    contact = decided.contact
    if contact._state.adding:
        contact, _ = get_or_create_contact(location=location, phone_number=contact.phone_number)
        decided = replace(decided, contact=contact)
    message = message_row(
        location, decided, wanted, now, position=NextPosition(), exempt_from_opt_out=exempt_from_opt_out
    )
    message.save(force_insert=True)
    del message.position  # an expression until it is read again
    threads.note_message(message, at=now)
    if message.dispatch_state == DispatchState.QUEUED:
        doorbell().ring()
    elif message.dispatch_state == DispatchState.REJECTED:
        note_statuses([message.pk])
    Attachment.objects.bulk_create(
        [
            *attachment_rows(message, wanted.media_urls),
            *uploads.attach(message, wanted.pictures, first=len(wanted.media_urls)),
        ]
    )
    return message


def message_row(
    location: Location,
    decided: Decided,
    wanted: NewMessage,
    now: datetime,
    *,
    position: Any,
    batch: MessageBatch | None = None,
    exempt_from_opt_out: bool = False,
) -> Message:
    """The message as it is to be stored, by itself or in a batch; its contact is there."""
    contact, decision = decided.contact, decided.decision
    due = scheduling.due_of(location, wanted.scheduled_at or now, now=now, exempt=exempt_from_opt_out)
    if decision.account is None:
        state, code, detail = DispatchState.REJECTED, str(decision.code), decision.sentence
    else:
        state = DispatchState.SCHEDULED if wanted.scheduled_at else DispatchState.QUEUED
        code, detail = due.code, due.detail
    return Message(
        position=position,
        location=location,
        contact=contact,
        batch=batch,
        contact_number=contact.phone_number,
        account_id=decision.account.id if decision.account else None,
        direction=Direction.OUTBOUND,
        text=decided.text,
        send_style=wanted.send_style,
        literal=not wanted.parse_overrides,
        metadata=wanted.metadata,
        rule=decision.rule or "",
        trace=decision.trace(),
        number_switch=decision.number_switch,
        override_index=decided.override.manual,
        temporary_override_index=decided.override.temporary,
        exempt_from_opt_out=exempt_from_opt_out,
        dispatch_state=state,
        code=code,
        detail=detail,
        priority=Priority.SINGLE if batch is None else Priority.BULK,
        scheduled_at=wanted.scheduled_at,
        due_at=due.at if decision.account else None,
        expires_at=scheduling.expiry_of(due, wanted.expires_at),
        expiry_given=wanted.expires_at is not None,
        created_at=now,
    )


def attachment_rows(message: Message, media_urls: Sequence[str]) -> list[Attachment]:
    """The files that the provider fetches from elsewhere, to be stored with the message."""
    return [
        Attachment(location_id=message.location_id, message=message, order=order, url=url)
        for order, url in enumerate(media_urls)
    ]


def _take_key(location: Location, key: str, fingerprint: str) -> None:
    """Insert the key if nobody has; waits while another transaction that inserted it is open."""
    row = IdempotencyKey(location=location, key=key, fingerprint=fingerprint)
    try:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(KEY_WAIT_MS)])
        IdempotencyKey.objects.bulk_create([row], ignore_conflicts=True)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        raise Refused(
            "idempotency_in_progress",
            "A request with this Idempotency-Key is still running; ask again in a moment.",
            status=409,
        ) from error


LOCK_NOT_AVAILABLE = "55P03"
