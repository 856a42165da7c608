"""The admin site."""

from typing import Any

from django.contrib import admin
from django.core.checks import CheckMessage, Error

from routing.scoped_admin import LocationScopedAdmin


class HubAdminSite(admin.AdminSite):
    """Django's admin under our name. Whoever is active and staff comes in; what they see follows from memberships.

    Nothing is deleted in bulk. An admin that is not scoped by location keeps the hub from starting.
    """

    site_header = "iMessage Hub"
    site_title = "iMessage Hub"
    index_title = "Home"
    site_url = None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def check(self, app_configs: Any) -> list[CheckMessage]:
        """Django's findings, and every registered admin that shows rows of all locations."""
        found: list[CheckMessage] = list(super().check(app_configs))
        for model, model_admin in self._registry.items():
            if not isinstance(model_admin, LocationScopedAdmin):
                found.append(
                    Error(
                        f"The admin of {model.__name__} is not scoped by location.",
                        hint="Derive it from a class of routing/scoped_admin.py.",
                        obj=type(model_admin),
                        id="hub.E010",
                    )
                )
        return found
