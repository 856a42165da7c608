"""Rows made by the database itself: INSERT … SELECT."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import AutoField, Model


@contextmanager
def unchecked() -> Iterator[Any]:
    """A cursor whose rows are not checked against each other: they are right by their making, and millions of checks
    would take longer than all the rest."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        yield cursor
        cursor.execute("SET session_replication_role = DEFAULT")


def know_tables() -> None:
    """Let the planner know what is in the tables, as it does after a while by itself."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def insert(cursor: Any, model: type[Model], columns: Mapping[str, str], source: str) -> None:
    """INSERT … SELECT; columns that are not named get the model's defaults."""
    values: dict[str, str] = {}
    given: list[Any] = []
    for field in model._meta.local_concrete_fields:
        column = str(field.column)
        if field.generated:
            continue
        if column in columns:
            values[column] = columns[column]
        elif not field.null and not isinstance(field, AutoField):
            values[column] = "%s"
            given.append(field.get_db_prep_save(field.get_default(), connection))
    names = ", ".join(values)
    expressions = ", ".join(text if text == "%s" else text.replace("%", "%%") for text in values.values())
    table = model._meta.db_table
    cursor.execute(f"INSERT INTO {table} ({names}) SELECT {expressions} FROM {source.replace('%', '%%')}", given)


TRACE = """{"decision": "selected", "rule": "default_account", "account": {"id": "00000000-0000-0000-0000-000000000000",
"index": 1, "label": "Front desk", "phone_number": "+15551234567"}, "sentence": "Sent from +15551234567 (account 1)
because it is the location's default account.", "code": null, "steps": [{"rule": "manual_override", "outcome":
"not_applicable"}, {"rule": "temporary_override", "outcome": "not_applicable"}, {"rule": "contact_tag", "outcome":
"not_applicable"}, {"rule": "assigned_user", "outcome": "not_applicable"}, {"rule": "default_account", "outcome":
"selected", "account_index": 1}, {"rule": "any_available", "outcome": "not_reached"}], "warnings": []}""".replace(
    "\n", " "
)
"""The decision that is kept with each message."""
