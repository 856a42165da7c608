"""What the database and the phones saw: who moved which message, and what was placed, in which order."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import requests

TRIGGER = """
CREATE TABLE chaos_held (message uuid PRIMARY KEY, who text NOT NULL, state text NOT NULL);
CREATE TABLE chaos_move (
    n bigserial PRIMARY KEY, message uuid NOT NULL, old text NOT NULL, new text NOT NULL, holder text,
    who text NOT NULL, lease_over boolean, at double precision NOT NULL);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    me text := current_setting('application_name');
    holder text;
BEGIN
    SELECT held.who INTO holder FROM chaos_held AS held WHERE held.message = NEW.id;
    IF NEW.dispatch_state = 'claimed' OR (NEW.dispatch_state = 'sending' AND holder IS NULL) THEN
        INSERT INTO chaos_held VALUES (NEW.id, me, NEW.dispatch_state)
            ON CONFLICT (message) DO UPDATE SET who = me, state = NEW.dispatch_state;
    ELSIF NEW.dispatch_state = 'sending' THEN
        UPDATE chaos_held SET state = 'sending' WHERE message = NEW.id;
    ELSE
        DELETE FROM chaos_held WHERE message = NEW.id;
    END IF;
    INSERT INTO chaos_move (message, old, new, holder, who, lease_over, at) VALUES (
        NEW.id, OLD.dispatch_state, NEW.dispatch_state, holder, me, OLD.lease_until <= clock_timestamp(),
        extract(epoch FROM clock_timestamp()));
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note AFTER UPDATE OF dispatch_state ON messaging_message FOR EACH ROW
    WHEN (NEW.dispatch_state IS DISTINCT FROM OLD.dispatch_state) EXECUTE FUNCTION chaos_note();
"""
"""Notes who, by the name of the connection, moves a message, and who holds it between claim and end."""

FOREIGN = {
    "sending": frozenset({"queued", "uncertain", "rejected"}),
    "claimed": frozenset({"queued", "sending", "rejected"}),
}
"""Moves that are the holder's alone while its lease runs. Evidence of acceptance may come from anybody."""


class Database:
    """Statements on a connection of the harness's own that comes back when PostgreSQL does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]] | None:
        """The rows; None while the database is away."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._url, autocommit=True, connect_timeout=2, application_name="witness"
                )
            cursor = self._connection.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []
        except psycopg.OperationalError:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return None

    def surely(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows, once the database is there. Raises RuntimeError after a minute."""
        until = time.monotonic() + 60
        while (found := self.rows(statement, values)) is None:
            if time.monotonic() > until:
                raise RuntimeError("PostgreSQL does not come back.")
            time.sleep(0.1)
        return found

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()


@dataclass(frozen=True)
class Move:
    """One change of a message's state; `at` in epoch seconds, `holder` the worker that had it before."""

    message: str
    old: str
    new: str
    holder: str | None
    who: str
    lease_over: bool
    at: float

    @property
    def is_foreign(self) -> bool:
        """Whether another than its holder made it although the holder's lease ran."""
        mine = self.holder is None or self.holder == self.who
        return not mine and not self.lease_over and self.new in FOREIGN.get(self.old, ())


@dataclass
class Witness:
    """Reads on, again and again."""

    database: Database
    sandbox: str
    decided: set[str] = field(default_factory=set)
    """Texts that a person had sent again."""
    moves: list[Move] = field(default_factory=list)
    placed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often each text came to a phone."""
    disorder: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _last_placed: int = 0
    _last_turn: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def look(self) -> None:
        """Take in what is new; breaches of a promise among it are added to `breaches`."""
        self._read_moves()
        while self._read_placed():
            pass

    def _read_moves(self) -> None:
        # Numbers are given before the commit: a smaller one may come to be seen after a greater.
        since = max(self._seen, default=0) - 2000
        rows = self.database.rows("SELECT * FROM chaos_move WHERE n > %s ORDER BY n", [since])
        for n, message, old, new, holder, who, lease_over, at in rows or ():
            if n in self._seen:
                continue
            self._seen.add(n)
            move = Move(str(message), old, new, holder, who, bool(lease_over), at)
            self.moves.append(move)
            if move.is_foreign:
                self.breaches.append(f"{who} moved a message from {old} to {new} that {holder} held")

    def _read_placed(self) -> bool:
        answer = requests.get(f"{self.sandbox}/_sandbox/ledger", params={"since": self._last_placed}, timeout=30)
        rows = answer.json()["placed"]
        for number, line, customer, text, _fault in rows:
            self._last_placed = number
            self.placed[text] += 1
            if self.placed[text] > 1:
                if text not in self.decided:
                    self.breaches.append(f"“{text}” was sent {self.placed[text]} times")
                continue
            turn, before = int(text.split()[1]), self._last_turn.get((line, customer))
            if before is not None and turn < before[0]:
                self.disorder.append(text)
                self.breaches.append(f"“{text}” came to the phone after “{before[1]}”")
            else:
                self._last_turn[line, customer] = turn, text
        return bool(rows)

    def tally(self) -> dict[str, Any]:
        """The sandbox's own counts: `landed` by fault, `pending` webhooks."""
        return dict(requests.get(f"{self.sandbox}/_sandbox/tally", timeout=30).json())

    def held(self, who: str, state: str) -> list[str] | None:
        """The ids of the messages that a worker holds in this state; None while the database is away."""
        rows = self.database.rows("SELECT message FROM chaos_held WHERE who = %s AND state = %s", [who, state])
        return None if rows is None else [str(row[0]) for row in rows]
