"""What differs between PostgreSQL and SQLite in statements that we write ourselves."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection


def now() -> str:
    """The database's own time, as Django's Now() writes it, for a statement that is given parameters."""
    return (
        "STATEMENT_TIMESTAMP()" if connection.vendor == "postgresql" else "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    )


def id_parameter(value: UUID) -> Any:
    """An id as a parameter."""
    return value if connection.features.has_native_uuid_field else value.hex


def moment_parameter(value: datetime) -> Any:
    """A moment as a parameter."""
    return connection.ops.adapt_datetimefield_value(value)


def read_id(value: Any) -> UUID:
    """An id as it comes back."""
    return value if isinstance(value, UUID) else UUID(str(value))
