"""How much was said: a location's day so far, the days before it, and why something failed.

A day is one of the location's time zone, and a message belongs to the day on which it was accepted or came in. Days
that are over are counted by the worker and kept (`DailyVolume`), so that who looks reads today's messages alone.
"""

import time
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, Max, Q, QuerySet, When
from django.utils import timezone

from messaging.models import DailyVolume, Direction, DispatchState, Message, MessageStatus
from routing.models import Location

DAYS = 14
"""Days of the chart, today among them."""

COUNTED_LIVE = 20_000
"""Of days that the worker has not counted yet at most so many messages are read for one look at them, newest first."""

TAKEN = (MessageStatus.ACCEPTED, MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ)
"""The provider has it."""

LOST = (MessageStatus.FAILED, MessageStatus.EXPIRED)
"""It did not reach the contact and will not by itself."""

ROLL_UP_FOR = timedelta(seconds=10)
"""The longest that one turn of `roll_up` keeps a worker from its messages."""

MOST_FAILURES = 20
MOST_ON_DESK = 99


@dataclass(frozen=True)
class Volume:
    """What was said on one day. `counted` False: nobody knows yet, and the figures are zeros."""

    day: date
    sent: int = 0
    received: int = 0
    failed: int = 0
    counted: bool = True


@dataclass(frozen=True)
class Failures:
    """How many messages of the day failed with one code; `detail` are the words that one of them got."""

    code: str
    count: int
    detail: str
    expired: bool = False


@dataclass
class Today:
    """The day so far. `by_status` and `by_rule` hold what there is, in the order of the enumerations' values."""

    by_status: dict[str, int] = field(default_factory=dict)
    by_rule: dict[str, int] = field(default_factory=dict)
    failures: list[Failures] = field(default_factory=list)

    def count(self, *statuses: str) -> int:
        """How many messages have one of the statuses."""
        return sum(self.by_status.get(status, 0) for status in statuses)

    @property
    def total(self) -> int:
        """How many messages there are, in both directions."""
        return sum(self.by_status.values())

    @property
    def sent(self) -> int:
        """How many the provider took."""
        return self.count(*TAKEN)

    @property
    def arrived(self) -> int:
        """How many the contact has."""
        return self.count(MessageStatus.DELIVERED, MessageStatus.READ)

    @property
    def received(self) -> int:
        """How many came in."""
        return self.count(MessageStatus.RECEIVED)

    @property
    def failed(self) -> int:
        """How many did not reach the contact."""
        return self.count(*LOST)


def local_day(location: Location, now: datetime) -> date:
    """The day that it is at the location."""
    return now.astimezone(zoneinfo.ZoneInfo(location.time_zone)).date()


def begin_of(location: Location, day: date) -> datetime:
    """The moment at which the day begins on the clocks of the location.

    Where clocks are put forward at midnight it is the moment of the change; where midnight comes twice, the first.
    """
    return datetime.combine(day, clock_time(), zoneinfo.ZoneInfo(location.time_zone)).astimezone(UTC)


def today(location: Location, *, now: datetime) -> Today:
    """The location's day so far, in two queries that read the messages of today alone."""
    begin = begin_of(location, local_day(location, now))
    rows = Message.objects.filter(location=location, created_at__gte=begin).order_by()
    counted = Today()
    for status, rule, count in rows.values_list("status", "rule").annotate(count=Count("pk")):
        counted.by_status[status] = counted.by_status.get(status, 0) + count
        if rule:
            counted.by_rule[rule] = counted.by_rule.get(rule, 0) + count
    # The provider's last word, where it had taken the message; else why it never left.
    why = Case(When(failed_at__isnull=False, then=F("failed_code")), default=F("code"))
    failed = rows.filter(status__in=LOST).annotate(why=why).values("why", "status")
    worst = failed.annotate(count=Count("pk"), words=Max("detail")).order_by("-count", "why")[:MOST_FAILURES]
    counted.failures = [
        Failures(row["why"], row["count"], row["words"], row["status"] == MessageStatus.EXPIRED) for row in worst
    ]
    return counted


def last_days(location: Location, *, now: datetime, so_far: Today) -> list[Volume]:
    """The last 14 days, oldest first, the last of them today (`so_far`), in two queries at most.

    Days that the worker has not counted are counted now, unless they hold more than COUNTED_LIVE messages; those are
    given as not counted.
    """
    last = local_day(location, now)
    days = [last - timedelta(days=back) for back in range(DAYS - 1, 0, -1)]
    kept = DailyVolume.objects.filter(location=location, day__gte=days[0], day__lt=last)
    found = {row.day: Volume(row.day, row.sent, row.received, row.failed) for row in kept}
    if missing := [day for day in days if day not in found]:
        found |= {volume.day: volume for volume in _count(location, missing, most=COUNTED_LIVE)}
    return [*(found[day] for day in days), Volume(last, so_far.sent, so_far.received, so_far.failed)]


