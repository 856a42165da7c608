"""The admin of locations."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest

from routing.models import Location, Role
from routing.scoped_admin import LocationScopedAdmin, Reach


@admin.register(Location)
class LocationAdmin(LocationScopedAdmin):
    """Operators open locations; their admins set the policies."""

    add_by = Reach.OPERATORS
    change_by = Role.ADMIN
    audited_values = frozenset(
        {
            "name",
            "region",
            "time_zone",
            "unavailable_tag_account",
            "unavailable_user_account",
            "manual_override_persists",
            "second_factor",
        }
    )
    list_display = ("name", "region", "time_zone", "default_account", "created_at")
    list_select_related = ("default_account",)
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "region", "time_zone")}),
        (
            "Choosing the number",
            {
                "fields": (
                    "default_account",
                    "unavailable_tag_account",
                    "unavailable_user_account",
                    "manual_override_persists",
                )
            },
        ),
        ("Signing in", {"fields": ("second_factor",)}),
        (None, {"fields": ("created_at",)}),
    )
    readonly_fields = ("default_account", "created_at")

    def location_of(self, obj: Any) -> UUID | None:
        """The location itself; a new one belongs to no member yet."""
        return obj.pk if isinstance(obj, Location) else None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A location names no location."""
        return self.readonly_fields
