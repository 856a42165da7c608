"""Counting what was said: days of the location's zone, what the worker keeps of them, and what is counted live."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messaging import statistics
from messaging.delivery.duties import housekeeping
from messaging.models import DailyVolume, Message
from messaging.statistics import DAYS, Volume, begin_of, last_days, local_day, roll_up, today
from routing.models import Contact, Location
from tests.factories import make_account, make_contact, make_location, make_message

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=NEW_YORK)


@pytest.fixture
def contact(db: None) -> Contact:
    """Of a location in New York with one account."""
    location = make_location()
    make_account(location)
    return make_contact(location)


def say(contact: Contact, at: datetime, **columns: Any) -> Message:
    """A message that was sent, or is as `columns` say, accepted at that moment."""
    account = contact.location.accounts.first()
    columns = {"dispatch_state": "accepted", "due_at": None} | columns
    return make_message(contact, account=account, created_at=at, **columns)


def receive(contact: Contact, at: datetime) -> Message:
    """A message that came in at that moment."""
    account = contact.location.accounts.first()
    return make_message(contact, account=account, received=True, created_at=at)


def volumes(contact: Contact, now: datetime = NOON) -> dict[date, Volume]:
    """The last days of the contact's location."""
    location = contact.location
    days = last_days(location, now=now, so_far=today(location, now=now))
    return {volume.day: volume for volume in days}


# --- today ------------------------------------------------------------------------------------------------------------


def test_today_is_the_locations_day(contact: Contact) -> None:
    midnight = datetime(2026, 11, 25, tzinfo=NEW_YORK)
    say(contact, midnight - timedelta(seconds=1))
    say(contact, midnight, rule="default_account", delivered_at=NOON)
    say(contact, NOON, rule="default_account")
    receive(contact, NOON)
    other = make_contact(make_location())
    make_account(other.location)
    receive(other, NOON)
    counted = today(contact.location, now=NOON)
    assert counted.by_status == {"delivered": 1, "accepted": 1, "received": 1}
    assert counted.by_rule == {"default_account": 2}
    assert (counted.sent, counted.arrived, counted.received, counted.failed, counted.total) == (2, 1, 1, 0, 3)


def test_failures_are_told_by_the_code_that_ended_them(contact: Contact) -> None:
    say(contact, NOON, dispatch_state="rejected", code="no_connected_account", detail="Not sent.")
    say(contact, NOON, failed_at=NOON, failed_code="4002", code="http_500", detail="an earlier try")
    say(contact, NOON, failed_at=NOON, failed_code="4002")
    say(contact, NOON, dispatch_state="expired", code="expired")
    say(contact, NOON, code="http_500")  # it went at the second try
    found = today(contact.location, now=NOON).failures
    assert [(failures.code, failures.count, failures.expired) for failures in found] == [
        ("4002", 2, False),
        ("expired", 1, True),
        ("no_connected_account", 1, False),
    ]


def test_today_costs_two_queries(contact: Contact) -> None:
    say(contact, NOON)
    with CaptureQueriesContext(connection) as queries:
        today(contact.location, now=NOON)
    assert len(queries) == 2


# --- days of a zone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2026, 11, 25), 24),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # there is no midnight: 00:00 becomes 01:00
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
    ],
)
def test_days_are_as_long_as_the_clocks_make_them(zone: str, day: date, hours: float) -> None:
    location = Location(name="x", time_zone=zone)
    begin, end = begin_of(location, day), begin_of(location, day + timedelta(days=1))
    assert end - begin == timedelta(hours=hours)
    assert local_day(location, begin) == day
    assert local_day(location, begin - timedelta(seconds=1)) == day - timedelta(days=1)
    assert local_day(location, end - timedelta(seconds=1)) == day


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("change", [date(2026, 3, 8), date(2026, 11, 1)])
def test_every_message_of_a_day_of_change_is_counted_once(contact: Contact, change: date, kept: bool) -> None:
    begin = begin_of(contact.location, change)
    hours = round((begin_of(contact.location, change + timedelta(days=1)) - begin) / timedelta(hours=1))
    for hour in range(-1, hours + 1):
        say(contact, begin + timedelta(hours=hour, minutes=30))
    now = begin + timedelta(days=3)
    if kept:
        assert roll_up(now=now) == 1
    sent = {day: volume.sent for day, volume in volumes(contact, now).items() if volume.sent}
    assert sent == {change - timedelta(days=1): 1, change: hours, change + timedelta(days=1): 1}


# --- kept and live ----------------------------------------------------------------------------------------------------


def test_the_worker_keeps_the_days_that_are_over(contact: Contact) -> None:
    for back in (0, 1, 1, 13, 14):
        say(contact, NOON - timedelta(days=back))
    receive(contact, NOON - timedelta(days=2))
    say(contact, NOON - timedelta(days=2), dispatch_state="rejected", code="x")
    say(contact, NOON - timedelta(days=2), dispatch_state="cancelled")
    assert roll_up(now=NOON) == 1
    rows = {row.day: (row.sent, row.received, row.failed) for row in DailyVolume.objects.all()}
    assert len(rows) == DAYS - 1
    assert {day: figures for day, figures in rows.items() if any(figures)} == {
        date(2026, 11, 24): (2, 0, 0),
        date(2026, 11, 23): (0, 1, 1),
        date(2026, 11, 12): (1, 0, 0),
    }
    with CaptureQueriesContext(connection) as queries:
        shown = last_days(contact.location, now=NOON, so_far=today(contact.location, now=NOON))
    assert len(queries) == 3, "nothing is counted live"
    assert [volume.day for volume in shown] == [date(2026, 11, 12) + timedelta(days=n) for n in range(DAYS)]
    assert (shown[-1].sent, shown[-2].sent) == (1, 2)


