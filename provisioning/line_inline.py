"""The lines of a setup, inside its page."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from provisioning.models import LineStatus, PhoneLine
from provisioning.providers.base import Health
from provisioning.setup_words import HEALTH_TONES, LINE_TONES
from routing.admin_look import badge, moment, phone
from routing.scoped_admin import ReadOnlyInline


class PhoneLineInline(ReadOnlyInline):
    """The setup's lines, to look at: they change by what the provider says."""

    model = PhoneLine
    fields = readonly_fields = ("number", "state", "line_health", "account", "requested", "assigned")
    verbose_name_plural = "phone lines"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With their accounts."""
        return super().get_queryset(request).select_related("account")

    @admin.display(description="number")
    def number(self, line: PhoneLine) -> str:
        """The number, once there is one."""
        return phone(line.phone_number)

    @admin.display(description="state")
    def state(self, line: PhoneLine) -> str:
        """Where it is in its life."""
        return badge(line.get_status_display(), LINE_TONES[LineStatus(line.status)])

    @admin.display(description="health")
    def line_health(self, line: PhoneLine) -> str:
        """How it does at the provider."""
        return badge(line.health, HEALTH_TONES[Health(line.health)])

    @admin.display(description="requested")
    def requested(self, line: PhoneLine) -> str:
        """When it was asked for."""
        return moment(line.requested_at)

    @admin.display(description="assigned")
    def assigned(self, line: PhoneLine) -> str:
        """When it got its number."""
        return moment(line.assigned_at)
