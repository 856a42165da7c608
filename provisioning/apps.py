"""The provisioning app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ProvisioningConfig(AppConfig):
    """Registers the app and its checks."""

    name = "provisioning"

    def ready(self) -> None:
        """Load the checks, and have the canary of the encryption keys planted after a migration."""
        from provisioning import checks

        post_migrate.connect(checks.plant_canary, sender=self, dispatch_uid="provisioning.plant_canary")
