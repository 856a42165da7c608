"""The roof as a Django app: its checks, commands and admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class HubConfig(AppConfig):
    """Registers the checks that everything else depends on."""

    name = "imessage_hub"
    verbose_name = "iMessage Hub"

    def ready(self) -> None:
        """Load the checks."""
        from imessage_hub import checks  # noqa: F401


class HubAdminConfig(AdminConfig):
    """Django's admin with our site."""

    default_site = "imessage_hub.admin.HubAdminSite"
