"""The constraint that keeps a row's objects in one location."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import BaseConstraint


class SameLocation(BaseConstraint):
    """A composite foreign key: the object that `field` names belongs to the location that the row itself names.

    The database holds it, on SQLite and PostgreSQL alike, at commit; a NULL field is not checked. The target needs a
    unique constraint over its location and id. `location_field` is the row's own column for the location; "id" where
    the row is the location. The foreign key of `field` itself can then do without its own database constraint.
    """

    def __init__(self, *, field: str, name: str, location_field: str = "location") -> None:
        super().__init__(name=name, violation_error_message="Choose one of the same location.")
        self.field = field
        self.location_field = location_field

    def _definition(self, model: Any, schema_editor: Any) -> str:
        reference: Any = model._meta.get_field(self.field)
        target = reference.remote_field.model
        own_location: Any = model._meta.get_field(self.location_field)
        quote = schema_editor.quote_name
        own = f"{quote(own_location.column)}, {quote(reference.column)}"
        theirs = f"{quote(target._meta.get_field('location').column)}, {quote(target._meta.pk.column)}"
        return (
            f"CONSTRAINT {quote(self.name)} FOREIGN KEY ({own}) "
            f"REFERENCES {quote(target._meta.db_table)} ({theirs}) DEFERRABLE INITIALLY DEFERRED"
        )

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        """The clause inside CREATE TABLE; SQLite gets it there whenever Django remakes the table."""
        return self._definition(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> str:
        """The statement that adds it to a table that is there."""
        return (
            f"ALTER TABLE {schema_editor.quote_name(model._meta.db_table)} ADD {self._definition(model, schema_editor)}"
        )

    def remove_sql(self, model: Any, schema_editor: Any) -> str:
        """The statement that drops it."""
        table, name = schema_editor.quote_name(model._meta.db_table), schema_editor.quote_name(self.name)
        return f"ALTER TABLE {table} DROP CONSTRAINT {name}"

    def validate(
        self,
        model: type[models.Model],
        instance: models.Model,
        exclude: Any = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """The same check for forms: raises ValidationError on `field`."""
        if exclude and self.field in exclude:
            return
        related = getattr(instance, self.field)
        own = instance.pk if self.location_field == "id" else getattr(instance, f"{self.location_field}_id")
        if related is not None and related.location_id != own:
            raise ValidationError({self.field: self.violation_error_message})

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """What a migration writes down to build it again."""
        path = f"{self.__class__.__module__}.{self.__class__.__name__}"
        kwargs: dict[str, Any] = {"field": self.field, "name": self.name}
        if self.location_field != "location":
            kwargs["location_field"] = self.location_field
        return path, (), kwargs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameLocation) and self.deconstruct() == other.deconstruct()

    __hash__ = None  # type: ignore[assignment]