def test_rolling_up_again_changes_nothing_that_day_and_mends_the_next(contact: Contact) -> None:
    message = say(contact, NOON - timedelta(days=1), dispatch_state="scheduled")
    assert (roll_up(now=NOON), roll_up(now=NOON)) == (1, 0)
    Message.objects.filter(pk=message.pk).update(dispatch_state="accepted")
    assert volumes(contact)[date(2026, 11, 24)].sent == 0
    assert roll_up(now=NOON + timedelta(days=1)) == 1, "a new day is over"
    assert volumes(contact, NOON + timedelta(days=1))[date(2026, 11, 24)].sent == 1
    assert DailyVolume.objects.count() == DAYS


def test_days_end_when_they_end_at_the_location(contact: Contact) -> None:
    far = make_location(time_zone="Pacific/Auckland")
    now = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert roll_up(now=now) == 2
    newest = {row.location_id: row.day for row in DailyVolume.objects.order_by("day")}
    assert newest == {contact.location_id: date(2026, 11, 24), far.pk: date(2026, 11, 25)}


def test_a_turn_ends_when_its_time_is_over(contact: Contact) -> None:
    assert roll_up(now=NOON, within=timedelta(seconds=-1)) == 0
    assert not DailyVolume.objects.exists()


def test_the_workers_housekeeping_rolls_up(contact: Contact) -> None:
    housekeeping()
    assert DailyVolume.objects.filter(location=contact.location).count() == DAYS - 1


@pytest.mark.postgres
def test_workers_that_roll_up_at_once_keep_one_row_a_day(in_threads: Any) -> None:
    contacts = [make_contact(make_location()) for _ in range(5)]
    for contact in contacts:
        make_account(contact.location)
        say(contact, NOON - timedelta(days=1))
    results = in_threads(6, lambda _: roll_up(now=NOON))
    assert not [result for result in results if isinstance(result, Exception)]
    assert DailyVolume.objects.count() == 5 * (DAYS - 1)
    assert set(DailyVolume.objects.filter(day=date(2026, 11, 24)).values_list("sent", flat=True)) == {1}


def test_what_is_missing_is_counted_in_one_query(contact: Contact) -> None:
    for back in range(DAYS + 1):
        say(contact, NOON - timedelta(days=back))
    roll_up(now=NOON)
    gone = [date(2026, 11, 24), date(2026, 11, 20)]
    DailyVolume.objects.filter(day__in=gone).delete()
    DailyVolume.objects.update(sent=7)
    with CaptureQueriesContext(connection) as queries:
        shown = volumes(contact)
    assert len(queries) == 4
    assert [shown[day].sent for day in gone] == [1, 1]
    assert shown[date(2026, 11, 22)].sent == 7


def test_too_much_to_count_live_is_said_not_guessed(contact: Contact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "COUNTED_LIVE", 5)
    for back, many in ((1, 2), (2, 2), (3, 2), (4, 1)):
        for minute in range(many):
            say(contact, NOON - timedelta(days=back, minutes=minute))
    shown = volumes(contact)
    assert [(volume.sent, volume.counted) for volume in list(shown.values())[-5:-1]] == [
        (0, False),
        (0, False),
        (2, True),
        (2, True),
    ]
    assert not shown[date(2026, 11, 12)].counted
    roll_up(now=NOON)
    assert all(volume.counted for volume in volumes(contact).values())


def test_exactly_as_much_as_is_counted_live(contact: Contact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is more is not known then, and the oldest day is not trusted."""
    monkeypatch.setattr(statistics, "COUNTED_LIVE", 2)
    say(contact, NOON - timedelta(days=1))
    say(contact, NOON - timedelta(days=2))
    shown = volumes(contact)
    assert shown[date(2026, 11, 24)] == Volume(date(2026, 11, 24), sent=1)
    assert not shown[date(2026, 11, 23)].counted


# --- the desk, the last one in ----------------------------------------------------------------------------------------


def test_the_desk_holds_what_nobody_is_asked_about_any_more(contact: Contact, settings: Any) -> None:
    for age in (timedelta(0), settings.HUB_UNCERTAIN_GRACE):
        say(contact, NOON, dispatch_state="uncertain", uncertain_at=NOON - age)
    assert statistics.on_desk(contact.location, now=NOON) == 1


def test_the_last_one_in(contact: Contact) -> None:
    assert statistics.last_inbound(contact.location) is None
    receive(contact, NOON - timedelta(hours=1))
    last = receive(contact, NOON)
    say(contact, NOON)
    assert statistics.last_inbound(contact.location) == last
    assert statistics.last_inbound(make_location()) is None


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_no_query_walks_the_table(contact: Contact) -> None:
    """With 30,000 messages of 60 days, each statement of the figures goes by an index."""
    say(contact, NOON)
    with connection.cursor() as cursor:
        columns = [
            str(field.column)
            for field in Message._meta.concrete_fields
            if field.column not in ("id", "position", "created_at", "status", "conflict")
        ]
        named = ", ".join(columns)
        cursor.execute(
            f"INSERT INTO messaging_message (id, position, created_at, {named})"  # noqa: S608  (names of columns)
            f" SELECT gen_random_uuid(), position + n, created_at - n * interval '3 minutes', {named}"
            " FROM messaging_message, generate_series(1, 30000) n"
        )
        cursor.execute("ANALYZE messaging_message")
    with CaptureQueriesContext(connection) as queries:
        statistics.last_inbound(contact.location)
        statistics.on_desk(contact.location, now=NOON)
        volumes(contact)
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan on messaging_message" not in plan, plan
