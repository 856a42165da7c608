"""Fills the database: several locations with accounts, contacts, threads and messages, made by the database itself.

Half of everything is of one location, whose admin looks at the pages; the rest is of nine others. The messages lie
evenly over the last 60 days, and are what a clinic's are: mostly delivered, a third received, some failed, a few on
their way.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from benchmarks.rows import TRACE, insert, know_tables, unchecked
from messaging.models import DailyVolume, Message, Thread
from messaging.statistics import roll_up
from provisioning.models import PhoneLine, Setup
from routing.models import Account, Contact, Location, Membership, Role, User
from routing.services import create_api_key

OTHERS = 9
ACCOUNTS = 10
"""Of each location; with {IM#1} to {IM#10}."""
DAYS = 60
MESSAGES_OF_A_CONTACT = 20
RARE = "Zebulon"
"""One in 2,000 contacts bears this name."""


@dataclass(frozen=True)
class Filled:
    """What the rows of the benchmark ask about: the location that is looked at, an account, the admin of it, a key."""

    location: Location
    account: Account
    admin: User
    admin_of_two: User
    key: str
    messages: int
    seconds: float


def fill(messages: int) -> Filled:
    """Empty the tables and fill them again, with so many messages; statistics of the planner are fresh afterwards."""
    started = time.monotonic()
    _empty()
    locations = [Location.objects.create(name=f"Clinic {number:02}") for number in range(1 + OTHERS)]
    admin, admin_of_two = (User.objects.create(username=name, is_staff=True) for name in ("one", "two"))
    for user, location in ((admin, locations[0]), (admin_of_two, locations[3]), (admin_of_two, locations[7])):
        Membership.objects.create(user=user, location=location, role=Role.ADMIN)
    accounts = _accounts(locations)
    with unchecked() as cursor:
        cursor.execute("CREATE TEMP TABLE place (number int PRIMARY KEY, id uuid)")
        cursor.executemany("INSERT INTO place VALUES (%s, %s)", list(enumerate(place.pk for place in locations)))
        cursor.execute("CREATE TEMP TABLE sender (place int, index int, id uuid, PRIMARY KEY (place, index))")
        cursor.executemany("INSERT INTO sender VALUES (%s, %s, %s)", accounts)
        many = max(messages // MESSAGES_OF_A_CONTACT, 100)
        insert(cursor, Contact, _contact_columns(), f"generate_series(0, {many - 1}) k JOIN place ON {_place_of('k')}")
        insert(cursor, Message, _message_columns(messages, many), _message_rows(messages, many))
        insert(cursor, Thread, _thread_columns(), _thread_rows())
        cursor.execute(f"SELECT setval('messaging_message_position', {messages + 1})")
        cursor.execute("DROP TABLE place, sender")
    know_tables()
    roll_up(within=timedelta(minutes=10))
    first = Account.objects.get(location=locations[0], index=1)
    _, key = create_api_key(location=locations[0], name="bench")
    return Filled(locations[0], first, admin, admin_of_two, key, messages, time.monotonic() - started)


def _empty() -> None:
    tables = (DailyVolume, Thread, Message, Contact, PhoneLine, Setup, Account, Membership, User, Location)
    names = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {names} CASCADE")


def _accounts(locations: list[Location]) -> list[tuple[int, int, Any]]:
    rows = []
    for place, location in enumerate(locations):
        setup = Setup.objects.create(location=location, provider="sendblue", business_name="Clinic", status="active")
        for index in range(1, ACCOUNTS + 1):
            number = f"+1555{place:02}{index:05}"
            account = Account.objects.create(location=location, index=index, label=f"Desk {index}", phone_number=number)
            PhoneLine.objects.create(
                location=location,
                setup=setup,
                status="assigned",
                health="online",
                phone_number=number,
                assigned_at=timezone.now(),
                account=account,
            )
            rows.append((place, index, account.pk))
        Location.objects.filter(pk=location.pk).update(default_account=account, last_account_index=ACCOUNTS)
    return rows


def _place_of(contact: str) -> str:
    """The location of a contact, by its number: each second one is of the first location."""
    return f"place.number = CASE WHEN {contact} % 2 = 0 THEN 0 ELSE 1 + ({contact} / 2) % {OTHERS} END"


def _contact_id(contact: str) -> str:
    return f"md5('contact' || {contact})::uuid"


def _contact_number(contact: str) -> str:
    return f"'+1212' || lpad(({contact})::text, 7, '0')"


def _contact_columns() -> Mapping[str, str]:
    first = "(ARRAY['Ada', 'Ben', 'Cleo', 'Dov', 'Eve', 'Finn', 'Gia', 'Hal', 'Ivy', 'Jon'])[1 + k / 3 % 10]"
    last = "(ARRAY['Abbott', 'Brook', 'Castro', 'Diaz', 'Evans', 'Fox', 'Grant'])[1 + k / 31 % 7]"
    return {
        "id": _contact_id("k"),
        "location_id": "place.id",
        "name": f"CASE WHEN k / 2 % 2000 = 7 OR k < 60 THEN '{RARE}' ELSE {first} END || ' ' || {last} || ' ' || k",
        "phone_number": _contact_number("k"),
        "created_at": f"now() - (k % {DAYS * 24}) * interval '1 hour'",
        "updated_at": "now()",
    }


def _message_rows(messages: int, contacts: int) -> str:
    return (
        f"(SELECT n, n::bigint * 7919 % {contacts} AS k, n::bigint * 31 % 1000 AS fate,"
        f" now() - ({messages} - n) * (interval '{DAYS} days' / {messages}) AS at"
        f" FROM generate_series(1, {messages}) n) m"
        f" JOIN place ON {_place_of('k')}"
        f" JOIN sender ON sender.place = place.number AND sender.index = 1 + n % {ACCOUNTS}"
    )


def _message_columns(messages: int, contacts: int) -> Mapping[str, str]:
    """`fate` is from 0 to 999, and says what became of the message."""

    def fate(*cases: tuple[int, str], rest: str) -> str:
        """For each number below the first of a case that is so, its value."""
        whens = " ".join(f"WHEN fate < {below} THEN {value}" for below, value in cases)
        return f"CASE {whens} ELSE {rest} END"

    state = fate(
        (300, "'received'"), (310, "'rejected'"), (311, "'expired'"), (312, "'cancelled'"), (313, "'scheduled'"),
        rest="CASE WHEN n % 20000 = 5 THEN 'uncertain' ELSE 'accepted' END",
    )  # fmt: skip
    return {
        "id": "gen_random_uuid()",
        "position": "n",
        "location_id": "place.id",
        "contact_id": _contact_id("k"),
        "account_id": "sender.id",
        "contact_number": _contact_number("k"),
        "direction": fate((300, "'inbound'"), rest="'outbound'"),
        "text": "'Hello, your appointment is confirmed for tomorrow at nine. Please bring your card. ' || n",
        "rule": fate(
            (300, "''"), (340, "'manual_override'"), (341, "'temporary_override'"), (500, "'contact_tag'"),
            (700, "'assigned_user'"), (998, "'default_account'"), rest="'any_available'",
        ),
        "trace": fate((300, "NULL"), rest="$trace$" + TRACE + "$trace$::jsonb"),
        "number_switch": "fate >= 990",
        "dispatch_state": state,
        "code": fate(
            (300, "''"), (310, "(ARRAY['4002', 'no_connected_account'])[1 + n / 7 % 2]"), (311, "'expired'"), rest="''",
        ),
        "due_at": fate((312, "NULL::timestamptz"), (313, "now() + interval '3 days'"), rest="NULL"),
        "uncertain_at": "CASE WHEN fate >= 313 AND n % 20000 = 5 THEN at END",
        "sent_at": fate((313, "NULL::timestamptz"), rest="CASE WHEN n % 20000 <> 5 THEN at END"),
        "delivered_at": fate((313, "NULL::timestamptz"), (340, "NULL"), rest="CASE WHEN n % 20000 <> 5 THEN at END"),
        "read_at": fate((700, "NULL::timestamptz"), rest="CASE WHEN n % 20000 <> 5 THEN at END"),
        "provider_id": fate((313, "''"), rest="'id-' || n"),
        "created_at": "at",
    }  # fmt: skip


def _thread_columns() -> Mapping[str, str]:
    return {
        "contact_id": "last.contact_id",
        "location_id": "last.location_id",
        "last_message_id": "last.id",
        "last_position": "last.position",
        "last_at": "last.created_at",
        "unread_count": "CASE WHEN last.position % 50 = 0 THEN 1 ELSE 0 END",
    }


def _thread_rows() -> str:
    return "(SELECT DISTINCT ON (contact_id) * FROM messaging_message ORDER BY contact_id, position DESC) last"
