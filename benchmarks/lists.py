"""Pages of the admin and lists of the API, at 10,000 messages and at a million."""

import logging

from benchmarks import admin_pages, api_pages
from benchmarks.bench import Bench, say
from benchmarks.goals import Found, Goal, Growth, table
from benchmarks.lists_data import fill
from benchmarks.pages import Cost, Row, measure, plan_of

SMALL, FULL, QUICK = 10_000, 1_000_000, 50_000
HEAD = "page", "queries", f"ms at {SMALL:,}"


def run(bench: Bench) -> Found:
    """A row of goals for all pages together, and the table of them."""
    size = bench.size(FULL, QUICK)
    results: list[dict[str, Cost]] = []
    rows: list[Row] = []
    logging.disable(logging.WARNING)  # a line for each request
    try:
        for messages in (SMALL, size):
            with bench.database(f"lists_{messages}"):
                say(f"lists: making {messages:,} messages …")
                filled = fill(messages)
                rows = [*admin_pages.rows(filled), *api_pages.rows(filled)]
                say(f"lists: opening {len(rows)} pages {bench.rounds + 1} times …")
                results.append(measure(filled, rows, rounds=bench.rounds))
                plans = _plans(rows, results[-1]) if bench.plans and messages == size else ""
    finally:
        logging.disable(logging.NOTSET)
    few, many = results
    wrong = [reason for row in rows for reason in _wrong(row, few[row.name], many[row.name])]
    dearest = max((row for row in rows if row.limit_ms), key=lambda row: many[row.name].ms)
    return Found(
        [
            Goal(
                f"lists: pages over their limit, or with more queries than at {SMALL:,}",
                len(wrong),
                must=0,
                beside=f"of {len(rows)}; the dearest of messages is “{dearest.name}”",
            )
        ],
        [
            Growth(
                "messages that are stored",
                f"ms of the database for “{dearest.name}”",
                (SMALL, size),
                (few[dearest.name].ms, many[dearest.name].ms),
            )
        ],
        "\n\n".join(filter(None, (_table(rows, few, many, size), "\n".join(wrong), plans))),
    )


def _wrong(row: Row, few: Cost, many: Cost) -> list[str]:
    found = []
    if row.limit_ms is not None and many.ms > row.limit_ms:
        found.append(f"TOO SLOW: {row.name} costs the database {many.ms:.0f} ms; {row.limit_ms:.0f} are allowed.")
    if many.queries > few.queries:
        found.append(f"MORE QUERIES: {row.name} makes {many.queries} instead of {few.queries}.")
    return found


def _table(rows: list[Row], few: dict[str, Cost], many: dict[str, Cost], size: int) -> str:
    lines = [
        (
            row.name,
            str(many[row.name].queries),
            f"{few[row.name].ms:.1f}",
            f"{many[row.name].ms:.1f}",
            f"{many[row.name].ms / few[row.name].ms:.1f}",
            f"{many[row.name].page_ms:.0f}",
        )
        for row in rows
    ]
    return table((*HEAD, f"ms at {size:,}", "ratio", "whole page, ms"), lines)


def _plans(rows: list[Row], costs: dict[str, Cost]) -> str:
    """How the database goes about each page's slowest statement."""
    return "\n\n".join(
        f"--- {row.name}: {costs[row.name].slowest.ms:.1f} ms\n{plan_of(costs[row.name].slowest)}" for row in rows
    )