def _count(location: Location, days: Sequence[date], *, most: int | None = None) -> list[Volume]:
    """The volumes of the days, in one query; with `most`, days beyond the newest so many messages are not counted."""
    spans = [Q(created_at__gte=begin_of(location, day), created_at__lt=_end_of(location, day)) for day in days]
    within = Q(created_at__gte=begin_of(location, min(days)), created_at__lt=_end_of(location, max(days)))
    # `within` is what an index can walk; days between that are known already are left out.
    rows: QuerySet[Message] = Message.objects.filter(within, reduce(or_, spans), location=location).order_by()
    if most is not None:
        rows = rows.order_by("-created_at")[:most]
    counts = rows.aggregate(read=Count("pk"), **_counts(spans))
    volumes: list[Volume] = []
    seen = 0
    for place, day in sorted(enumerate(days), key=lambda pair: pair[1], reverse=True):
        # The day in which the reading stopped, and all before it, are not whole.
        seen += counts[f"all_{place}"]
        whole = most is None or counts["read"] < most or seen < counts["read"]
        figures = {name: counts[f"{name}_{place}"] for name in ("sent", "received", "failed")} if whole else {}
        volumes.append(Volume(day, **figures, counted=whole))
    return volumes


def _counts(spans: Sequence[Q]) -> dict[str, Count]:
    outbound = Q(direction=Direction.OUTBOUND)
    kinds = {
        "all": Q(),
        "sent": outbound & Q(status__in=TAKEN),
        "received": Q(direction=Direction.INBOUND),
        "failed": outbound & Q(status__in=LOST),
    }
    return {
        f"{name}_{place}": Count("pk", filter=span & kind)
        for place, span in enumerate(spans)
        for name, kind in kinds.items()
    }


def _end_of(location: Location, day: date) -> datetime:
    return begin_of(location, day + timedelta(days=1))


def roll_up(*, now: datetime | None = None, within: timedelta = ROLL_UP_FOR) -> int:
    """Count and keep the days that are over, of each location that lacks one; how many locations that were.

    A location's days are counted anew whenever one of them is missing, which is once a day: so what was settled late
    ends up right. Any number of workers may do this at once: each writes what it counted, and all count the same. After
    `within` the rest is left for the next turn.
    """
    now = now or timezone.now()
    deadline = time.monotonic() + within.total_seconds()
    done = 0
    for location, days in _lacking(now):
        if time.monotonic() > deadline:
            break
        rows = [
            DailyVolume(
                location=location, day=volume.day, sent=volume.sent, received=volume.received, failed=volume.failed
            )
            for volume in sorted(_count(location, days), key=lambda volume: volume.day)
        ]
        DailyVolume.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["location", "day"],
            update_fields=["sent", "received", "failed"],
        )
        done += 1
    return done


def _lacking(now: datetime) -> Iterable[tuple[Location, list[date]]]:
    """The locations of which a day is missing, with all the days that are over."""
    # The widest window that any zone can have, so that one query knows what there is.
    kept: dict[Any, set[date]] = {}
    since = now.date() - timedelta(days=DAYS + 1)
    for location_id, day in DailyVolume.objects.filter(day__gte=since).values_list("location_id", "day"):
        kept.setdefault(location_id, set()).add(day)
    for location in Location.objects.order_by("pk"):
        last = local_day(location, now)
        days = [last - timedelta(days=back) for back in range(1, DAYS)]
        if not kept.get(location.pk, set()).issuperset(days):
            yield location, days


def on_desk(location: Location, *, now: datetime) -> int:
    """How many messages of the location wait for a person to say whether they were sent; at most MOST_ON_DESK + 1."""
    grace: timedelta = settings.HUB_UNCERTAIN_GRACE
    waiting = Message.objects.filter(
        location=location, dispatch_state=DispatchState.UNCERTAIN, uncertain_at__lte=now - grace
    )
    return waiting.order_by()[: MOST_ON_DESK + 1].count()


def last_inbound(location: Location) -> Message | None:
    """The newest message that came in, with its contact."""
    received = Message.objects.filter(location=location, status=MessageStatus.RECEIVED).order_by("-position")
    return received.select_related("contact").first()
