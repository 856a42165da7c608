"""A conversation as the admin shows it: one page of its messages as bubbles, and whether anything in it changed."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from messaging.advice import advice
from messaging.attachment_pages import attachment_row
from messaging.message_doors import doors_of
from messaging.message_words import told
from messaging.models import Attachment, Direction, EventKind, Message, MessageEvent, MessageStatus, TypingNotice
from messaging.waiting import scheduled_for, why_waiting
from routing.admin_look import clock, moment, zone_of
from routing.models import Contact, Location
from routing.phones import national_format

PAGE = 50
"""Messages on one page of a conversation."""

MARKS = {
    MessageStatus.SCHEDULED: ("clock", "Scheduled"),
    MessageStatus.QUEUED: ("clock", "Sending"),
    MessageStatus.SENDING: ("clock", "Sending"),
    MessageStatus.ACCEPTED: ("check", "On its way"),
    MessageStatus.SENT: ("check", "Sent"),
    MessageStatus.DELIVERED: ("check-check", "Delivered"),
    MessageStatus.READ: ("check-check", "Read"),
    MessageStatus.FAILED: ("circle-alert", "Failed"),
    MessageStatus.UNCERTAIN: ("circle-help", "Perhaps sent"),
    MessageStatus.CANCELLED: ("ban", "Cancelled"),
    MessageStatus.EXPIRED: ("circle-alert", "Not sent in time"),
}
NOT_LEFT = frozenset({MessageStatus.FAILED, MessageStatus.CANCELLED, MessageStatus.EXPIRED})
"""What the contact never saw, so that it changes no number for them."""

_SIGNS = ("pk", "position", "status", "conflict", "code", "failed_code", "account_id", "due_at", "edited_at")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


TRIED_AGAIN_WITHIN = timedelta(days=6)
"""A little less than the key is kept by which a second click is known; see messaging/delivery/duties.py."""


@dataclass(frozen=True)
class Window:
    """Which messages a page shows, oldest first, and signs that tell whether one of them, or anything, changed."""

    ids: Sequence[UUID]
    signs: dict[UUID, str]
    version: str
    typing: bool
    context: UUID | None
    """The message before the first one: it says whether the number changed there."""
    older: int | None
    """The position before which the next older page begins; None when there is none."""


@dataclass
class Bubble:
    """One message as it is shown. `why` is the sentence of its trace, `trace` the rest of it for the template."""

    message: Message
    sign: str
    ours: bool
    at: str
    day: date
    new_day: str = ""
    switch: str = ""
    switch_number: str = ""
    icon: str = ""
    mark: str = ""
    marked_at: Any = ""
    problem: str = ""
    problem_code: str = ""
    doors: dict[str, str] = field(default_factory=dict)
    """While it waits: where it is changed and cancelled."""
    uncertain: bool = False
    again: bool = False
    why: str = ""
    trace: dict[str, Any] = field(default_factory=dict)
    reaction: str = ""
    attachments: list[dict[str, Any]] = field(default_factory=list)


def window(contact: Contact, *, before: int | None = None) -> Window:
    """The page of the contact's messages that ends before the position `before`, the newest one without it.

    Three queries, none of which reads a text.
    """
    messages = Message.objects.filter(contact=contact.pk)
    if before is not None:
        messages = messages.filter(position__lt=before)
    names = (*_SIGNS, "reaction__emoji", "reaction__removed_at")
    rows = list(messages.order_by("-position").values_list(*names)[: PAGE + 1])
    page = rows[:PAGE][::-1]
    ids = [row[0] for row in page]
    parts: dict[UUID, list[Any]] = {row[0]: list(row) for row in page}
    files = Attachment.objects.filter(message__in=ids).order_by("message", "order")
    for message_id, *rest in files.values_list("message", "order", "file", "problem"):
        parts[message_id] += rest
    typing = before is None and is_typing(contact)
    signs = {pk: _digest(part) for pk, part in parts.items()}
    has_older = len(rows) > PAGE
    return Window(
        ids=ids,
        signs=signs,
        version=_digest([*signs.values(), typing]),
        typing=typing,
        context=rows[PAGE][0] if has_older else None,
        older=page[0][1] if has_older else None,
    )


def is_typing(contact: Contact) -> bool:
    """Whether the contact types at this moment."""
    return TypingNotice.objects.filter(contact=contact.pk, until__gt=timezone.now()).exists()


def bubbles(contact: Contact, shown: Window) -> list[Bubble]:
    """The messages of the window, oldest first, with what stands between them: days, changes of the number.

    `contact` comes with its location. Three queries.
    """
    wanted = [*shown.ids, *([shown.context] if shown.context else [])]
    rows = (
        Message.objects.filter(pk__in=wanted)
        .select_related("account__lane", "reaction")
        .prefetch_related("attachments")
        .defer("metadata")
        .order_by("position")
    )
    messages = list(rows)
    reasons = _reasons(messages)
    found: list[Bubble] = []
    number = ""
    for message in messages:
        bubble = _bubble(message, contact.location, reasons, shown)
        own = message.account.phone_number if message.account else ""
        if own and MessageStatus(message.status) not in NOT_LEFT:
            if number and own != number:
                bubble.switch = "From here on from" if bubble.ours else "From here on they write to"
                bubble.switch_number = own
            number = own
        if message.pk != shown.context:
            if not found or found[-1].day != bubble.day:
                bubble.new_day = _day_words(bubble.day, contact.location)
            found.append(bubble)
    return found


def _bubble(message: Message, where: Location, reasons: dict[UUID, str], shown: Window) -> Bubble:
    local = timezone.localtime(message.created_at, zone_of(where))
    status = MessageStatus(message.status)
    bubble = Bubble(
        message=message,
        sign=shown.signs.get(message.pk, ""),
        ours=message.direction == Direction.OUTBOUND,
        at=clock(local),
        day=local.date(),
        reaction=_reaction(message),
        attachments=[attachment_row(message, attachment) for attachment in message.attachments.all()],
    )
    if not bubble.ours:
        return bubble
    bubble.icon, bubble.mark = MARKS[status]
    bubble.marked_at = _marked_at(message, status, where)
    if (until := scheduled_for(message)) is not None:
        bubble.mark, bubble.marked_at = why_waiting(message), moment(until, where)
        bubble.doors = doors_of(message)
    bubble.uncertain = status == MessageStatus.UNCERTAIN
    failed = status in (MessageStatus.FAILED, MessageStatus.EXPIRED)
    bubble.again = failed and may_be_tried_again(message)
    if failed:
        bubble.problem_code = (
            message.failed_code or message.code or ("expired" if status == MessageStatus.EXPIRED else "")
        )
        bubble.problem = in_words(_problem(message, bubble.problem_code, reasons.get(message.pk, "")))
    _explain(bubble, message.trace or {})
    return bubble


def _explain(bubble: Bubble, trace: dict[str, Any]) -> None:
    if not trace:
        return
    failed = trace.get("decision") != "selected"
    bubble.why = "" if failed and bubble.problem else in_words(trace.get("sentence", ""))
    bubble.trace = {
        "sentence": trace.get("sentence", ""),
        "code": trace.get("code") or "",
        "failed": failed,
        "steps": [told(step) for step in trace.get("steps", [])],
        "warnings": [item | {"detail": in_words(item.get("detail", ""))} for item in trace.get("warnings", [])],
    }


def _reasons(messages: Iterable[Message]) -> dict[UUID, str]:
    """What the provider said of those that it could not deliver."""
    failed = [message.pk for message in messages if message.failed_at is not None]
    events = MessageEvent.objects.filter(message__in=failed, kind=EventKind.FAILED)
    return dict(events.values_list("message", "detail"))


def _problem(message: Message, code: str, told: str) -> str:
    """Why it did not arrive, and what to do."""
    if message.account is None:
        return message.detail  # the decision's own sentence says both
    known = advice(code, told or message.detail)
    return f"{known.reason} {known.action}"


def _reaction(message: Message) -> str:
    reaction = getattr(message, "reaction", None)
    return reaction.emoji if reaction is not None and reaction.removed_at is None else ""


def _marked_at(message: Message, status: MessageStatus, where: Location) -> Any:
    if status == MessageStatus.SCHEDULED:
        return moment(message.scheduled_at, where)
    at: datetime | None = {
        MessageStatus.DELIVERED: message.delivered_at,
        MessageStatus.READ: message.read_at,
    }.get(status)
    return "" if at is None else clock(timezone.localtime(at, zone_of(where)))


def _day_words(day: date, where: Location) -> str:
    today = timezone.localdate(timezone=zone_of(where))
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    year = "" if day.year == today.year else f", {day.year}"
    return f"{day:%A, %B} {day.day}{year}"


def in_words(text: str) -> str:
    """The text with its numbers as people of their countries write them."""
    return _E164.sub(lambda match: national_format(match.group()), text)


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def may_be_tried_again(message: Message) -> bool:
    """Whether that it was tried again would still be known: a second click must not make a second message."""
    return timezone.now() - message.created_at < TRIED_AGAIN_WITHIN
