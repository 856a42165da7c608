"""Forgets what was delivered long ago, a bounded number of rows at a time."""

from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from messaging.models import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookEvent
from provisioning.models import LineNotice

DELIVERED_KEPT = timedelta(days=30)
UNDELIVERED_KEPT = timedelta(days=90)
"""What was given up, or waits for an endpoint that is disabled."""
DELETED_KEPT = timedelta(days=1)
"""A deleted endpoint's row: longer than any transaction that may still store an event for it."""
CHUNK = 1000
CHUNKS = 50


def forget() -> int:
    """Remove what is too old, up to CHUNKS times CHUNK rows of each kind, each chunk in a transaction of its own; how
    many rows that were."""
    now = timezone.now()
    deliveries = WebhookDelivery.objects.order_by("pk")
    gone = WebhookEndpoint.objects.filter(deleted_at__lt=now - DELETED_KEPT)
    left = WebhookDelivery.objects.filter(event=OuterRef("pk"))
    removed = sum(
        _remove(rows)
        for rows in (
            deliveries.filter(endpoint__in=gone.values("pk")),
            deliveries.filter(ended_at__lt=now - DELIVERED_KEPT, state=DeliveryState.DELIVERED),
            deliveries.filter(created_at__lt=now - UNDELIVERED_KEPT).exclude(state=DeliveryState.DELIVERED),
            WebhookEvent.objects.filter(~Exists(left), created_at__lt=now - DELIVERED_KEPT).order_by("created_at"),
            LineNotice.objects.filter(at__lt=now - DELIVERED_KEPT, due_at=None).order_by("at"),
        )
    )
    emptied = gone.filter(~Exists(WebhookDelivery.objects.filter(endpoint=OuterRef("pk"))))
    return removed + _remove(emptied.order_by("deleted_at"))


def _remove(rows: "QuerySet[Any]") -> int:
    removed = 0
    for _ in range(CHUNKS):
        ids = list(rows.values_list("pk", flat=True)[:CHUNK])
        if ids:
            rows.model._default_manager.filter(pk__in=ids).delete()
            removed += len(ids)
        if len(ids) < CHUNK:
            break
    return removed
