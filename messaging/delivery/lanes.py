"""The ways out: which accounts have something due that may leave now, and which messages are first in each.

An account's lane is found from the queued rows themselves, by hopping through an index from one account to the next: so
nothing has to be kept in step with the queue, and neither a backlog nor a flood on one account costs the others time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils import timezone

from messaging import raw_sql
from provisioning.models import PhoneLine, Setup
from provisioning.providers.base import Pace

FIRST = UUID(int=0)

# The predicates repeat those of the partial indexes word by word, and what is sought comes first in an index: only so
# does the database use them. An EXISTS over a long backlog, of which it expects many rows, reads the table instead.
_FIND = """
    WITH RECURSIVE queued(account_id) AS (
        SELECT (SELECT m.account_id FROM messaging_message m
                WHERE m.dispatch_state = 'queued' AND m.account_id > {after}
                ORDER BY m.account_id LIMIT 1)
        UNION ALL
        SELECT (SELECT m.account_id FROM messaging_message m
                WHERE m.dispatch_state = 'queued' AND m.account_id > queued.account_id
                ORDER BY m.account_id LIMIT 1)
        FROM queued WHERE queued.account_id IS NOT NULL
    )
    SELECT queued.account_id, account.location_id, lane.open_at IS NOT NULL, line.setup_id, setup.provider,
           line.pace_per_second, line.pace_burst, line.new_contacts_per_hour, line.new_contacts_per_day,
           circuit.open_until IS NOT NULL, {now}
    FROM queued
    JOIN routing_account account ON account.id = queued.account_id
    LEFT JOIN messaging_lane lane ON lane.account_id = queued.account_id
    LEFT JOIN provisioning_phoneline line ON line.account_id = queued.account_id
    LEFT JOIN provisioning_setup setup ON setup.id = line.setup_id
    LEFT JOIN messaging_circuit circuit ON circuit.setup_id = line.setup_id
    WHERE (lane.open_at IS NULL OR lane.open_at <= {now})
      AND (circuit.open_until IS NULL OR circuit.open_until <= {now})
      AND ((SELECT d.due_at FROM messaging_message d WHERE d.dispatch_state = 'queued'
            AND d.account_id = queued.account_id AND d.priority = 0 ORDER BY d.due_at LIMIT 1) <= {now}
        OR (SELECT d.due_at FROM messaging_message d WHERE d.dispatch_state = 'queued'
            AND d.account_id = queued.account_id AND d.priority = 1 ORDER BY d.due_at LIMIT 1) <= {now})
    LIMIT {limit}
"""

# Of one account and one priority, in the order in which they leave: the first of each conversation that has nothing in
# flight. Where a person's message waits behind a bulk one of the same conversation, that one goes first, and now.
# The answer to STOP or START waits behind nothing: quiet hours may hold what came before it.
#
# By scalar subqueries, which are answered from an index for each row that is looked at: of NOT EXISTS, PostgreSQL makes
# a join that grows with the square of a long conversation.
_HEADS = """
    SELECT head.id AS id, m.priority AS priority, m.due_at AS due_at, m.position AS position
    FROM messaging_message m
    JOIN messaging_message head ON head.id = CASE WHEN m.exempt_from_opt_out THEN m.id ELSE (
        SELECT h.id FROM messaging_message h
        WHERE h.account_id = m.account_id AND h.contact_id = m.contact_id
          AND h.dispatch_state IN ('queued', 'claimed', 'sending', 'uncertain')
          AND (h.dispatch_state <> 'uncertain' OR h.uncertain_at > {grace_ends})
        ORDER BY h.position LIMIT 1) END
    WHERE m.dispatch_state = 'queued' AND m.account_id = {account} AND m.priority = {priority}
      AND m.due_at <= {now} AND m.expires_at > {now}
      AND head.dispatch_state = 'queued' AND head.due_at <= {now} AND head.expires_at > {now}
      AND (head.id = m.id OR head.priority > m.priority)
      AND (SELECT f.id FROM messaging_message f
           WHERE f.account_id = m.account_id AND f.contact_id = m.contact_id
             AND f.dispatch_state IN ('claimed', 'sending') LIMIT 1) IS NULL
    ORDER BY m.due_at, m.position LIMIT {quota}
