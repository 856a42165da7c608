"""Checks that run at start and with `manage.py check`: each finding says what to do."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connection

from messaging.delivery.doorbell import BROKER_SCHEMES, CELERY, NOTIFY, POLL

SETTLING_S = 5
"""What a worker needs after a provider call to write down how it went."""


@register()
def lease_outlives_the_call(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A worker must have settled a call before its lease is over, or another takes the message while it is sent."""
    needed = settings.HUB_CALL_DEADLINE.total_seconds() + SETTLING_S
    if needed < settings.HUB_LEASE.total_seconds():
        return []
    return [
        Error(
            f"HUB_LEASE_S must be more than {needed:g} seconds.",
            hint=f"It is HUB_CALL_DEADLINE_S plus {SETTLING_S} seconds to settle. Raise the one or lower the other.",
            id="hub.E001",
        )
    ]


@register()
def doorbell_is_there(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """LISTEN/NOTIFY is PostgreSQL's; Celery wants a broker."""
    if settings.HUB_DOORBELL == CELERY:
        if settings.HUB_CELERY_BROKER_URL.partition("://")[0] in BROKER_SCHEMES:
            return []
        hint = "Give RabbitMQ as amqp://user:password@host/vhost or Redis as redis://:password@host:6379/0."
        return [Error("HUB_DOORBELL=celery needs a broker in HUB_CELERY_BROKER_URL.", hint=hint, id="hub.E006")]
    if settings.HUB_DOORBELL == POLL or (settings.HUB_DOORBELL == NOTIFY and connection.vendor == "postgresql"):
        return []
    return [
        Error(
            f"HUB_DOORBELL={settings.HUB_DOORBELL} does not work with this database.",
            hint='Use "poll", "celery", or "notify" with PostgreSQL; leave it out for what suits the database.',
            id="hub.E006",
        )
    ]


@register()
def sign_in_limits_make_sense(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An idle limit of no time signs everybody out at once; a negative count of proxies trusts nobody knows whom."""
    found: list[CheckMessage] = []
    if settings.HUB_SESSION_IDLE.total_seconds() < 60:
        hint = "Give the minutes without work after which a session ends; 30 is a good choice."
        found.append(Error("HUB_SESSION_IDLE_MIN must be at least 1.", hint=hint, id="hub.E004"))
    if settings.HUB_PROXY_COUNT < 0:
        hint = "Give the number of your own proxies that a request passes; 0 where there is none."
        found.append(Error("HUB_PROXY_COUNT must not be negative.", hint=hint, id="hub.E005"))
    return found


@register()
def public_url_is_complete(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Providers are given addresses below HUB_PUBLIC_URL."""
    found: list[CheckMessage] = []
    url = settings.HUB_PUBLIC_URL
    if not url.startswith(("https://", "http://")):
        found.append(
            Error(
                "HUB_PUBLIC_URL is no web address.",
                hint="Give the address providers reach the hub at, like https://hub.example.com.",
                id="hub.E002",
            )
        )
    elif settings.HUB_HTTPS and not url.startswith("https://"):
        found.append(
            Error(
                "HUB_PUBLIC_URL is not https.",
                hint=(
                    "Webhook secrets travel to it in a header. Give an https address, or set HUB_HTTPS=0 for a trial "
                    "on one machine."
                ),
                id="hub.E003",
            )
        )
    return found
