"""Quiet hours: the times of the week at which a location's messages do not leave. Pure: no query, no clock.

A window is `{"days": ["mon", "fri"], "from": "21:00", "to": "08:00"}` on the location's own clocks. It belongs to the
day it starts on; where `to` is not later than `from`, it ends on the next day, so equal times are a whole day.

Clocks that change: of an hour that comes twice, a window begins at the first and ends at the last, so that what lies
between is quiet as well; an edge that the clocks jump over stands at the jump. What cannot be read is never taken for
"not quiet": `QuietHoursUnclear`.
"""

import re
import zoneinfo
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.exceptions import ValidationError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES = dict(zip(DAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True))
MAX_WINDOWS = 14
ASK_AGAIN = timedelta(minutes=15)
"""After so long, callers look again at quiet hours that were unclear."""

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DAY = timedelta(days=1)
_WEEK = 7 * 24 * 60
_MAX_STEPS = 500
"""Windows that follow each other without a gap; a week of them has one, which a change of the clocks may close."""


class QuietHoursUnclear(Exception):
    """The windows or the zone cannot be read: nobody knows whether it is quiet, so nothing leaves. `detail` says why,
    for people."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Window:
    """One window: the numbers of its days (Monday is 0), when it begins and when it ends."""

    days: frozenset[int]
    begins: time
    ends: time

    def on(self, day: date) -> tuple[datetime, datetime]:
        """From when to when it lasts where it starts on the day, on the wall clock."""
        last = day if self.ends > self.begins else day + _DAY
        return datetime.combine(day, self.begins), datetime.combine(last, self.ends)


def quiet_until(windows: Any, zone_name: str, moment: datetime) -> datetime | None:
    """The first moment after `moment` that is not quiet, in UTC; None when `moment` itself is not.

    `windows` as they are stored. Windows that touch or overlap are one. Raises QuietHoursUnclear.
    """
    if not windows and isinstance(windows, list):
        return None
    read, zone = read_windows(windows), _read_zone(zone_name)
    end = moment = moment.astimezone(UTC)
    for _ in range(_MAX_STEPS):
        further = _end_of_window_at(read, zone, end)
        if further is None:
            return None if end == moment else end
        end = further
    raise QuietHoursUnclear("The quiet hours leave no time at which anything may be sent.")


def quiet_spans(windows: Any, zone_name: str, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The quiet stretches that touch the time from `begin` to `end`, in order and apart, in UTC: each from its first
    moment to the first one that is not quiet. Raises QuietHoursUnclear."""
    if not windows and isinstance(windows, list):
        return []
    read, zone = read_windows(windows), _read_zone(zone_name)
    first, last = begin.astimezone(zone).date() - 2 * _DAY, end.astimezone(zone).date() + _DAY
    spans: list[tuple[datetime, datetime]] = []
    for start, stop in sorted(_spans(read, zone, first, last)):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    if spans:
        # Whatever the last one runs into lies beyond the days that were looked at.
        spans[-1] = (spans[-1][0], quiet_until(windows, zone_name, spans[-1][0]) or spans[-1][1])
    return [span for span in spans if span[1] > begin and span[0] <= end]


def read_windows(stored: Any) -> tuple[Window, ...]:
    """The windows of a stored or given list. Raises QuietHoursUnclear with what is wrong with it."""
    if not isinstance(stored, list):
        raise QuietHoursUnclear("Quiet hours are a list of windows.")
    if len(stored) > MAX_WINDOWS:
        raise QuietHoursUnclear(f"There can be up to {MAX_WINDOWS} windows of quiet hours.")
    windows = tuple(_read_window(given, place) for place, given in enumerate(stored, 1))
    if _whole_week(windows):
        raise QuietHoursUnclear("These quiet hours cover the whole week: nothing could ever be sent.")
    return windows


def validate_quiet_hours(given: Any) -> None:
    """Refuses, with a sentence on what is wrong, what `read_windows` does not read."""
    try:
        read_windows(given)
    except QuietHoursUnclear as unclear:
        raise ValidationError(unclear.detail, code="quiet_hours") from unclear


