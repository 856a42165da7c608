"""Changing a message before it leaves: its text, when it leaves, until when it may."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from messaging import scheduling, threads
from messaging.delivery.doorbell import doorbell
from messaging.models import Direction, DispatchState, Message
from messaging.models.messages import NextPosition
from routing import audit, facts
from routing.errors import Refused
from routing.models import ApiKey, AuditAction, Contact, User
from routing.overrides import Override, TextRefused, parse, require_content, require_length
from routing.selection import Decision, select


class Unchanged(enum.Enum):
    """What stays as it is."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
TRIES = 3
"""How often a change is made anew on what another change left."""


@dataclass(frozen=True)
class Change:
    """What is to be changed. `scheduled_at` None: leaves as soon as it may; `expires_at` None: counted from then."""

    text: str | Unchanged = UNCHANGED
    scheduled_at: datetime | Unchanged | None = UNCHANGED
    expires_at: datetime | Unchanged | None = UNCHANGED


def is_editable(message: Message, *, now: datetime) -> bool:
    """Whether it cannot have left, by what is known of it here; the row itself is asked again by `edit`."""
    if message.direction != Direction.OUTBOUND or message.attempt_count or message.exempt_from_opt_out:
        return False
    waits = message.due_at is not None and message.due_at > now
    return message.dispatch_state == DispatchState.SCHEDULED or (
        message.dispatch_state == DispatchState.QUEUED and waits
    )


def edit(*, message: Message, change: Change, by: User | ApiKey | None, now: datetime) -> bool:
    """Change a message that waits; False when it is as asked already. It comes back as it is then.

    An override in the new text takes the place of the one the message has; without one, that stays. The account is
    chosen anew where the override changes, and where the message is not scheduled any more. `message` comes with its
    location. Raises Refused, and changes nothing: ("not_editable", 409) once a worker has it; what `services.send`
    raises for a text or a time; ("expires_before_due", 400); the decision's own code (422) where no account can send.
    """
    for _ in range(TRIES):
        if not is_editable(message, now=now):
            break
        columns = _times(message, change, now) | _text(message, change)
        columns = {name: value for name, value in columns.items() if getattr(message, name) != value}
        if not columns:
            return False
        columns |= _decision(message, columns)
        told = _told(message, columns)
        with transaction.atomic():
            done = _write(message, columns, now)
            if done:
                audit.record(
                    by=by,
                    action=AuditAction.CHANGED,
                    obj=message,
                    location_id=message.location_id,
                    detail="Changed before it left.",
                    changes=told,
                )
        message.refresh_from_db()
        if done:
            return True
    raise not_editable()


def not_editable() -> Refused:
    """The refusal of a message that may have left, or never will."""
    return Refused(
        "not_editable", "Only a message that is scheduled, or waits and is not due yet, can be changed.", status=409
    )


def _times(message: Message, change: Change, now: datetime) -> dict[str, Any]:
    old = message.scheduled_at
    at = old if change.scheduled_at is UNCHANGED else change.scheduled_at
    moved = at != old
    if moved:
        scheduling.check_times(message.location, at, None, now=now)
    if not moved and change.expires_at is UNCHANGED:
        return {}
    found: dict[str, Any] = {}
    due = scheduling.due_of(message.location, at or now, now=now)
    if moved:
        state = DispatchState.QUEUED if at is None else DispatchState.SCHEDULED
        found |= {"scheduled_at": at, "due_at": due.at, "code": due.code, "detail": due.detail, "dispatch_state": state}
    else:
        # Only the expiry is asked for: it is due when it was.
        due = scheduling.Due(message.due_at or due.at, message.code, message.detail)
    given = message.expires_at if message.expiry_given else None
    if change.expires_at is not UNCHANGED:
        given = change.expires_at
    if given is not None:
        scheduling.check_expiry(due, given, now=now)
    return found | {"expires_at": scheduling.expiry_of(due, given), "expiry_given": given is not None}


def _text(message: Message, change: Change) -> dict[str, Any]:
    """The new text without its override, and the override if it holds one."""
    if change.text is UNCHANGED:
        return {}
    try:
        if message.literal:
            require_length(change.text)
            text, override = change.text, Override()
        else:
            parsed = parse(change.text)
            text, override = parsed.text, parsed.override
        require_content(text, message.attachments.exists())
    except TextRefused as error:
        detail = f"{error.detail} {error.hint}" if error.hint else error.detail
        raise Refused(error.code, detail, field="text") from error
    if override == Override():
        return {"text": text}
    return {"text": text, "override_index": override.manual, "temporary_override_index": override.temporary}


def _decision(message: Message, columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a new decision; {} where the one that stands still holds, or is made anew when it falls due."""
    overridden = "override_index" in columns or "temporary_override_index" in columns
    if not overridden and columns.get("dispatch_state") != DispatchState.QUEUED:
        return {}
    override = Override(
        manual=columns.get("override_index", message.override_index),
        temporary=columns.get("temporary_override_index", message.temporary_override_index),
    )
    contact = Contact.objects.select_related("last_account").get(pk=message.contact_id)
    known = facts.load(location=message.location, contact=contact, override=override)
    decision: Decision = select(known, override, policy=facts.policy_of(message.location))
    if decision.account is None:
        raise Refused(str(decision.code), decision.sentence, status=422)
    return {
        "account_id": decision.account.id,
        "rule": decision.rule or "",
        "trace": decision.trace(),
        "number_switch": decision.number_switch,
    }


def _write(message: Message, columns: dict[str, Any], now: datetime) -> bool:
    """One conditional UPDATE: a worker that took the row meanwhile wins, and what was read of it must still hold."""
    joins = columns.get("dispatch_state") == DispatchState.QUEUED
    if joins:
        # Behind what was accepted before, as every scheduled message that falls due.
        columns = columns | {"position": NextPosition()}
    done = Message.objects.filter(
        Q(dispatch_state=DispatchState.SCHEDULED) | Q(dispatch_state=DispatchState.QUEUED, due_at__gt=Now()),
        pk=message.pk,
        attempt_count=0,
        scheduled_at=message.scheduled_at,
        dispatch_state=message.dispatch_state,
        override_index=message.override_index,
        temporary_override_index=message.temporary_override_index,
    ).update(**columns, edited_at=now)
    if done and joins:
        threads.note_message(message, at=now)
        doorbell().ring()
    return bool(done)


def _told(message: Message, columns: dict[str, Any]) -> dict[str, tuple[str, str] | None]:
    """What the trail keeps: the times, and of the rest only that it changed."""
    changes: dict[str, tuple[str, str] | None] = {
        name: (audit.shown(getattr(message, name)), audit.shown(columns[name]))
        for name in ("scheduled_at", "expires_at")
        if name in columns
    }
    return changes | ({"text": None} if "text" in columns else {})
