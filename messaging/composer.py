"""What people do in a conversation: look where a text would leave from, send it, try a failed one again."""

import hashlib
import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import transaction
from django.utils import timezone

from messaging import services, uploads
from messaging.conversation import in_words, may_be_tried_again
from messaging.models import Attachment, Direction, Message, MessageStatus
from messaging.services import NewMessage
from routing import audit
from routing.admin_look import zone_of
from routing.errors import Refused
from routing.models import AuditAction, Contact, Location, User
from routing.phones import InvalidPhone, parse_phone
from routing.services import get_or_create_contact

_FOR_PROGRAMS = ", or send the text with parse_overrides off to keep it"
_FIELDS = {"scheduled_at": "The time to send it", "expires_at": "The time after which it is not sent"}
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Outlook:
    """Where a text would leave from, in words. `number` is "" when it would not be sent; then `problem` says why.
    `text` is what would be sent, where that is not what was typed."""

    number: str = ""
    label: str = ""
    why: str = ""
    text: str = ""
    problem: str = ""
    warnings: list[str] = field(default_factory=list)


def new_token() -> str:
    """What a composer carries, so that sending it twice makes one message."""
    return uuid.uuid4().hex


def cleaned(text: str) -> str:
    """The text of a form as it is kept: its line breaks plain, without what no database stores."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def said_to_people(refused: Refused) -> str:
    """Our "no" without what only programs can do about it."""
    said = refused.detail.replace(_FOR_PROGRAMS, "")
    for name, words in _FIELDS.items():
        said = said.replace(name, words)
    return in_words(said)


def look_ahead(*, contact: Contact, text: str) -> Outlook:
    """What sending the text would come to, by the code that sends; stores nothing. For no text yet: the number alone.

    `contact` comes with its location.
    """
    typed = cleaned(text)
    wanted = NewMessage(to=str(contact.pk), text=typed)
    if not typed.strip():
        wanted = NewMessage(to=str(contact.pk), text="-", parse_overrides=False)
    try:
        seen = services.preview(location=contact.location, wanted=wanted)
    except Refused as refused:
        return Outlook(problem=said_to_people(refused))
    routing: dict[str, Any] = seen.routing
    warnings = [in_words(warning["detail"]) for warning in routing["warnings"]]
    if routing["account"] is None:
        return Outlook(problem=in_words(routing["sentence"]), warnings=warnings)
    _, _, why = routing["sentence"].partition(" because ")
    return Outlook(
        number=routing["account"]["phone_number"],
        label=routing["account"]["label"],
        why=in_words(why.rstrip(".")),
        text=seen.text if typed.strip() and seen.text != typed.strip() else "",
        warnings=warnings,
    )


def read_local(text: str, location: Location) -> datetime | None:
    """The moment that a browser's picker names, on the location's clocks; None for nothing. Raises Refused, also for a
    time that comes twice or never on a day on which the clocks change."""
    with timezone.override(zone_of(location)):
        try:
            found: datetime | None = forms.DateTimeField(required=False).clean(text.replace("\0", "")[:32])
        except ValidationError as error:
            detail = "Choose a day and a time that the clocks show once on that day."
            raise Refused("invalid_time", detail, field="scheduled_at") from error
    return found


def send(
    *, contact: Contact, by: User, text: str, token: str, later: str = "", picture: "File[Any] | None" = None
) -> None:
    """Send the text to the contact, once for each token; `later`: at that time, as typed. Raises Refused, and then
    nothing is stored."""
    typed, at = cleaned(text), read_local(later, contact.location)
    pictures = () if picture is None else (uploads.store_picture(picture),)
    digest = hashlib.sha256(f"{contact.pk} {typed}".encode())
    if at is not None:
        digest.update(f" at {at.isoformat()}".encode())
    for stored in pictures:
        digest.update(hashlib.sha256(stored.content).digest())
    key = f"composer {by.pk} {token if _TOKEN.fullmatch(token) else new_token()}"
    wanted = NewMessage(to=str(contact.pk), text=typed, pictures=pictures, scheduled_at=at)
    try:
        _send_once(contact, by, key, digest.hexdigest(), wanted, "Sent from its conversation.")
    except Refused as refused:
        if refused.code != "idempotency_key_reused":
            raise
        raise Refused(
            refused.code,
            "What you wrote before this change was sent already: look above. Send again if you want to send this too.",
            status=refused.status,
        ) from refused


def try_again(*, message: Message, by: User) -> bool:
    """Send the text of a message that failed anew, as a new message; False when that was done already.

    What the first one's text said about its number holds for the second. Raises Refused, as `services.send` does, and
    for one that did not fail.
    """
    if message.direction != Direction.OUTBOUND or message.status not in (MessageStatus.FAILED, MessageStatus.EXPIRED):
        raise Refused("not_failed", "Only a message that failed can be tried again.", status=409)
    if not may_be_tried_again(message):
        raise Refused("too_old", "This is too old to be tried again; write it anew.", status=409)
    contact = message.contact
    files = list(message.attachments.order_by("order"))
    text, account = message.text, message.override_index
    if account is None and message.temporary_override_index is not None:
        text = f"{{TEMP-IM#{message.temporary_override_index}}} {text}"
    wanted = NewMessage(
        to=str(contact.pk),
        text=text,
        media_urls=tuple(row.url for row in files if not row.file),
        pictures=_pictures(files),
        account=account,
        send_style=message.send_style,
        parse_overrides=not message.literal,
    )
    fingerprint = hashlib.sha256(str(message.pk).encode()).hexdigest()
    return _send_once(contact, by, f"again {message.pk}", fingerprint, wanted, f"Tried {message} again.")


def _pictures(files: list[Attachment]) -> tuple[uploads.StoredPicture, ...]:
    try:
        return tuple(uploads.store_picture(row.file) for row in files if row.file)
    except FileNotFoundError as error:
        raise Refused("picture_gone", "Its picture is not kept any more; write it anew.", status=409) from error


def _send_once(contact: Contact, by: User, key: str, fingerprint: str, wanted: NewMessage, detail: str) -> bool:
    """Whether it was sent now, and not by an earlier request; who sent it is written down in the same transaction."""
    location = contact.location

    def note(message: Message) -> tuple[int, dict[str, Any]]:
        audit.record(by=by, action=AuditAction.CREATED, obj=message, location_id=location.pk, detail=detail)
        return 202, {"id": str(message.pk)}

    *_, replayed = services.send_once(
        location=location, key=key, fingerprint=fingerprint, wanted=wanted, now=timezone.now(), render=note
    )
    return not replayed


@transaction.atomic
def open_number(*, location: Location, number: str, by: User) -> Contact:
    """The location's contact with the number as typed; a number nobody has becomes one. Raises Refused."""
    try:
        phone_number = parse_phone(number, region=location.region)
    except InvalidPhone as error:
        raise Refused(error.code, error.detail, field="to") from error
    contact, made = get_or_create_contact(location=location, phone_number=phone_number)
    if made:
        audit.record(
            by=by,
            action=AuditAction.CREATED,
            obj=contact,
            location_id=location.pk,
            name=f"Contact {contact.pk}",
            detail="Made by opening a conversation.",
        )
    return contact
