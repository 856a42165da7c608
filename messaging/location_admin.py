"""The admin of locations, with what becomes of waiting messages when their hours change."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from messaging.delivery.doorbell import doorbell
from messaging.scheduling import follow_quiet_hours
from routing.location_admin import LocationAdmin
from routing.models import Location

HOURS = frozenset({"quiet_hours", "time_zone"})


@admin.register(Location)
class LocationWithQueueAdmin(LocationAdmin):
    """Locations, whose messages wait by their hours."""

    def save_model(self, request: HttpRequest, obj: Any, form: "forms.ModelForm[Any]", change: bool) -> None:
        """In the same transaction, what waits in the location follows its new hours."""
        super().save_model(request, obj, form, change)
        if change and HOURS & set(form.changed_data):
            follow_quiet_hours(obj, now=timezone.now())
            doorbell().ring()
