"""The messaging app."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    """Registers the app."""

    name = "messaging"
