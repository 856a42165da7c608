"""Many rows in one statement: what a list of ten thousand recipients, or of contacts, is stored with."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import Field, JSONField, Model

MANY = 500
"""New rows from which on it is asked whether PostgreSQL knows how large a table has become."""


def insert_all(rows: Sequence[Model], *, on_conflict: str = "") -> None:
    """Store rows of one model, all of them or none, in one statement and in their order.

    The values travel as one JSON document, a column that is the same in all rows beside it: no limit on parameters
    splits the statement, and nothing is adapted cell by cell. `on_conflict` is SQL for its end. Generated columns and
    numbered keys are left to the database; rows that are there by then are not told from new ones.
    """
    if not rows:
        return
    meta, own = rows[0]._meta, connections[DEFAULT_DB_ALIAS]
    fields = [field for field in meta.concrete_fields if not field.generated and not _is_numbered(field)]
    fixed: dict[str, tuple[Any, str]] = {}
    varying: dict[str, list[Any]] = {}
    for field in fields:
        values = [field.pre_save(row, add=True) for row in rows]
        if _are_equal(field, values):
            fixed[str(field.column)] = (field.get_db_prep_save(values[0], own), field.db_type(own) or "text")
        else:
            # JSON within the document stays what it is, where the database takes it like that.
            as_it_is = own.vendor == "postgresql" and isinstance(field, JSONField)
            varying[str(field.column)] = (
                values if as_it_is else [field.get_db_prep_save(value, own) for value in values]
            )
    quote = own.ops.quote_name
    table, columns = quote(meta.db_table), ", ".join(map(quote, [*fixed, *varying]))
    parameters = [value for value, _ in fixed.values()]
    values_of_all = [f"CAST(%s AS {kind})" for _, kind in fixed.values()]
    # Where all is the same, as in a single row, there is still one of each.
    each_row = list(zip(*varying.values(), strict=True)) if varying else [() for _ in rows]
    if own.vendor == "postgresql":
        names = list(varying)
        document: Any = [dict(zip(names, cells, strict=True)) for cells in each_row]
        values_of_each = [f"each.{quote(name)}" for name in varying]
        source = f"json_populate_recordset(CAST(NULL AS {table}), %s::json) AS each"
    else:
        document = each_row
        values_of_all = ["%s" for _ in fixed]  # a CAST there is a conversion by its own rules
        values_of_each = [f"json_extract(each.value, '$[{place}]')" for place in range(len(varying))]
        source = "json_each(%s) AS each"
    # WHERE: without it SQLite takes ON CONFLICT for a join.
    statement = f"INSERT INTO {table} ({columns}) SELECT {', '.join(values_of_all + values_of_each)} FROM {source}"  # noqa: S608  (names of columns)
    with own.cursor() as cursor:
        cursor.execute(f"{statement} WHERE true {on_conflict}", [*parameters, json.dumps(document, default=str)])


def _is_numbered(field: "Field[Any, Any]") -> bool:
    return field.primary_key and field.get_internal_type() in ("AutoField", "BigAutoField")


def _are_equal(field: "Field[Any, Any]", values: Sequence[Any]) -> bool:
    if isinstance(field, JSONField):
        # In Python 1, 1.0 and True are equal, and so are objects that hold them.
        first = json.dumps(values[0])
        return all(json.dumps(value) == first for value in values)
    return all(value == values[0] for value in values)


def know_growth(models: Iterable[type[Model]], *, added: int) -> None:
    """Let PostgreSQL look at those of the tables that it believes to be smaller than the `added` rows, before a commit
    checks each new row's keys. Keeps others from analysing them until then.

    While it takes a table for small, it reads all rows of the location for each key: 10,000 took 95 s.
    """
    if connection.vendor != "postgresql" or added < MANY:
        return
    tables = [model._meta.db_table for model in models]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE oid = ANY(%s::regclass[]) AND reltuples < %s",
            [tables, added],
        )
        grown = {name for (name,) in cursor.fetchall()}
        if grown:
            names = ", ".join(connection.ops.quote_name(table) for table in tables if table in grown)
            cursor.execute(f"ANALYZE {names}")
