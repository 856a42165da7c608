"""The routing app."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """Registers the app."""

    name = "routing"
