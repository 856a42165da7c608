"""The floors' app."""

from django.apps import AppConfig


class FloorConfig(AppConfig):
    """Registers the app; its tables are made without migrations."""

    name = "benchmarks.floor"
    label = "floor"
