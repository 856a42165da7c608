"""The table of goals says what was kept and what was missed, and the server's log is read as it was written."""

import pytest

from benchmarks.bench import percentile, ratio
from benchmarks.database import Statement, read_statement
from benchmarks.goals import Goal, table


@pytest.mark.parametrize(
    ("measured", "least", "verdict"),
    [
        (0.4, False, "goal"),
        (0.5, False, "goal"),
        (0.7, False, "must"),
        (0.81, False, "MISSED"),
        (None, False, "MISSED"),
        (0.9, True, "goal"),
        (0.4, True, "MISSED"),
    ],
)
def test_a_figure_is_held_against_both_bounds(measured, least, verdict):
    must, goal = (0.5, 0.8) if least else (0.8, 0.5)
    row = Goal("row", measured, must=must, goal=goal, least=least)
    assert row.verdict == verdict
    assert row.missed == (verdict == "MISSED")


def test_a_figure_without_bounds_is_only_told():
    row = Goal("row", 12.345, unit="ms")
    assert (row.verdict, row.missed) == ("", False)
    assert row.cells() == ("row", "12.35 ms", "", "", "", "")


def test_columns_of_figures_stand_to_the_right():
    assert table(("row", "figure"), [("one", "1"), ("longer", "100")]).splitlines() == [
        "| row    | figure |",
        "| ------ | -----: |",
        "| one    |      1 |",
        "| longer |    100 |",
    ]


def test_a_ratio_is_that_of_the_middle_round():
    assert ratio([2, 30, 4], [1, 10, 2]) == 2
    assert percentile(range(1, 101), 99) == 100


@pytest.mark.parametrize(
    ("message", "detail", "statement"),
    [
        ("statement: SELECT 1: 2", "", Statement("SELECT 1: 2", None)),
        (
            "execute _pg3_0: SELECT $1, $2, $3, $4",
            "parameters: $1 = 'it''s, $2 = ''x''', $2 = NULL, $3 = '', $4 = '7'",
            Statement("SELECT $1, $2, $3, $4", ("it's, $2 = 'x'", None, "", "7")),
        ),
        ("execute <unnamed>: SELECT 1", "", Statement("SELECT 1", ())),
        ("connection received: host=127.0.0.1", "", None),
    ],
)
def test_a_line_of_the_log_is_read_with_its_values(message, detail, statement):
    assert read_statement(message, detail) == statement
