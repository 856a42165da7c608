"""How fast a line sends, and to how many new contacts: its pace, its budget, and until when a message has to wait.

The pace is the generic cell rate algorithm (GCRA), a leaky bucket that needs one moment for its whole state. The budget
counts the conversations that the line opened within the last hour and day.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Case, DateTimeField, Exists, OuterRef, Value, When
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from messaging.models import DispatchState, Lane, Message, Opening
from provisioning.providers.base import Pace

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUDGET_CODE = "new_contacts_used_up"
PUT_OFF_AT_ONCE = 200
"""Messages to new contacts that get their time in one go; later ones stand behind them in the lane."""


def tokens(pace: Pace, open_at: datetime, now: datetime) -> int:
    """How many messages may leave now from a lane that opens, or opened, at `open_at`."""
    if open_at > now:
        return 0
    return min(pace.burst, 1 + int((now - open_at) / _interval(pace)))


def open_after(pace: Pace, open_at: datetime, now: datetime, sent: int) -> datetime:
    """When the lane opens next, once `sent` messages have left now."""
    interval = _interval(pace)
    return max(open_at, now - (pace.burst - 1) * interval) + sent * interval


def _interval(pace: Pace) -> timedelta:
    return timedelta(seconds=1 / pace.per_second)


def slow_down(account_id: UUID, wait: timedelta) -> None:
    """The provider asks for fewer messages: nothing leaves from the account for `wait`."""
    Lane.objects.filter(pk=account_id).update(open_at=Greatest("open_at", Now() + wait))


def keep_open_times(open_at: dict[UUID, datetime]) -> None:
    """Write down when each lane opens next. The caller holds the lanes."""
    when = [When(pk=account, then=Value(moment, output_field=DateTimeField())) for account, moment in open_at.items()]
    Lane.objects.filter(pk__in=open_at).update(open_at=Case(*when, output_field=DateTimeField()))


def within_budget(messages: Sequence[Message], paces: dict[UUID, Pace], now: datetime) -> list[Message]:
    """Those of the messages that their lines may send, with regard to how many contacts are new to the line.

    What may leave to a new contact is counted as an opened conversation; the others get the time at which there will be
    budget for them as `due_at`, and so do those behind them. The caller holds the lanes, in a transaction.
    """
    limited = [message for message in messages if _is_limited(paces[message.sender.pk])]
    if not limited:
        return list(messages)
    new = _to_new_contacts(Message.objects.filter(pk__in=[message.pk for message in limited]), paces, now)
    opened = _opened({message.sender.pk for message in limited if message.pk in new}, now)
    held: set[UUID] = set()
    going: list[Message] = []
    openings: dict[tuple[UUID, UUID], Opening] = {}
    for message in messages:
        account, contact = message.sender.pk, message.contact_id
        if message.pk in new and (account, contact) not in openings:
            if account in held or next_slots(paces[account], opened[account], now, 1)[0] > now:
                held.add(account)
                continue
            opened[account].append(now)
            openings[account, contact] = Opening(
                location_id=message.location_id, account_id=account, contact_id=contact, at=now
            )
        going.append(message)
    Opening.objects.bulk_create(openings.values(), ignore_conflicts=True)
    for account in held:
        _put_off(account, paces[account], opened[account], now, going)
    return going


def _is_limited(pace: Pace) -> bool:
    return pace.new_contacts_per_hour is not None or pace.new_contacts_per_day is not None


def _to_new_contacts(rows: Any, paces: dict[UUID, Pace], now: datetime) -> set[UUID]:
    """Those of the rows whose contact had nothing to do with their line for as long as makes it new again."""
    since = now - max(pace.new_after for pace in paces.values())
    earlier = Message.objects.filter(
        contact=OuterRef("contact"),
        account=OuterRef("account"),
        dispatch_state__in=[DispatchState.ACCEPTED, DispatchState.RECEIVED],
        created_at__gte=since,
    )
    opening = Opening.objects.filter(account=OuterRef("account"), contact=OuterRef("contact"), at__gte=since)
    return set(rows.filter(~Exists(earlier), ~Exists(opening)).values_list("pk", flat=True))


def _opened(accounts: Iterable[UUID], now: datetime) -> dict[UUID, list[datetime]]:
    """When each account opened conversations within the last day, the oldest first."""
    times: dict[UUID, list[datetime]] = defaultdict(list)
    recent = Opening.objects.filter(account__in=list(accounts), at__gt=now - DAY).order_by("at")
    for account, at in recent.values_list("account", "at"):
        times[account].append(at)
    return times


def next_slots(pace: Pace, opened: Sequence[datetime], now: datetime, count: int) -> list[datetime]:
    """When each of `count` further conversations can be opened, the first `now` if there is budget. `opened`: when the
    ones of the last day were, in order. A limit of 0 opens none: a day later it is looked at again."""
    times = list(opened)
    slots: list[datetime] = []
    for _ in range(count):
        slot = slots[-1] if slots else now
        for limit, span in ((pace.new_contacts_per_hour, HOUR), (pace.new_contacts_per_day, DAY)):
            if limit == 0:
                slot = max(slot, now + DAY)
            elif limit is not None and len(times) >= limit:
                slot = max(slot, times[-limit] + span)
        slots.append(slot)
        times.append(slot)
    return slots


def _put_off(account: UUID, pace: Pace, opened: Sequence[datetime], now: datetime, going: Sequence[Message]) -> None:
    """Give what is due to new contacts on the account its time, the first that is due first."""
    due = Message.objects.filter(account=account, dispatch_state=DispatchState.QUEUED, due_at__lte=now)
    first = list(
        due.exclude(pk__in=[message.pk for message in going])
        .order_by("priority", "due_at", "position")
        .values_list("pk", flat=True)[:PUT_OFF_AT_ONCE]
    )
    new = _to_new_contacts(Message.objects.filter(pk__in=first), {account: pace}, now)
    waiting = [pk for pk in first if pk in new]
    words = _in_words(pace)
    rows = zip(next_slots(pace, opened, now, len(waiting)), waiting, strict=True)
    by_slot: dict[datetime, list[UUID]] = defaultdict(list)
    for slot, pk in rows:
        by_slot[max(slot, now + timedelta(seconds=1))].append(pk)
    for slot, pks in by_slot.items():
        Message.objects.filter(pk__in=pks, dispatch_state=DispatchState.QUEUED).update(
            due_at=slot, code=BUDGET_CODE, detail=words
        )


def _in_words(pace: Pace) -> str:
    limits = [
        f"{limit} {span}"
        for limit, span in ((pace.new_contacts_per_hour, "an hour"), (pace.new_contacts_per_day, "a day"))
        if limit is not None
    ]
    return f"The line has written to as many new contacts as it may ({' and '.join(limits)}); this one has its turn."


def forget_old() -> None:
    """Forget the openings that count no more: what was said since makes those contacts known."""
    Opening.objects.filter(at__lt=timezone.now() - 2 * DAY).delete()
