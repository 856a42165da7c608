"""The demo's table, as wide as the terminal."""

import shutil
import textwrap
from collections.abc import Sequence

from imessage_hub.demo.messages import Result

HEAD = ("text", "rule", "number", "status", "why")
WIDEST = 160
NARROWEST_COLUMN = 16


def table(results: Sequence[Result]) -> str:
    """One row a message; long cells are wrapped."""
    rows = [(one.text, one.rule or "none", one.number or "none", one.status, one.sentence) for one in results]
    fixed = [max(len(row[column]) for row in (HEAD, *rows)) for column in (1, 2, 3)]
    total = min(shutil.get_terminal_size((120, 24)).columns, WIDEST)
    rest = max(total - sum(fixed) - 2 * len(fixed) - 2, 2 * NARROWEST_COLUMN)
    text = min(max(len(row[0]) for row in (HEAD, *rows)), max(rest * 2 // 5, NARROWEST_COLUMN))
    widths = [text, *fixed, max(rest - text, NARROWEST_COLUMN)]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join([_row(HEAD, widths), rule, *(_row(row, widths) for row in rows), ""])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(len(column) for column in columns)
    lines = [
        "  ".join(
            (column[i] if i < len(column) else "").ljust(width) for column, width in zip(columns, widths, strict=True)
        )
        for i in range(height)
    ]
    return "\n".join(line.rstrip() for line in lines)
