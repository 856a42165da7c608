"""What is asked of a batch once it is there: how far it is, and that its rest is not sent."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from messaging.models import DispatchState, Message, MessageBatch, MessageStatus
from messaging.services import CANCELLABLE
from messaging.webhooks_out.outbox import note_statuses
from provisioning.duties import lock_some
from routing import audit
from routing.models import ApiKey, AuditAction, User

CANCEL_AT_ONCE = 1000
"""Messages whose row locks are held together."""

WAITING = (MessageStatus.SCHEDULED, MessageStatus.QUEUED)
"""Statuses of what has not begun to be sent."""


def count_by_status(batch_ids: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """How many messages of each batch have which status; statuses that none has are left out. One query."""
    rows = Message.objects.filter(batch__in=list(batch_ids)).order_by().values_list("batch", "status")
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    for batch_id, status, count in rows.annotate(count=Count("*")):
        if batch_id is not None:
            counts[batch_id][status] = count
    return counts


def count_waiting(batch_ids: Iterable[UUID]) -> dict[UUID, int]:
    """How many messages of each batch have not begun; batches without any are left out. One query, which reads what
    waits and nothing of what is over."""
    rows = Message.objects.filter(batch__in=list(batch_ids), status__in=WAITING).order_by().values_list("batch")
    return {batch_id: count for batch_id, count in rows.annotate(count=Count("*")) if batch_id is not None}


def cancel_rest(*, batch: MessageBatch, by: User | ApiKey | None) -> int:
    """Keep what has not begun from being sent, and write that down; how many messages that were. Again: what has come
    back to the queue since.

    Runs in several short transactions of its own, and so not inside another. Each message is either cancelled or left,
    also while workers take from the same batch: their locks are not waited for while any are held here.
    """
    with transaction.atomic():
        MessageBatch.objects.filter(pk=batch.pk, cancelled_at=None).update(cancelled_at=timezone.now())
    cancelled = done = _cancel_some(batch)
    while done:
        done = _cancel_some(batch)
        cancelled += done
    # What a worker had its hands on meanwhile, one by one: whoever holds nothing can wait.
    for message_id in _waiting(batch).values_list("pk", flat=True):
        cancelled += _cancel([message_id])
    batch.refresh_from_db()
    audit.record(
        by=by,
        action=AuditAction.CHANGED,
        obj=batch,
        location_id=batch.location_id,
        detail=f"The rest was cancelled: {cancelled:,} messages are not sent.",
    )
    return cancelled


def _waiting(batch: MessageBatch) -> QuerySet[Message]:
    return Message.objects.filter(batch=batch.pk, status__in=WAITING, dispatch_state__in=CANCELLABLE)


def _cancel_some(batch: MessageBatch) -> int:
    with transaction.atomic():
        rows = lock_some(_waiting(batch).only("pk"), limit=CANCEL_AT_ONCE)
        return _cancel([row.pk for row in rows]) if rows else 0


def _cancel(ids: list[UUID]) -> int:
    rows = Message.objects.filter(pk__in=ids, dispatch_state__in=CANCELLABLE)
    with transaction.atomic():
        cancelled = rows.update(dispatch_state=DispatchState.CANCELLED, due_at=None, lease_until=None)
        note_statuses(ids)
    return cancelled
