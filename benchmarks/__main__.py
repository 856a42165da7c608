"""Measures the pages at 10,000 messages and at a million, and fails when one costs too much or makes more queries.

Each module of GROUPS gives rows (`rows(filled)`); the whole run takes some minutes, with `--quick` less than one.
"""

import argparse
import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from benchmarks.database import own_database

if TYPE_CHECKING:
    from benchmarks.measuring import Cost, Row

GROUPS = ("benchmarks.admin_pages",)
SMALL, FULL, QUICK = 10_000, 1_000_000, 100_000


def main() -> int:
    """0 when every page keeps to its limit; 1, with the reasons, when one does not."""
    wanted = argparse.ArgumentParser(prog="python -m benchmarks", description="What pages cost at a million messages.")
    wanted.add_argument("--quick", action="store_true", help=f"at {QUICK:,} messages instead")
    wanted.add_argument("--plans", action="store_true", help="with the plan of each page's slowest statement")
    wanted.add_argument("--rounds", type=int, default=5, help="the median of so many rounds is told (5)")
    given = wanted.parse_args()
    logging.disable(logging.WARNING)  # a line for each request
    with own_database():
        return _run(QUICK if given.quick else FULL, rounds=given.rounds, plans=given.plans)


def _run(size: int, *, rounds: int, plans: bool) -> int:
    # Django is ready now, and not before.
    from benchmarks.data import fill
    from benchmarks.measuring import measure, plan_of

    groups = [importlib.import_module(name) for name in GROUPS]
    results: list[dict[str, Cost]] = []
    for messages in (SMALL, size):
        _say(f"Making {messages:,} messages …", end=" ")
        filled = fill(messages)
        rows: list[Row] = [row for group in groups for row in group.rows(filled)]
        _say(f"{filled.seconds:.0f} s. Opening {len(rows)} pages {rounds + 1} times …")
        results.append(measure(filled, rows, rounds=rounds))
    few, many = results
    busy, cores = os.getloadavg()[1], os.cpu_count() or 1
    _say(f"PostgreSQL beside it on {cores} cores, load {busy:.1f}; database milliseconds, median of {rounds} rounds.")
    _say(f"\n{_table(rows, few, many, size)}\n")
    if plans:
        for row in rows:
            _say(f"--- {row.name}: {many[row.name].slowest.ms:.1f} ms\n{plan_of(many[row.name].slowest)}\n")
    wrong = [reason for row in rows for reason in _wrong(row, few[row.name], many[row.name])]
    _say("\n".join(wrong) or "Every page keeps to its limit, and none makes more queries than at 10,000 messages.")
    if wrong and busy > cores:
        _say("The machine had more to do than it could: look at the plans' own times, or run it again when it is idle.")
    return 1 if wrong else 0


def _wrong(row: "Row", few: "Cost", many: "Cost") -> list[str]:
    found = []
    if row.limit_ms is not None and many.ms > row.limit_ms:
        found.append(f"TOO SLOW: {row.name} costs the database {many.ms:.0f} ms; {row.limit_ms:.0f} are allowed.")
    if many.queries > few.queries:
        found.append(f"MORE QUERIES: {row.name} makes {many.queries} instead of {few.queries}.")
    return found


def _table(rows: "list[Row]", few: "dict[str, Cost]", many: "dict[str, Cost]", size: int) -> str:
    """In Markdown, its columns aligned."""
    head = ("page", "queries", f"ms at {SMALL:,}", f"ms at {size:,}", "ratio", "whole page, ms")
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
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]

    def shown(line: tuple[str, ...]) -> str:
        cells = [
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = f"| {'-' * widths[0]} | " + " | ".join(f"{'-' * (width - 1)}:" for width in widths[1:]) + " |"
    return "\n".join([shown(head), rule, *(shown(line) for line in lines)])


def _say(words: str, end: str = "\n") -> None:
    sys.stdout.write(words + end)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