def in_words(windows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each stored window as people say it: "Monday to Friday, 21:00 to 08:00 the next day"."""
    return [
        f"{_days_in_words(window['days'])}, {window['from']} to {window['to']}"
        f"{'' if window['to'] > window['from'] else ' the next day'}"
        for window in windows
    ]


def _days_in_words(days: Sequence[str]) -> str:
    places = sorted(DAYS.index(day) for day in days)
    names = [DAY_NAMES[DAYS[place]] for place in places]
    if len(names) == len(DAYS):
        return "Every day"
    if len(names) > 2 and places[-1] - places[0] == len(names) - 1:
        return f"{names[0]} to {names[-1]}"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _read_window(given: Any, place: int) -> Window:
    def wrong(detail: str) -> QuietHoursUnclear:
        return QuietHoursUnclear(f"Window {place}: {detail}")

    if not isinstance(given, dict) or set(given) != {"days", "from", "to"}:
        raise wrong("give days, from and to, and nothing else.")
    days = given["days"]
    if not isinstance(days, list) or not days:
        raise wrong("choose at least one day.")
    if not all(isinstance(day, str) and day in DAYS for day in days):
        raise wrong(f"days are among {', '.join(DAYS)}.")
    if len(set(days)) != len(days):
        raise wrong("a day stands in it twice.")
    for name in ("from", "to"):
        if not isinstance(given[name], str) or not _TIME.fullmatch(given[name]):
            raise wrong(f"write “{name}” as hours and minutes from 00:00 to 23:59, like 21:00.")
    return Window(
        frozenset(DAYS.index(day) for day in days), time.fromisoformat(given["from"]), time.fromisoformat(given["to"])
    )


def _whole_week(windows: Sequence[Window]) -> bool:
    spans = []
    for window in windows:
        for day in window.days:
            begin = day * 24 * 60 + window.begins.hour * 60 + window.begins.minute
            lasts = (window.ends.hour - window.begins.hour) * 60 + window.ends.minute - window.begins.minute
            end = begin + (lasts if lasts > 0 else lasts + 24 * 60)
            spans += [(begin, end), (begin - _WEEK, end - _WEEK)]
    covered = 0
    for begin, end in sorted(spans):
        if begin > covered:
            return False
        covered = max(covered, end)
    return covered >= _WEEK


def _read_zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise QuietHoursUnclear(f"The location's time zone, “{name}”, is not known.") from error


def _end_of_window_at(windows: Sequence[Window], zone: zoneinfo.ZoneInfo, moment: datetime) -> datetime | None:
    """The latest end of the windows that last at the moment; None when none does."""
    day = moment.astimezone(zone).date()
    # Two days back: a window lasts up to a day, and a zone may have skipped another.
    spans = _spans(windows, zone, day - 2 * _DAY, day + _DAY)
    return max((end for begin, end in spans if begin <= moment < end), default=None)


def _spans(
    windows: Sequence[Window], zone: zoneinfo.ZoneInfo, first: date, last: date
) -> Iterator[tuple[datetime, datetime]]:
    """Each window that starts on one of the days, in UTC."""
    for place in range((last - first).days + 1):
        day = first + place * _DAY
        for window in windows:
            if day.weekday() in window.days:
                begin, end = window.on(day)
                yield _at(begin, zone, latest=False), _at(end, zone, latest=True)


def _at(wall: datetime, zone: zoneinfo.ZoneInfo, *, latest: bool) -> datetime:
    """When the clocks of the zone show `wall`: the first time or the last. Where they never do, when they jump over
    it."""
    one, other = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if one <= other:
        return other if latest else one
    # By the clocks after the jump it lies before it, by those before the jump after it: the jump is between.
    after = one.astimezone(zone).utcoffset()
    seconds = range(int((one - other).total_seconds()) + 1)
    jumped = bisect_left(seconds, 1, key=lambda s: (other + timedelta(seconds=s)).astimezone(zone).utcoffset() == after)
    return other + timedelta(seconds=jumped)
