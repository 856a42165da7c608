"""The admin of locations."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from routing.models import Location, Role
from routing.quiet_hours import QuietHoursUnclear, in_words, read_windows
from routing.quiet_hours_form import QuietHoursField
from routing.scoped_admin import LocationScopedAdmin, Reach


def said(windows: Any) -> Sequence[str]:
    """Stored quiet hours, each window in words; one sentence where they cannot be read."""
    try:
        read_windows(windows)
    except QuietHoursUnclear as unclear:
        return [unclear.detail]
    return in_words(windows)


class LocationForm(forms.ModelForm):  # type: ignore[type-arg]
    """A location, with its quiet hours as rows of days and times."""

    quiet_hours = QuietHoursField(
        required=False,
        help_text=(
            "Messages wait until these hours are over; answers to STOP and START do not. By the clocks of the time zone"
            " above. A window belongs to the days it starts on: where it ends earlier than it begins, it ends on the"
            " next day. The same time twice is 24 hours."
        ),
    )


class LocationAdmin(LocationScopedAdmin):
    """Operators open locations; their admins set the policies.

    Not registered here: messaging adds what becomes of waiting messages.
    """

    form = LocationForm
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
            "quiet_hours",
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
        ("When nothing is sent", {"fields": ("quiet_hours",)}),
        ("Signing in", {"fields": ("second_factor",)}),
        (None, {"fields": ("created_at",)}),
    )
    readonly_fields = ("default_account", "created_at", "quiet_hours_in_words")

    def location_of(self, obj: Any) -> UUID | None:
        """The location itself; a new one belongs to no member yet."""
        return obj.pk if isinstance(obj, Location) else None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A location names no location."""
        return self.readonly_fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """For who may only look, the quiet hours in words."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        swapped: dict[Any, Any] = {"quiet_hours": "quiet_hours_in_words"}
        return [
            (name, {**options, "fields": tuple(swapped.get(field, field) for field in options["fields"])})
            for name, options in fieldsets
        ]

    @admin.display(description="quiet hours")
    def quiet_hours_in_words(self, location: Location) -> str:
        """One line a window."""
        lines = format_html_join("", "<li>{}</li>", ((words,) for words in said(location.quiet_hours)))
        return format_html("<ul>{}</ul>", lines) if lines else "none"

    def _change(self, form: Any, name: str) -> tuple[str, str] | None:
        if name != "quiet_hours":
            return super()._change(form, name)
        before, after = form.initial.get(name) or [], form.cleaned_data.get(name) or []
        return "; ".join(said(before))[:200], "; ".join(said(after))[:200]
