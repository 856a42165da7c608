"""The breaker of each setup: after failures in a row its provider is left alone for a while, then asked with one
message. So a provider that is down makes no heap of uncertain messages, and takes no worker's time from the others."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from messaging.models import Circuit

log = structlog.get_logger("hub.circuit")

FAILURES = 5
"""So many calls in a row that failed open it."""
FIRST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(minutes=2)
PROBE_MARGIN = timedelta(seconds=5)


def note_failure(*, setup_id: UUID, location_id: UUID, code: str) -> None:
    """A call failed that says nothing of the message and much of the provider: no connection, no answer, a 5xx."""
    Circuit.objects.bulk_create([Circuit(setup_id=setup_id, location_id=location_id)], ignore_conflicts=True)
    Circuit.objects.filter(pk=setup_id).update(failures=F("failures") + 1, code=code[:64])
    failures = Circuit.objects.values_list("failures", flat=True).get(pk=setup_id)
    if failures >= FAILURES:
        rest = min(FIRST_REST * 2 ** min(failures - FAILURES, 10), LONGEST_REST)
        Circuit.objects.filter(pk=setup_id).update(open_until=Now() + rest)
        log.warning("circuit opened", setup=str(setup_id), failures=failures, code=code[:64], for_s=rest.seconds)


def note_success(setup_ids: Iterable[UUID]) -> None:
    """The provider answered for these setups."""
    closed = Circuit.objects.filter(pk__in=list(setup_ids), failures__gt=0).update(failures=0, open_until=None, code="")
    if closed:
        log.info("circuit closed", setups=closed)


def take_probe(setup_id: UUID) -> bool:
    """Whether the caller may ask the provider of an open circuit with one message; for everybody else it stays open
    until that call is over."""
    until = Now() + settings.HUB_CALL_DEADLINE + PROBE_MARGIN
    return bool(Circuit.objects.filter(pk=setup_id, open_until__lte=Now()).update(open_until=until))
