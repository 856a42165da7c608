"""What the sandbox remembers: accounts, lines, messages, webhooks and pictures, in one SQLite file or in memory."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

# The columns of accounts, lines and messages stand in the order of the fields of their classes.
SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY, company_name TEXT NOT NULL, email TEXT NOT NULL, key_id TEXT NOT NULL UNIQUE,
    is_agency INTEGER NOT NULL, global_secret TEXT, created_at REAL NOT NULL, version INTEGER NOT NULL,
    secret_digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts (id), request_id TEXT NOT NULL UNIQUE,
    number TEXT UNIQUE, status TEXT NOT NULL, area_code TEXT, created_at REAL NOT NULL, assigned_at REAL,
    changed_at REAL NOT NULL, place_at REAL, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, account_id INTEGER NOT NULL REFERENCES accounts (id),
    line TEXT NOT NULL, number TEXT NOT NULL, is_outbound INTEGER NOT NULL, content TEXT NOT NULL,
    media_url TEXT NOT NULL, send_style TEXT NOT NULL, status TEXT NOT NULL, error_code INTEGER, error_message TEXT,
    service TEXT NOT NULL, was_downgraded INTEGER, status_callback TEXT NOT NULL, shown_from TEXT, tapback_of TEXT,
    reaction TEXT, read_at REAL, fault TEXT, created_at REAL NOT NULL, updated_at REAL NOT NULL,
    version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS messages_of_contact ON messages (account_id, number);
CREATE INDEX IF NOT EXISTS messages_by_version ON messages (version);
CREATE TABLE IF NOT EXISTS webhooks (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts (id), type TEXT NOT NULL,
    url TEXT NOT NULL, secret TEXT, UNIQUE (account_id, type, url, secret));
CREATE TABLE IF NOT EXISTS media (
    name TEXT PRIMARY KEY, content_type TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Account:
    """An agency or child account. The secret itself isn't kept, only its digest, which isn't here."""

    id: int
    company_name: str
    email: str
    key_id: str
    is_agency: bool
    global_secret: str | None
    created_at: float
    version: int


@dataclass(frozen=True, slots=True)
class Line:
    """A phone line; `number` None while pending. Status PENDING, ONLINE, OFFLINE, DEGRADED or BLOCKED."""

    id: int
    account_id: int
    request_id: str
    number: str | None
    status: str
    area_code: str | None
    created_at: float
    assigned_at: float | None
    changed_at: float
    place_at: float | None
    version: int


@dataclass(frozen=True, slots=True)
class Message:
    """One text in either direction; `number` is always the customer's, `line` the business's, times are epoch seconds.

    `shown_from` is the number the provider claims it used, where that isn't `line`; `tapback_of` the handle a tapback
    text belongs to; `reaction` what the other side put on this message; `read_at` when the other side read it.
    """

    id: int
    handle: str
    account_id: int
    line: str
    number: str
    is_outbound: bool
    content: str
    media_url: str
    send_style: str
    status: str
    error_code: int | None
    error_message: str | None
    service: str
    was_downgraded: bool | None
    status_callback: str
    shown_from: str | None
    tapback_of: str | None
    reaction: str | None
    read_at: float | None
    fault: str | None
    created_at: float
    updated_at: float
    version: int


@dataclass(frozen=True, slots=True)
class Webhook:
    """One registered address; `secret` None when the account's global secret counts."""

    type: str
    url: str
    secret: str | None


_COLUMNS = [column.name for column in fields(Message)]
_IS_OUTBOUND, _WAS_DOWNGRADED = _COLUMNS.index("is_outbound"), _COLUMNS.index("was_downgraded")


def _account(row: Sequence[Any]) -> Account:
    pk, company_name, email, key_id, is_agency, global_secret, created_at, version, _digest = row
    return Account(pk, company_name, email, key_id, bool(is_agency), global_secret, created_at, version)


def _message(row: Sequence[Any]) -> Message:
    values = list(row)
    values[_IS_OUTBOUND] = bool(values[_IS_OUTBOUND])
    if values[_WAS_DOWNGRADED] is not None:
        values[_WAS_DOWNGRADED] = bool(values[_WAS_DOWNGRADED])
    return Message(*values)


