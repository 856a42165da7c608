"""Everything but messages that waits in rows for a worker, each kind with how it is taken and how it is done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from messaging import events, media, statistics
from messaging.delivery import pacing, reconcile
from messaging.models import IdempotencyKey, TypingNotice
from messaging.webhooks_out import lines, retention, sending
from provisioning import services as provisioning
from provisioning.duties import claim_due
from provisioning.models import Setup
from routing import contact_staging

KEYS_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class DutyKind:
    """`take(limit)` claims due rows for this worker; `do(row)` does one, in any thread, and returns a word for the log
    or None. When `do` raises, `failed(row)` says what follows; without it the row comes back when its lease is over.
    `at_once`: how many of them one worker does at a time."""

    name: str
    take: Callable[[int], Sequence[Any]]
    do: Callable[[Any], object]
    failed: Callable[[Any], object] | None = None
    at_once: int = 4


def _take_setups(limit: int) -> Sequence[Any]:
    return claim_due(Setup.objects.select_related("location"), limit=limit, lease=settings.HUB_LEASE)


OTHERS = (
    DutyKind("event", events.take_due, events.apply, events.put_off),
    DutyKind("look-up", reconcile.take_due, reconcile.look_up, reconcile.ask_again_later),
    DutyKind("setup", _take_setups, lambda setup: provisioning.run_setup_duty(setup=setup)),
    DutyKind("attachment", media.take_due, media.fetch),
    DutyKind("line notice", lines.take_due, lines.fan_out),
    DutyKind("webhook", sending.take_due, sending.deliver, at_once=16),
)


def housekeeping() -> None:
    """Forget what is kept for a while only, and keep how much was said on the days that are over."""
    IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEYS_KEPT).delete()
    TypingNotice.objects.filter(until__lt=timezone.now()).delete()
    pacing.forget_old()
    statistics.roll_up()
    contact_staging.sweep()
    retention.forget()
