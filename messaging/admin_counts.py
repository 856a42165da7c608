"""The two figures beside the side bar's entries; each costs one short walk of a partial index."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from messaging.models import DispatchState, Message, Thread
from routing.models import User

MOST = 99
"""More is shown as "99+"."""


def unread_count(user: User) -> str:
    """How many conversations hold something that nobody has looked at; "" for none."""
    unread = Thread.objects.visible_to(user).filter(unread_count__gt=0)
    return _told(unread.order_by()[: MOST + 1].count())


def uncertain_count(user: User) -> str:
    """How many messages lie on the desk: nobody knows whether they were sent, and nobody is asked any more; "" for
    none."""
    grace_over: timedelta = settings.HUB_UNCERTAIN_GRACE
    waiting = Message.objects.visible_to(user).filter(
        dispatch_state=DispatchState.UNCERTAIN, uncertain_at__lte=timezone.now() - grace_over
    )
    return _told(waiting.order_by()[: MOST + 1].count())


def _told(count: int) -> str:
    return "" if not count else f"{MOST}+" if count > MOST else str(count)
