"""When a message is due: at the time that was asked for, or now, moved to the end of its location's quiet hours; and
until when it may leave."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Max, Min, Q, Value, When

from messaging.models import Direction, DispatchState, Message, MessageStatus
from routing.errors import Refused
from routing.models import Location
from routing.quiet_hours import ASK_AGAIN, QuietHoursUnclear, quiet_spans, quiet_until

MAX_SCHEDULE = timedelta(days=366)
QUIET = "quiet_hours"
UNCLEAR = "quiet_hours_unclear"
QUIET_CODES = (QUIET, UNCLEAR)
"""Codes of messages that wait for the end of quiet hours, and of those whose quiet hours nobody can read."""
_QUIET_DETAIL = "It waits until the location's quiet hours are over."


@dataclass(frozen=True, slots=True)
class Due:
    """When a message is due; `code` and `detail` say why that is later than was asked for; "" when it is not."""

    at: datetime
    code: str = ""
    detail: str = ""


def due_of(location: Location, at: datetime, *, now: datetime, exempt: bool = False) -> Due:
    """When what should leave at `at` is due. `exempt`: no quiet hours hold it.

    Where nobody can tell whether it is quiet then, it waits, and is asked for again.
    """
    if exempt:
        return Due(at)
    try:
        until = quiet_until(location.quiet_hours, location.time_zone, at)
    except QuietHoursUnclear as unclear:
        detail = f"Nobody can tell whether these are quiet hours, so it waits. {unclear.detail}"
        return Due(max(at, now + ASK_AGAIN), UNCLEAR, detail)
    return Due(at) if until is None else Due(until, QUIET, _QUIET_DETAIL)


def expiry_of(due: Due, given: datetime | None) -> datetime:
    """Until when the message may leave: as given, or counted from when it is due."""
    return given or due.at + settings.HUB_MESSAGE_LIFETIME


def check_times(
    location: Location, scheduled_at: datetime | None, expires_at: datetime | None, *, now: datetime
) -> None:
    """Raises Refused for times that a message cannot have: `scheduled_in_past`, `scheduled_too_far`,
    `expires_before_due`, `expires_too_late`."""
    if scheduled_at is not None:
        if scheduled_at <= now:
            raise Refused("scheduled_in_past", "scheduled_at must be in the future.", field="scheduled_at")
        if scheduled_at > now + MAX_SCHEDULE:
            raise Refused("scheduled_too_far", "scheduled_at must be within a year.", field="scheduled_at")
    if expires_at is not None:
        check_expiry(due_of(location, scheduled_at or now, now=now), expires_at, now=now)


def check_expiry(due: Due, expires_at: datetime, *, now: datetime) -> None:
    """Raises Refused for an expiry that would come before the message can leave, or beyond all plans."""
    if expires_at <= due.at:
        quiet = ", when the location's quiet hours are over" if due.code == QUIET else ""
        raise Refused(
            "expires_before_due",
            f"expires_at must be later than the message can leave: it is due at {told(due.at)}{quiet}.",
            field="expires_at",
        )
    if expires_at > now + MAX_SCHEDULE + settings.HUB_MESSAGE_LIFETIME:
        raise Refused(
            "expires_too_late", "expires_at must be within a year, and a day after a late schedule.", field="expires_at"
        )


def told(at: datetime) -> str:
    """A moment as the API writes it."""
    return at.isoformat().replace("+00:00", "Z")


def still_open(due_at: Any) -> Case:
    """`expires_at` for messages that are put off until `due_at`: one that was not asked for and would be over by then
    is counted anew; any other stays."""
    over = Q(expiry_given=False, expires_at__lte=due_at)
    return Case(When(over, then=due_at + settings.HUB_MESSAGE_LIFETIME), default=F("expires_at"))


def follow_quiet_hours(location: Location, *, now: datetime) -> None:
    """Move what waits in the location to where its quiet hours, as they are now, let it leave.

    In the transaction that changed them, in a fixed number of statements. Messages that wait for another reason as
    well, like one that is tried again later, are left to the worker, which looks at the hours once more. Where the
    hours cannot be read, everything is asked for again in a while.
    """
    status = (MessageStatus.QUEUED, MessageStatus.SCHEDULED)
    waiting = Message.objects.filter(
        location=location, status__in=status, direction=Direction.OUTBOUND, exempt_from_opt_out=False
    )
    held = waiting.filter(
        Q(scheduled_at__isnull=True) | Q(scheduled_at__lte=now),
        dispatch_state__in=[DispatchState.QUEUED, DispatchState.SCHEDULED],
        code__in=QUIET_CODES,
    )
    due = due_of(location, now, now=now)
    held.update(due_at=due.at, code=due.code, detail=due.detail, expires_at=still_open(due.at))
    later = waiting.filter(dispatch_state=DispatchState.SCHEDULED, scheduled_at__gt=now)
    edges = later.aggregate(first=Min("scheduled_at"), last=Max("scheduled_at"))
    if edges["first"] is None:
        return
    try:
        spans = quiet_spans(location.quiet_hours, location.time_zone, edges["first"], edges["last"])
    except QuietHoursUnclear:
        # As they are: the worker finds it out again when each falls due.
        return
    inside = [Q(scheduled_at__gte=begin, scheduled_at__lt=end) for begin, end in spans]
    ends = [When(condition, then=Value(end)) for condition, (_, end) in zip(inside, spans, strict=True)]
    later.update(
        due_at=Case(*ends, default=F("scheduled_at")),
        expires_at=Case(
            When(expiry_given=True, then=F("expires_at")),
            default=Case(*ends, default=F("scheduled_at")) + settings.HUB_MESSAGE_LIFETIME,
        ),
        code=Case(*[When(condition, then=Value(QUIET)) for condition in inside], default=Value("")),
        detail=Case(*[When(condition, then=Value(_QUIET_DETAIL)) for condition in inside], default=Value("")),
    )