"""


@dataclass(frozen=True, slots=True)
class OpenLane:
    """An account with something due, whose pace and whose setup's breaker let it leave.

    `kept`: its row in `messaging.Lane` is there. `probing`: its setup failed and is asked with one message. `setup_id`
    None: the account has no line, which the dispatch of its messages will find.
    """

    account_id: UUID
    location_id: UUID
    setup_id: UUID | None
    pace: Pace
    kept: bool
    probing: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The open lanes that were met, the database's time, and where the next look goes on."""

    lanes: Sequence[OpenLane]
    now: datetime
    next_after: UUID


def find(*, after: UUID, limit: int) -> Found:
    """Up to `limit` open lanes, in turn: the first of them comes after the account `after`, or at the beginning again
    when there is none. Reads only; nothing is locked.
    """
    rows = _find(after, limit)
    if len(rows) < limit and after != FIRST:
        met = {row[0] for row in rows}
        rows += [row for row in _find(FIRST, limit - len(rows)) if row[0] not in met]
    now = _moment(rows[-1][10]) if rows else timezone.now()
    return Found([_lane(row) for row in rows], now, raw_sql.read_id(rows[-1][0]) if rows else FIRST)


def _find(after: UUID, limit: int) -> list[Any]:
    sql = _FIND.format(after="%(after)s", limit="%(limit)s", now=raw_sql.now())
    with connection.cursor() as cursor:
        cursor.execute(sql, {"after": raw_sql.id_parameter(after), "limit": limit})
        return list(cursor.fetchall())


def _lane(row: Sequence[Any]) -> OpenLane:
    account, location, kept, setup, provider, per_second, burst, per_hour, per_day, failing, _ = row
    line = PhoneLine(
        setup=Setup(provider=provider or settings.HUB_PROVIDER),
        pace_per_second=per_second,
        pace_burst=burst,
        new_contacts_per_hour=per_hour,
        new_contacts_per_day=per_day,
    )
    return OpenLane(
        raw_sql.read_id(account),
        raw_sql.read_id(location),
        setup and raw_sql.read_id(setup),
        line.pace,
        bool(kept),
        bool(failing),
    )


def heads(quotas: Mapping[UUID, int], *, now: datetime) -> dict[UUID, list[UUID]]:
    """For each account the ids of its first messages, at most its quota, in the order in which they leave.

    The caller holds the accounts' lanes, so that nobody takes one of them meanwhile.
    """
    found: dict[UUID, list[UUID]] = {account: [] for account in quotas}
    moments = {
        "now": raw_sql.moment_parameter(now),
        "grace_ends": raw_sql.moment_parameter(now - settings.HUB_UNCERTAIN_GRACE),
    }
    with connection.cursor() as cursor:
        for sql, parameters in _head_queries(quotas):
            cursor.execute(sql, {**moments, **parameters})
            for account, message in cursor.fetchall():
                of_account = found[raw_sql.read_id(account)]
                if (
                    len(of_account) < quotas[raw_sql.read_id(account)]
                    and (id_ := raw_sql.read_id(message)) not in of_account
                ):
                    of_account.append(id_)
    return found


def _head_queries(quotas: Mapping[UUID, int]) -> Iterable[tuple[str, dict[str, Any]]]:
    """PostgreSQL is asked for all accounts at once; SQLite, which has no LATERAL, for one after the other."""
    names = {"now": "%(now)s", "grace_ends": "%(grace_ends)s"}
    if connection.vendor != "postgresql":
        for account, quota in quotas.items():
            both = _both(account="%(account)s", quota="%(quota)s", **names)
            yield (
                f"SELECT %(account)s, id FROM ({both}) ORDER BY priority, due_at, position",  # noqa: S608  (ours)
                {"account": raw_sql.id_parameter(account), "quota": quota},
            )
        return
    accounts, limits = list(quotas), list(quotas.values())
    both = _both(account="lane.account_id", quota="lane.quota", **names)
    yield (
        "SELECT lane.account_id, pick.id FROM unnest(%(accounts)s::uuid[], %(limits)s::int[])"  # noqa: S608  (ours)
        f" AS lane(account_id, quota) CROSS JOIN LATERAL ({both}) AS pick"
        " ORDER BY pick.priority, pick.due_at, pick.position",
        {"accounts": accounts, "limits": limits},
    )


def _both(**names: str) -> str:
    single, bulk = (_HEADS.format(priority=priority, **names) for priority in (0, 1))
    return f"SELECT * FROM ({single}) AS single UNION ALL SELECT * FROM ({bulk}) AS bulk"  # noqa: S608  (ours)


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else timezone.now()
