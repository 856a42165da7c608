"""Measures a page: how many queries it makes, and how long the database takes for them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.test import Client

from benchmarks.lists_data import Filled


@dataclass(frozen=True)
class Row:
    """A page to measure. `limit_ms`: the most that it may cost the database at full size; None: it is only told.

    `of_two`: as the admin of two smaller locations opens it. `by_key`: as a program reads it, with the location's key.
    """

    name: str
    address: str
    limit_ms: float | None = None
    of_two: bool = False
    by_key: bool = False


@dataclass(frozen=True)
class Statement:
    """A statement as it was sent, and how long it took."""

    sql: str
    given: Any
    ms: float


@dataclass(frozen=True)
class Cost:
    """A page's cost: the medians of several rounds, and the statement that was the slowest over all of them."""

    queries: int
    ms: float
    page_ms: float
    slowest: Statement


class Stopwatch:
    """Notes each statement that Django sends."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """For `connection.execute_wrapper`."""
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.statements.append(Statement(sql, params, (time.perf_counter() - began) * 1000))


def measure(filled: Filled, rows: Sequence[Row], *, rounds: int) -> dict[str, Cost]:
    """The cost of each page, by the row's name."""
    by_key = Client(headers={"host": "localhost", "authorization": f"Bearer {filled.key}"})
    clients = {}
    for of_two, user in ((False, filled.admin), (True, filled.admin_of_two)):
        clients[of_two] = Client(headers={"host": "localhost"})
        clients[of_two].force_login(user)
    return {row.name: _measure(by_key if row.by_key else clients[row.of_two], row, rounds) for row in rows}


def _measure(client: Client, row: Row, rounds: int) -> Cost:
    queries, spent, pages = [], [], []
    sent: list[list[Statement]] = []
    for number in range(rounds + 1):
        watch = Stopwatch()
        began = time.perf_counter()
        with connection.execute_wrapper(watch):
            answer = client.get(row.address)
        took = (time.perf_counter() - began) * 1000
        if answer.status_code != 200:
            raise RuntimeError(f"{row.name}: {row.address} answered {answer.status_code}.")
        if not number:
            continue  # the first fills caches, also Python's
        queries.append(len(watch.statements))
        spent.append(sum(statement.ms for statement in watch.statements))
        pages.append(took)
        sent.append(watch.statements)
    # Each round sends the same statements in the same order.
    alike = zip(*sent, strict=False)
    slowest = max(alike, key=lambda same: statistics.median(statement.ms for statement in same))[-1]
    return Cost(round(statistics.median(queries)), statistics.median(spent), statistics.median(pages), slowest)


def plan_of(statement: Statement) -> str:
    """How the database goes about it, from running it once more."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement.sql}", statement.given)
        return "\n".join(line for (line,) in cursor.fetchall())