class Store:
    """One SQLite connection behind one lock; every write raises `version` and wakes who waits for news.

    A file is written with the log of SQLite and without fsync: a killed process loses nothing, a power cut may.
    """

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(SCHEMA)
        self._news = threading.Condition(threading.RLock())
        self._open = True
        self.epoch = uuid.uuid4().hex
        self.version: int = max(
            self._one("SELECT COALESCE(MAX(version), 0) FROM accounts")[0],
            self._one("SELECT COALESCE(MAX(version), 0) FROM lines")[0],
            self._one("SELECT COALESCE(MAX(version), 0) FROM messages")[0],
        )
        rows = self._db.execute("SELECT key_id, secret_digest, id FROM accounts WHERE is_agency = 0")
        self._credentials: dict[str, tuple[bytes, int]] = {key: (digest, pk) for key, digest, pk in rows}

    def close(self) -> None:
        """Wake all waiters and close the file. Later calls raise sqlite3.ProgrammingError."""
        with self._news:
            self._open = False
            self._news.notify_all()
            self._db.close()

    def _one(self, sql: str, *values: object) -> Any:
        rows = self._db.execute(sql, values).fetchall()  # to the end: RETURNING commits only then
        return rows[0] if rows else None

    def touch(self) -> int:
        """Raise the version, for news that aren't rows, and answer the new one."""
        with self._news:
            self.version += 1
            self._news.notify_all()
            return self.version

    def writing(self) -> threading.Condition:
        """The store's lock, for `with`: several reads and writes then count as one."""
        return self._news

    def wait_for_news(self, since: int, timeout_s: float) -> None:
        """Return when the version passes `since`, when the store closes, or after `timeout_s`."""
        with self._news:
            self._news.wait_for(lambda: self.version > since or not self._open, timeout_s)

    # Accounts

    def set_agency(self, key_id: str, secret: str) -> None:
        """Make these the agency's credentials; to be called once, before the first request."""
        digest = hashlib.sha256(secret.encode()).digest()
        with self._news:
            kept = self._one("SELECT id FROM accounts WHERE is_agency = 1")
            if kept is None:
                self.add_account("Agency", "agency@sandbox.invalid", key_id, secret, is_agency=True)
                return
            self._db.execute(
                "UPDATE accounts SET key_id = ?, secret_digest = ? WHERE id = ?", (key_id, digest, kept[0])
            )
            self._credentials[key_id] = (digest, kept[0])

    def add_account(
        self, company_name: str, email: str, key_id: str, secret: str, *, is_agency: bool = False
    ) -> Account:
        digest = hashlib.sha256(secret.encode()).digest()
        with self._news:
            row = self._one(
                "INSERT INTO accounts (company_name, email, key_id, secret_digest, is_agency, created_at, version) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                company_name, email, key_id, digest, is_agency, time.time(), self.touch(),
            )  # fmt: skip
            self._credentials[key_id] = (digest, row[0])
            return _account(row)

    def authenticate(self, key_id: str, secret: str) -> int | None:
        """The id of the account with these credentials; None when they are wrong."""
        known = self._credentials.get(key_id)
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        return known[1] if known is not None and hmac.compare_digest(known[0], digest) else None

    def account(self, account_id: int) -> Account:
        with self._news:
            return _account(self._one("SELECT * FROM accounts WHERE id = ?", account_id))

    def accounts(self, *, since: int = 0) -> list[Account]:
        with self._news:
            rows = self._db.execute("SELECT * FROM accounts WHERE version > ? ORDER BY id", (since,))
            return [_account(row) for row in rows]

    # Lines

    def add_line(self, account_id: int, *, area_code: str | None, place_at: float | None) -> Line:
        """A new pending line; `place_at` is when the timer places it, None when only a person does."""
        now = time.time()
        with self._news:
            row = self._one(
                "INSERT INTO lines (account_id, request_id, status, area_code, created_at, changed_at, place_at, "
                "version) VALUES (?, ?, 'PENDING', ?, ?, ?, ?, ?) RETURNING *",
                account_id, str(uuid.uuid4()), area_code, now, now, place_at, self.touch(),
            )  # fmt: skip
            return Line(*row)

    def lines(self, *, account_id: int | None = None, since: int = 0) -> list[Line]:
        """The lines, pending ones too, oldest first; of one account, or of all when it is None."""
        with self._news:
            rows = self._db.execute(
                "SELECT * FROM lines WHERE version > ? AND account_id = COALESCE(?, account_id) ORDER BY id",
                (since, account_id),
            )
            return [Line(*row) for row in rows]

    def line(self, *, number: str | None = None, request_id: str | None = None) -> Line | None:
        with self._news:
            row = self._one("SELECT * FROM lines WHERE number = ? OR request_id = ?", number, request_id)
            return Line(*row) if row else None

    def assign_number(self, request_id: str, number: str) -> Line | None:
        """Give the pending line its number; None when it has one already. sqlite3.IntegrityError: number is taken."""
        now = time.time()
        with self._news:
            row = self._one(
                "UPDATE lines SET number = ?, status = 'ONLINE', assigned_at = ?, changed_at = ?, place_at = NULL, "
                "version = ? WHERE request_id = ? AND number IS NULL RETURNING *",
                number, now, now, self.version + 1, request_id,
            )  # fmt: skip
            if row is None:
                return None
            self.touch()
            return Line(*row)

    def set_line_status(self, number: str, status: str) -> Line | None:
        with self._news:
            row = self._one(
                "UPDATE lines SET status = ?, changed_at = ?, version = ? WHERE number = ? RETURNING *",
                status, time.time(), self.touch(), number,
            )  # fmt: skip
            return Line(*row) if row else None

    def taken_numbers(self, prefix: str) -> set[str]:
        with self._news:
            rows = self._db.execute("SELECT number FROM lines WHERE number LIKE ?", (prefix + "%",))
            return {row[0] for row in rows}

    # Messages

    def add_message(
        self, *, account_id: int, line: str, number: str, is_outbound: bool, content: str, media_url: str = "",
        send_style: str = "", status: str, service: str = "iMessage", status_callback: str = "",
        shown_from: str | None = None, tapback_of: str | None = None, fault: str | None = None,
    ) -> Message:  # fmt: skip
        now = time.time()
        with self._news:
            row = self._one(
                "INSERT INTO messages (handle, account_id, line, number, is_outbound, content, media_url, send_style, "
                "status, service, status_callback, shown_from, tapback_of, fault, created_at, updated_at, version) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                str(uuid.uuid4()), account_id, line, number, is_outbound, content, media_url, send_style, status,
                service, status_callback, shown_from, tapback_of, fault, now, now, self.touch(),
            )  # fmt: skip
            return _message(row)

    def update_message(self, handle: str, **columns: object) -> Message | None:
        """Set columns of one message by name; None when there is no such message."""
        names = ", ".join(f"{name} = ?" for name in columns)
        with self._news:
            row = self._one(
                f"UPDATE messages SET {names}, updated_at = ?, version = ? WHERE handle = ? RETURNING *",  # noqa: S608
                *columns.values(), time.time(), self.touch(), handle,
            )  # fmt: skip
            return _message(row) if row else None

    def message(self, handle: str) -> Message | None:
        with self._news:
            row = self._one("SELECT * FROM messages WHERE handle = ?", handle)
            return _message(row) if row else None

    def messages(
        self, where: str = "1", values: Sequence[object] = (), *, order: str = "id", limit: int = -1, offset: int = 0
    ) -> list[Message]:
        """Messages under a condition of our own making; what comes from outside goes into `values` only."""
        with self._news:
            rows = self._db.execute(
                f"SELECT * FROM messages WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
                (*values, limit, offset),
            )
            return [_message(row) for row in rows]

    def count_messages(self, where: str, values: Sequence[object]) -> int:
        with self._news:
            return int(self._one(f"SELECT COUNT(*) FROM messages WHERE {where}", *values)[0])  # noqa: S608

    def has_route(self, account_id: int, line: str, number: str) -> bool:
        """Whether line and customer have exchanged any message."""
        with self._news:
            row = self._one(
                "SELECT 1 FROM messages WHERE account_id = ? AND number = ? AND line = ? LIMIT 1",
                account_id, number, line,
            )  # fmt: skip
            return row is not None

    # Webhooks

    def webhooks(self, account_id: int, kind: str | None = None) -> list[Webhook]:
        with self._news:
            rows = self._db.execute(
                "SELECT type, url, secret FROM webhooks WHERE account_id = ? AND type = COALESCE(?, type) ORDER BY id",
                (account_id, kind),
            )
            return [Webhook(*row) for row in rows]

    def add_webhook(self, account_id: int, hook: Webhook) -> None:
        """Append an address; the same one with the same secret is kept once."""
        with self._news:
            if hook not in self.webhooks(account_id, hook.type):
                self._db.execute(
                    "INSERT INTO webhooks (account_id, type, url, secret) VALUES (?, ?, ?, ?)",
                    (account_id, hook.type, hook.url, hook.secret),
                )

    def replace_webhooks(self, account_id: int, hooks: Sequence[Webhook], global_secret: str | None) -> None:
        with self._news:
            self._db.execute("DELETE FROM webhooks WHERE account_id = ?", (account_id,))
            for hook in hooks:
                self.add_webhook(account_id, hook)
            self.set_global_secret(account_id, global_secret)

    def remove_webhooks(self, account_id: int, kind: str, urls: Sequence[str]) -> None:
        with self._news:
            self._db.executemany(
                "DELETE FROM webhooks WHERE account_id = ? AND type = ? AND url = ?",
                [(account_id, kind, url) for url in urls],
            )

    def set_global_secret(self, account_id: int, secret: str | None) -> None:
        with self._news:
            self._db.execute("UPDATE accounts SET global_secret = ? WHERE id = ?", (secret, account_id))

    # Pictures

    def add_media(self, name: str, content_type: str, body: bytes) -> None:
        with self._news:
            self._db.execute("INSERT INTO media VALUES (?, ?, ?, ?)", (name, content_type, body, time.time()))

    def media(self, name: str) -> tuple[str, bytes] | None:
        """Content type and bytes of an uploaded picture; None when there is none of that name."""
        with self._news:
            row = self._one("SELECT content_type, body FROM media WHERE name = ?", name)
            return (row[0], row[1]) if row else None
