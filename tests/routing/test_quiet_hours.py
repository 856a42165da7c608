"""Quiet hours: which moments are quiet and until when, on clocks that change, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.quiet_hours import (
    DAYS,
    MAX_WINDOWS,
    QuietHoursUnclear,
    in_words,
    quiet_spans,
    quiet_until,
    validate_quiet_hours,
)

NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"  # its summer time is half an hour
APIA = "Pacific/Apia"  # went from Thursday, December 29, 2011, to Saturday, December 31
KWAJALEIN = "Pacific/Kwajalein"  # went from Friday, August 20, 1993, to Sunday, August 22
MINUTE = timedelta(minutes=1)


def window(begins: str, ends: str, *days: str) -> dict[str, Any]:
    """A window as it is stored; on every day unless days are named."""
    return {"days": list(days or DAYS), "from": begins, "to": ends}


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = window("21:00", "08:00")


@pytest.mark.parametrize(
    ("windows", "moment", "until"),
    [
        # New York keeps UTC-5 in January; the 5th of 2026 was a Monday.
        ([NIGHT], "2026-01-06 01:59", None),
        ([NIGHT], "2026-01-06 02:00", "2026-01-06 13:00"),
        ([NIGHT], "2026-01-06 12:59", "2026-01-06 13:00"),
        ([NIGHT], "2026-01-06 13:00", None),
        ([window("12:00", "13:00")], "2026-01-05 17:30", "2026-01-05 18:00"),
        # A window belongs to the day it starts on: Monday's ends on Tuesday.
        ([window("21:00", "08:00", "mon")], "2026-01-06 12:00", "2026-01-06 13:00"),
        ([window("21:00", "08:00", "mon")], "2026-01-05 12:00", None),
        ([window("21:00", "08:00", "sun")], "2026-01-05 12:00", "2026-01-05 13:00"),
        # Equal times are a whole day; midnight ends one.
        ([window("00:00", "00:00", "mon")], "2026-01-05 20:00", "2026-01-06 05:00"),
        # Windows that touch or overlap are one.
        ([window("21:00", "23:00"), window("23:00", "06:00")], "2026-01-06 02:30", "2026-01-06 11:00"),
        ([window("20:00", "23:30"), window("22:00", "06:00")], "2026-01-06 01:30", "2026-01-06 11:00"),
        (
            [NIGHT, window("08:00", "09:00", "tue"), window("00:00", "00:00", "sun", "sat")],
            "2026-01-10 03:00",  # Friday, 22:00
            "2026-01-12 13:00",  # Monday, 08:00
        ),
    ],
)
def test_a_moment_is_quiet_until_the_windows_around_it_end(windows: list[Any], moment: str, until: str | None) -> None:
    assert quiet_until(windows, NEW_YORK, at(moment)) == (until and at(until))


@pytest.mark.parametrize(
    ("zone", "windows", "moment", "until"),
    [
        # New York, March 8, 2026: at 07:00 UTC 2:00 becomes 3:00. The night is an hour shorter.
        (NEW_YORK, [NIGHT], "2026-03-08 02:30", "2026-03-08 12:00"),
        # An end that the clocks jump over stands at the jump, and so does a beginning.
        (NEW_YORK, [window("22:00", "02:30")], "2026-03-08 06:59", "2026-03-08 07:00"),
        (NEW_YORK, [window("22:00", "02:30")], "2026-03-08 07:00", None),
        (NEW_YORK, [window("02:30", "04:00")], "2026-03-08 06:59", None),
        (NEW_YORK, [window("02:30", "04:00")], "2026-03-08 07:00", "2026-03-08 08:00"),
        # A window that the jump swallows is not there on that day.
        (NEW_YORK, [window("02:10", "02:50")], "2026-03-08 07:00", None),
        (NEW_YORK, [window("02:10", "02:50")], "2026-03-07 07:20", "2026-03-07 07:50"),
        # November 1, 2026: at 06:00 UTC 2:00 becomes 1:00. The night is an hour longer.
        (NEW_YORK, [NIGHT], "2026-11-01 04:00", "2026-11-01 13:00"),
        # 1:30 comes twice: a window begins at the first and ends at the last, and is quiet in between.
        (NEW_YORK, [window("22:00", "01:30")], "2026-11-01 05:45", "2026-11-01 06:30"),
        (NEW_YORK, [window("01:30", "03:00")], "2026-11-01 05:29", None),
        (NEW_YORK, [window("01:30", "03:00")], "2026-11-01 05:30", "2026-11-01 08:00"),
        (NEW_YORK, [window("01:30", "03:00")], "2026-11-01 06:10", "2026-11-01 08:00"),
        (NEW_YORK, [window("01:10", "01:20")], "2026-11-01 05:40", "2026-11-01 06:20"),
        # Lord Howe, October 4, 2026: at 15:30 UTC of the 3rd 2:00 becomes 2:30.
        (LORD_HOWE, [window("22:00", "02:15")], "2026-10-03 15:29", "2026-10-03 15:30"),
        (LORD_HOWE, [window("22:00", "06:00")], "2026-10-03 15:29", "2026-10-03 19:00"),
        # April 5, 2026: at 15:00 UTC of the 4th 2:00 becomes 1:30.
        (LORD_HOWE, [window("22:00", "01:45")], "2026-04-04 14:50", "2026-04-04 15:15"),
        (LORD_HOWE, [window("01:45", "02:30")], "2026-04-04 14:44", None),
        (LORD_HOWE, [window("01:45", "02:30")], "2026-04-04 14:45", "2026-04-04 16:00"),
        # Apia had no Friday in that week: what began on it goes on into Saturday, the rest of it is not there.
        (APIA, [window("21:00", "08:00", "fri")], "2011-12-30 09:59", None),
        (APIA, [window("21:00", "08:00", "fri")], "2011-12-30 10:00", "2011-12-30 18:00"),
        (APIA, [window("09:00", "17:00", "fri")], "2011-12-30 10:00", None),
        (APIA, [NIGHT], "2011-12-30 08:00", "2011-12-30 18:00"),
        (APIA, [window("12:00", "12:00", "thu")], "2011-12-29 23:00", "2011-12-30 10:00"),
        (KWAJALEIN, [window("22:00", "06:00", "fri")], "1993-08-21 11:00", "1993-08-21 12:00"),
        (KWAJALEIN, [window("22:00", "06:00", "sat")], "1993-08-21 12:00", "1993-08-21 18:00"),
    ],
)
def test_clocks_that_change(zone: str, windows: list[Any], moment: str, until: str | None) -> None:
    assert quiet_until(windows, zone, at(moment)) == (until and at(until))


TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59]))
WINDOWS = st.lists(
    st.builds(lambda f, t, d: window(f, t, *d), TIMES, TIMES, st.lists(st.sampled_from(DAYS), min_size=1, unique=True)),
    max_size=4,
)
ZONES = st.sampled_from([NEW_YORK, LORD_HOWE, "Asia/Kolkata", "Europe/Dublin", "Pacific/Chatham", "America/Havana"])
# Around the changes of clocks, in minutes, and anywhere in a year.
MOMENTS = st.one_of(
    st.builds(
        lambda text, minutes: at(text) + minutes * MINUTE,
        st.sampled_from(["2026-03-08 07:00", "2026-11-01 06:00", "2026-10-03 15:30", "2026-04-04 15:00"]),
        st.integers(-3000, 3000),
    ),
    st.integers(0, 366 * 24 * 60).map(lambda minutes: at("2026-01-01 00:00") + minutes * MINUTE),
)


def quiet_on_the_wall(windows: list[Any], zone: str, moment: datetime) -> bool:
    """Whether a clock on the wall shows a time that lies in a window: by hand, from the words alone."""
    shown = moment.astimezone(ZoneInfo(zone))
    time, today = f"{shown:%H:%M}", DAYS[shown.weekday()]
    yesterday = DAYS[shown.weekday() - 1]
    for each in windows:
        overnight = each["to"] <= each["from"]
        if today in each["days"] and time >= each["from"] and (overnight or time < each["to"]):
            return True
        if overnight and yesterday in each["days"] and time < each["to"]:
            return True
    return False


def is_refused(windows: list[Any]) -> bool:
    """Whether the windows leave no time."""
    try:
        validate_quiet_hours(windows)
    except ValidationError:
        return True
    return False


@given(WINDOWS, ZONES, MOMENTS)
@settings(max_examples=400, deadline=None)
def test_what_the_wall_clock_calls_quiet_is_quiet(windows: list[Any], zone: str, moment: datetime) -> None:
    """And the other way round, but for the hours around a time that comes twice."""
    if is_refused(windows):
        return
    by_wall = quiet_on_the_wall(windows, zone, moment)
    until = quiet_until(windows, zone, moment)
    if by_wall:
        assert until is not None
    elif until is not None:
        # Stays quiet between the first and the last of an hour that comes twice.
        shown = [(moment + minutes * MINUTE).astimezone(ZoneInfo(zone)) for minutes in range(-60, 61)]
        assert shown[0].utcoffset() != shown[-1].utcoffset()


@given(WINDOWS, ZONES, MOMENTS)
@settings(max_examples=200, deadline=None)
def test_the_end_is_the_first_moment_that_is_not_quiet(windows: list[Any], zone: str, moment: datetime) -> None:
    if is_refused(windows) or (until := quiet_until(windows, zone, moment)) is None:
        return
    assert until > moment
    assert quiet_until(windows, zone, until) is None
    inside = moment
    while inside < until:
        assert quiet_until(windows, zone, inside) == until
        inside += 97 * MINUTE
    assert quiet_until(windows, zone, until - timedelta(microseconds=1)) == until


@given(WINDOWS, ZONES, MOMENTS, st.integers(0, 9 * 24 * 60), st.integers(0, 9 * 24 * 60))
@settings(max_examples=200, deadline=None)
def test_spans_say_the_same_as_each_moment(
    windows: list[Any], zone: str, begin: datetime, length: int, place: int
) -> None:
    if is_refused(windows):
        return
    spans = quiet_spans(windows, zone, begin, begin + length * MINUTE)
    moment = begin + min(place, length) * MINUTE
    until = next((stop for start, stop in spans if start <= moment < stop), None)
    assert until == quiet_until(windows, zone, moment)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "America", "../etc/passwd", "\0", "America/New York"])
def test_a_bad_zone_is_unclear_and_never_loud(zone: str) -> None:
    with pytest.raises(QuietHoursUnclear, match="time zone"):
        quiet_until([NIGHT], zone, at("2026-01-05 12:00"))
    with pytest.raises(QuietHoursUnclear):
        quiet_spans([NIGHT], zone, at("2026-01-05 12:00"), at("2026-01-06 12:00"))


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (None, "a list"),
        ({}, "a list"),
        ("21:00-08:00", "a list"),
        (0, "a list"),
        ([None], "Window 1: give days, from and to"),
        ([NIGHT, {"days": ["mon"], "from": "21:00"}], "Window 2: give days, from and to"),
        ([NIGHT | {"note": "x"}], "and nothing else"),
        ([NIGHT | {"days": []}], "at least one day"),
        ([NIGHT | {"days": "mon"}], "at least one day"),
        ([NIGHT | {"days": ["Mon"]}], "days are among mon, tue"),
        ([NIGHT | {"days": [0]}], "days are among"),
        ([NIGHT | {"days": [["mon"]]}], "days are among"),
        ([NIGHT | {"days": ["mon", "mon"]}], "twice"),
        ([NIGHT | {"from": "9:00"}], "write “from” as hours and minutes"),
        ([NIGHT | {"from": "24:00"}], "write “from”"),
        ([NIGHT | {"to": "08:60"}], "write “to”"),
        ([NIGHT | {"to": "08:00\n"}], "write “to”"),
        ([NIGHT | {"to": "٠٨:٠٠"}], "write “to”"),
        ([NIGHT | {"to": 8}], "write “to”"),
        ([window("00:00", "00:00")], "the whole week"),
        ([window("08:00", "20:00"), window("20:00", "08:00")], "the whole week"),
        ([window("12:00", "00:00"), window("23:00", "12:00")], "the whole week"),
        ([NIGHT] * (MAX_WINDOWS + 1), "up to 14"),
    ],
)
def test_what_cannot_be_read_is_refused_and_unclear(stored: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        validate_quiet_hours(stored)
    with pytest.raises(QuietHoursUnclear):
        quiet_until(stored, NEW_YORK, at("2026-01-05 12:00"))


def test_a_minute_that_is_left_is_enough() -> None:
    almost = [window("00:00", "00:00", *DAYS[:6]), window("00:00", "23:59", "sun")]
    validate_quiet_hours(almost)
    assert quiet_until(almost, NEW_YORK, at("2026-01-05 12:00")) == at("2026-01-12 04:59")
    # The clocks jump over the one minute of that week; the next one has it again.
    swallowed = [
        window("00:00", "00:00", *DAYS[:6]),
        window("00:00", "02:30", "sun"),
        window("02:31", "00:00", "sun"),
    ]
    assert quiet_until(swallowed, NEW_YORK, at("2026-03-04 12:00")) == at("2026-03-15 06:30")


def test_without_windows_nothing_is_quiet_in_any_zone() -> None:
    assert quiet_until([], "Mars/Olympus", at("2026-01-05 12:00")) is None
    assert quiet_spans([], "Mars/Olympus", at("2026-01-05 12:00"), at("2026-01-06 12:00")) == []


def test_windows_in_words() -> None:
    assert in_words([NIGHT, window("12:00", "13:00", "wed", "mon", "tue"), window("00:00", "00:00", "sun", "sat")]) == [
        "Every day, 21:00 to 08:00 the next day",
        "Monday to Wednesday, 12:00 to 13:00",
        "Saturday and Sunday, 00:00 to 00:00 the next day",
    ]
