"""What the page of one message shows, read in a fixed number of queries: facts, timeline, decision, pictures."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse

from messaging.attachment_pages import attachment_row
from messaging.message_words import ATTEMPT_WORDS, EVENT_TONES, status_badge, told
from messaging.models import Attempt, Direction, DispatchState, EventKind, Message, Reaction
from messaging.waiting import scheduled_for, why_waiting
from routing.admin_look import BAD, BUSY, GOOD, QUIET, WARN
from routing.models import AuditEntry
from routing.phones import national_format

MAX_TRAIL = 50


@dataclass(frozen=True)
class Moment:
    """One line of the timeline."""

    at: datetime
    what: str
    tone: str
    detail: str = ""
    code: str = ""
    after: str = ""


def page_of(message: Message) -> dict[str, Any]:
    """The context of the page. The message comes with its contact, account and location."""
    attempts = list(message.attempts.select_related("account"))
    waits_until = scheduled_for(message)
    return {
        "message": message,
        "outbound": message.direction == Direction.OUTBOUND,
        "status": status_badge(message),
        "uncertain": message.dispatch_state == DispatchState.UNCERTAIN,
        "twice": sum(attempt.outcome == "accepted" for attempt in attempts) > 1,
        "problem": _problem_of(message),
        "waits_until": waits_until,
        "waits_why": why_waiting(message) if waits_until else "",
        "attachments": [attachment_row(message, row) for row in message.attachments.order_by("order")],
        "reaction": Reaction.objects.filter(message=message.pk, removed_at=None).first(),
        "trace": trace_of(message),
        "attempts": [attempt_row(attempt) for attempt in attempts],
        "timeline": list(_timeline(message, attempts)),
        "metadata": json.dumps(message.metadata, indent=2, ensure_ascii=False) if message.metadata else "",
        "token": f"{{IM#{message.account.index}}}" if message.account else "",
        "conversation_url": conversation_url(message),
        "contact_url": reverse("admin:routing_contact_change", args=[quote(message.contact_id)]),
        "account_url": reverse("admin:routing_account_change", args=[quote(message.account_id)])
        if message.account_id
        else "",
    }


def _problem_of(message: Message) -> dict[str, str] | None:
    """What went wrong; None where the decision, which is told anyway, says the same."""
    code = message.failed_code or message.code
    decided = (message.trace or {}).get("sentence")
    if (not code and not message.detail) or (message.detail and message.detail == decided):
        return None
    return {"code": code, "detail": message.detail}


def conversation_url(message: Message) -> str:
    """Where the whole conversation with the contact is; "" where there is no such page."""
    try:
        return reverse("admin:messaging_thread_change", args=[quote(message.contact_id)])
    except NoReverseMatch:
        return ""


def trace_of(message: Message) -> dict[str, Any] | None:
    """The stored decision in words; None when nothing had to be chosen."""
    if not message.trace:
        return None
    trace: dict[str, Any] = message.trace
    return {
        "sentence": trace.get("sentence", ""),
        "code": trace.get("code") or "",
        "failed": trace.get("decision") != "selected",
        "steps": [told(step) for step in trace.get("steps", [])],
        "warnings": trace.get("warnings", []),
    }


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """One try to hand it to the provider, in words."""
    words, tone = ATTEMPT_WORDS.get(attempt.outcome, (attempt.outcome.replace("_", " "), QUIET))
    lasted = "" if attempt.ended_at is None else elapsed(attempt.ended_at - attempt.started_at)
    return {"attempt": attempt, "words": words, "tone": tone, "lasted": lasted.lstrip("+")}


def _timeline(message: Message, attempts: list[Attempt]) -> Iterator[Moment]:
    """Everything that is known of it, in order, each with how long it was after the first."""
    outbound = message.direction == Direction.OUTBOUND
    begun = message.scheduled_at or message.created_at
    moments = [
        Moment(message.created_at, "Accepted by the hub" if outbound else "Received", BUSY if outbound else GOOD)
    ]
    if message.scheduled_at:
        moments.append(Moment(message.scheduled_at, "Scheduled for this time", BUSY))
    for number, attempt in enumerate(attempts, 1):
        name = f"Attempt {number}" if len(attempts) > 1 else "Attempt"
        moments.append(Moment(attempt.started_at, f"{name}: handed to the provider", BUSY))
        # The acceptance itself is an event of its own.
        if attempt.ended_at is not None and attempt.outcome != "accepted":
            words, tone = ATTEMPT_WORDS.get(attempt.outcome, (attempt.outcome, QUIET))
            moments.append(Moment(attempt.ended_at, f"{name}: {words}", tone, attempt.detail, attempt.code))
    for event in message.events.all():
        tone = EVENT_TONES.get(EventKind(event.kind), QUIET)
        moments.append(Moment(event.at, event.get_kind_display().capitalize(), tone, event.detail, event.code))
    trail = AuditEntry.objects.filter(object_type=message._meta.label_lower, object_id=str(message.pk))
    done = trail.order_by("-id")[:MAX_TRAIL]
    moments.extend(Moment(entry.at, f"{entry.actor}: {entry.detail}", WARN) for entry in done)
    if message.dispatch_state == DispatchState.EXPIRED and message.expires_at:
        moments.append(Moment(message.expires_at, "Expired", BAD, message.detail))
    for one in sorted(moments, key=lambda moment: moment.at):
        yield Moment(
            one.at, one.what, one.tone, one.detail, one.code, "" if one.at == begun else elapsed(one.at - begun)
        )


def elapsed(time: timedelta) -> str:
    """How much later, or earlier: +1.2 s, +2 min 5 s, +3 h 4 min, +2 d 5 h."""
    seconds = abs(time.total_seconds())
    sign = "−" if time.total_seconds() < 0 else "+"
    if seconds < 0.05:
        return f"{sign}<0.1 s"
    if seconds < 60:
        return f"{sign}{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{sign}{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return ""


def title_of(message: Message) -> str:
    """How the page calls the message: by whom it is with."""
    who = message.contact.name or national_format(message.contact_number)
    return f"Message {'to' if message.direction == Direction.OUTBOUND else 'from'} {who}"
