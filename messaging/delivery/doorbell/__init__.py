"""What wakes a worker when something is due, by `HUB_DOORBELL`: its own poll, PostgreSQL's LISTEN/NOTIFY, or Celery on
RabbitMQ or Redis.

The doorbell carries nothing: the rows hold the truth, and the poll finds whatever a lost ring was about. So ringing
never fails, never blocks a request, and rings once for many.
"""

from collections.abc import Callable
from typing import Protocol

from django.conf import settings

from messaging.delivery.doorbell.postgres import CHANNEL, PostgresBell

__all__ = ["BROKER_SCHEMES", "CELERY", "CHANNEL", "NOTIFY", "POLL", "Doorbell", "PostgresBell", "Silent", "doorbell"]

POLL, NOTIFY, CELERY = "poll", "notify", "celery"
BROKER_SCHEMES = ("amqp", "amqps", "redis", "rediss")


class Doorbell(Protocol):
    """Tells workers, anywhere, that something is due."""

    def ring(self) -> None:
        """Tell them, once what this transaction stores is committed. Never raises, never waits."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` from a thread whenever it rings, until the function that comes back is called."""


class Silent:
    """No bell: workers look by themselves, every HUB_POLL_INTERVAL."""

    def ring(self) -> None:
        """Nothing."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Nothing comes."""
        return lambda: None


_BELLS: dict[str, Doorbell] = {POLL: Silent(), NOTIFY: PostgresBell()}


def doorbell() -> Doorbell:
    """The one that HUB_DOORBELL names."""
    if settings.HUB_DOORBELL == CELERY and CELERY not in _BELLS:
        # Celery takes a while to load, and most do without.
        from messaging.delivery.doorbell.broker import BrokerBell

        _BELLS.setdefault(CELERY, BrokerBell(settings.HUB_CELERY_BROKER_URL))
    return _BELLS[settings.HUB_DOORBELL]
