"""The roof as a Django app: its checks, commands and admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class HubConfig(AppConfig):
    """Registers the checks that everything else depends on."""

    name = "imessage_hub"
    verbose_name = "iMessage Hub"

    def ready(self) -> None:
        """Load the checks, and what notes when a session begins."""
        from imessage_hub import checks  # noqa: F401
        from imessage_hub.sign_in import sessions  # noqa: F401


class HubAdminConfig(AdminConfig):
    """Django's admin with our site."""

    default_site = "imessage_hub.admin.HubAdminSite"

    def ready(self) -> None:
        """Find the admins of the apps, then put ours in the place of one."""
        super().ready()
        from imessage_hub.sign_in import team

        team.register()
